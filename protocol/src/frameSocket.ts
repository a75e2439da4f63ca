/** @file Messages of frames over one connected stream, both directions. Knows frames, not messages' meaning; the stream is injected. */
import type { AsideReader, AsideWriter } from './aside.js';
import { RemoteProtocolError } from './errors.js';
import type { FrameBounds, Note, ReaderOptions } from './frameStream.js';
import { FrameReader, encodeFrames, encodeNote } from './frameStream.js';

const WORD = 2 ** 32;

/** What is used of a socket of node:net. */
export interface ByteStream {
  readonly destroyed: boolean;
  readonly writable: boolean;
  readonly writableLength: number;
  write(bytes: Uint8Array): boolean;
  cork(): void;
  uncork(): void;
  pause(): unknown;
  resume(): unknown;
  destroy(): unknown;
  on(event: 'data', listener: (bytes: Uint8Array) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end' | 'drain' | 'close', listener: () => void): unknown;
}

export interface FrameSocketHandlers {
  onMessage(frames: Uint8Array[]): void;
  /** The connection is gone, once; null when either side closed it in good order. */
  onClose(error: Error | null): void;
}

export interface FrameSocketOptions extends Omit<ReaderOptions, 'aside' | 'onNote'> {
  /** Finds what the other side offers. */
  readonly borrows?: AsideReader;
  /** Calls back when this turn of the loop has said all it has to say: process.nextTick. */
  readonly later: (callback: () => void) => void;
  /** Nothing more is read while the other side leaves this much unread, above the 16 KiB of a stream; one side may. */
  readonly pauseAboveBytes?: number;
}

/** Takes over a connected stream; one that breaks the framing is cut. */
export class FrameSocket {
  private readonly stream: ByteStream;
  private readonly reader: FrameReader;
  private readonly bounds: FrameBounds;
  private readonly later: (callback: () => void) => void;
  private readonly pauseAboveBytes: number;
  private readonly borrows: AsideReader | null;
  /** Where long frames of ours may lie. */
  private lends: AsideWriter | null = null;
  /** The other side has found it. */
  private isFound = false;
  private isCorked = false;
  private failure: Error | null = null;

  constructor(stream: ByteStream, handlers: FrameSocketHandlers, options: FrameSocketOptions) {
    this.stream = stream;
    this.bounds = options.bounds;
    this.later = options.later;
    this.pauseAboveBytes = options.pauseAboveBytes ?? Infinity;
    this.borrows = options.borrows ?? null;
    this.reader = new FrameReader(
      (frames) => {
        // Whoever closed in the middle of a chunk wants nothing more of it.
        if (!stream.destroyed) handlers.onMessage(frames);
      },
      {
        ...options,
        ...(this.borrows === null ? {} : { aside: this.borrowed(this.borrows) }),
        onNote: (note, word) => {
          this.heed(note, word);
        },
      },
    );
    stream.on('data', (bytes) => {
      this.receive(bytes);
    });
    stream.on('end', () => {
      if (this.reader.isIdle) return;
      this.failure = new RemoteProtocolError('the connection ended in the middle of a message');
    });
    stream.on('drain', () => {
      stream.resume();
    });
    stream.on('error', (error) => {
      this.failure ??= error;
    });
    stream.on('close', () => {
      handlers.onClose(this.failure);
    });
  }

  /** Long frames lie there once the other side has found it. */
  offer(lends: AsideWriter): void {
    this.lends = lends;
    this.stream.write(encodeNote('offer', lends.name));
  }

  private borrowed(borrows: AsideReader): NonNullable<ReaderOptions['aside']> {
    return {
      read: (position, target) => {
        borrows.read(position, target);
      },
      taken: (position) => {
        if (this.stream.writable) this.stream.write(encodeNote('taken', position % WORD));
      },
    };
  }

  /** @throws RemoteProtocolError when nothing was offered, or nothing may be. */
  private heed(note: Note, word: number): void {
    const { lends, borrows } = this;
    if (note === 'taken' && lends !== null) {
      this.isFound = true;
      lends.taken(word);
    } else if (note === 'offer' && borrows !== null) {
      if (borrows.open(word)) this.stream.write(encodeNote('taken', 0));
    } else {
      throw new RemoteProtocolError(`a note ('${note}') about memory that this connection has not`);
    }
  }

  /** Bytes that the other side has not taken yet. */
  get queuedBytes(): number {
    return this.stream.writableLength;
  }

  /** Takes what came; for streams that read into memory of ours and emit no 'data'. */
  receive(bytes: Uint8Array): void {
    try {
      this.reader.push(bytes);
    } catch (error) {
      if (!(error instanceof RemoteProtocolError)) throw error;
      this.failure = error;
      this.stream.destroy();
    }
  }

  /**
   * Queues a message; nothing happens when the connection is gone.
   * @returns whether its frames may change now; else not before they are answered.
   * @throws RemoteProtocolError when the message is above the bounds.
   */
  send(frames: readonly Uint8Array[]): boolean {
    const { stream } = this;
    if (stream.destroyed || !stream.writable) return true;
    const aside = this.isFound ? this.lends : null;
    const { pieces, isCopied } = encodeFrames(frames, this.bounds, aside);
    if (!this.isCorked) {
      // What one turn of the loop has to say goes in one write; a lone message waits for nothing.
      this.isCorked = true;
      stream.cork();
      this.later(() => {
        this.isCorked = false;
        stream.uncork();
      });
    }
    for (const piece of pieces) stream.write(piece);
    if (stream.writableLength > this.pauseAboveBytes) stream.pause();
    return isCopied;
  }

  /** Cuts the connection; what is queued is lost. */
  close(): void {
    this.stream.destroy();
  }
}
