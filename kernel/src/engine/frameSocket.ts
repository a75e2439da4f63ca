/** @file Messages of frames over one connected stream socket, both directions. Knows frames, not messages' meaning. */
import type { Socket } from 'node:net';
import { RemoteProtocolError } from '@ravenlab/protocol';
import { FrameReader, encodeFrames } from './frameStream.js';

export interface FrameSocketHandlers {
  onMessage(frames: Uint8Array[]): void;
  /** The connection is gone, once; null when either side closed it in good order. */
  onClose(error: Error | null): void;
}

export interface FrameSocketOptions {
  /** Nothing more is read while the other side leaves this much unread, above the 16 KiB of a stream; one side may. */
  readonly pauseAboveBytes?: number;
}

/** Takes over a connected socket. A stream that breaks the framing is cut. */
export class FrameSocket {
  private readonly socket: Socket;
  private readonly pauseAboveBytes: number;
  private corked = false;
  private failure: Error | null = null;

  constructor(socket: Socket, handlers: FrameSocketHandlers, options: FrameSocketOptions = {}) {
    this.socket = socket;
    this.pauseAboveBytes = options.pauseAboveBytes ?? Infinity;
    const reader = new FrameReader((frames) => {
      // Whoever closed in the middle of a chunk wants nothing more of it.
      if (!socket.destroyed) handlers.onMessage(frames);
    });
    socket.on('data', (bytes) => {
      try {
        reader.push(bytes);
      } catch (error) {
        if (!(error instanceof RemoteProtocolError)) throw error;
        this.failure = error;
        socket.destroy();
      }
    });
    socket.on('end', () => {
      if (reader.isIdle) return;
      this.failure = new RemoteProtocolError('the connection ended in the middle of a message');
    });
    socket.on('drain', () => socket.resume());
    socket.on('error', (error) => {
      this.failure ??= error;
    });
    socket.once('close', () => {
      handlers.onClose(this.failure);
    });
  }

  /** Bytes that the other side has not taken yet. */
  get queuedBytes(): number {
    return this.socket.writableLength;
  }

  /**
   * Queues a message; nothing happens when the connection is gone. Frames must not change until they are answered.
   * @throws RemoteProtocolError when the message is above the bounds.
   */
  send(frames: readonly Uint8Array[]): void {
    const { socket } = this;
    if (socket.destroyed || !socket.writable) return;
    const pieces = encodeFrames(frames);
    if (!this.corked) {
      // What one turn of the loop has to say goes in one write; a lone message waits for nothing.
      this.corked = true;
      socket.cork();
      process.nextTick(() => {
        this.corked = false;
        socket.uncork();
      });
    }
    for (const piece of pieces) socket.write(piece);
    if (socket.writableLength > this.pauseAboveBytes) socket.pause();
  }

  /** Cuts the connection; what is queued is lost. */
  close(): void {
    this.socket.destroy();
  }
}
