/**
 * @file Messages of several frames on a byte stream: `[magic, count, length × count]` as little-endian words, then the frames,
 * each part padded to 8 bytes. A frame that lies aside (aside.ts) has the top bit in its length and its place for a body. Knows
 * bytes only; the stream is frameSocket.ts.
 */
import type { AsideReader, AsideWriter } from './aside.js';
import { RemoteProtocolError } from './errors.js';
import { ENGINE_LIMITS, LIMITS } from './limits.js';

/** "RVK1". */
const MAGIC = 0x314b_5652;
/** Between two messages: "RVKO", the memory of this name is offered; "RVKT", everything below this position is taken. */
const NOTES = { offer: 0x4f4b_5652, taken: 0x544b_5652 } as const;
/** In a length: the frame lies aside. */
const ASIDE = 2 ** 31;
const PLACE_BYTES = 8;
/** So that a received frame can be viewed as any array. */
const ALIGN_BYTES = 8;
const PREFIX_BYTES = 8;
const WORD_BYTES = 4;
/** Short frames are received into one piece of memory up to this size, which lives as long as one of them. */
const SLAB_BYTES = 4 * LIMITS.packBelowBytes;
const PADDING = new Uint8Array(ALIGN_BYTES);
const NOTHING = new Uint8Array(0);

export interface FrameBounds {
  readonly frames: number;
  readonly frameBytes: number;
  readonly messageBytes: number;
}

/** What kernel and engine may send each other. */
export const KERNEL_BOUNDS: FrameBounds = {
  frames: ENGINE_LIMITS.kernelFrames,
  frameBytes: ENGINE_LIMITS.kernelFrameBytes,
  messageBytes: ENGINE_LIMITS.kernelMessageBytes,
};

/** What an engine and a worker on its machine may send each other. */
export const WORKER_BOUNDS: FrameBounds = {
  frames: LIMITS.messageFrames,
  frameBytes: LIMITS.frameBytes,
  messageBytes: LIMITS.messageBytes,
};

const padded = (sizeBytes: number): number => Math.ceil(sizeBytes / ALIGN_BYTES) * ALIGN_BYTES;
const tableBytes = (count: number): number => padded(PREFIX_BYTES + count * WORD_BYTES);
const isShort = (frame: { readonly byteLength: number }): boolean =>
  frame.byteLength < LIMITS.packBelowBytes;

/** What the two sides tell each other about what lies aside. */
export type Note = keyof typeof NOTES;

/** A note as bytes, to be written between two messages. */
export function encodeNote(note: Note, word: number): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES);
  viewOf(bytes).setUint32(0, NOTES[note], true);
  viewOf(bytes).setUint32(WORD_BYTES, word, true);
  return bytes;
}

export interface EncodedFrames {
  /** To be written in this order; those of the caller must not change before they are. */
  readonly pieces: readonly Uint8Array[];
  /** No piece is the caller's. */
  readonly isCopied: boolean;
}

/**
 * The message as pieces to write in this order. Short frames are copied into the pieces; long ones are pieces themselves
 * and must not change before they are written.
 * @throws RemoteProtocolError when the receiver would refuse it.
 */
export function encodeFrames(
  message: readonly Uint8Array[],
  bounds: FrameBounds,
  aside: AsideWriter | null = null,
): EncodedFrames {
  const words = message.map((frame) => frame.byteLength);
  checkLengths(words, bounds);
  const frames = message.map((frame, index) => {
    const position = isShort(frame) ? null : (aside?.write(frame) ?? null);
    if (position === null) return frame;
    words[index] = frame.byteLength + ASIDE;
    return placeOf(position);
  });
  const firstLong = frames.findIndex((frame) => !isShort(frame));
  let next = firstLong < 0 ? frames.length : firstLong;
  const pieces: Uint8Array[] = [joined(frames.slice(0, next), tableOf(words))];
  while (next < frames.length) {
    const frame = frames[next] ?? PADDING;
    let end = next + 1;
    if (isShort(frame)) {
      while (end < frames.length && isShort(frames[end] ?? PADDING)) end++;
      pieces.push(joined(frames.slice(next, end)));
    } else {
      const gap = padded(frame.byteLength) - frame.byteLength;
      pieces.push(frame, ...(gap === 0 ? [] : [PADDING.subarray(0, gap)]));
    }
    next = end;
  }
  return { pieces, isCopied: firstLong < 0 };
}

function placeOf(position: number): Uint8Array {
  const place = new Uint8Array(PLACE_BYTES);
  viewOf(place).setFloat64(0, position, true);
  return place;
}

function tableOf(lengths: readonly number[]): Uint8Array {
  const table = new Uint8Array(tableBytes(lengths.length));
  const words = viewOf(table);
  words.setUint32(0, MAGIC, true);
  words.setUint32(WORD_BYTES, lengths.length, true);
  lengths.forEach((length, i) => {
    words.setUint32(PREFIX_BYTES + i * WORD_BYTES, length, true);
  });
  return table;
}

/** One piece of the head and the frames, each padded. */
function joined(frames: readonly Uint8Array[], head: Uint8Array = NOTHING): Uint8Array {
  const sizeBytes = frames.reduce((sum, frame) => sum + padded(frame.byteLength), head.byteLength);
  const piece = new Uint8Array(sizeBytes);
  piece.set(head);
  let at = head.byteLength;
  for (const frame of frames) {
    piece.set(frame, at);
    at += padded(frame.byteLength);
  }
  return piece;
}

function checkLengths(lengths: readonly number[], bounds: FrameBounds): void {
  checkCount(lengths.length, bounds);
  let sum = 0;
  for (const length of lengths) {
    if (length > bounds.frameBytes) {
      throw new RemoteProtocolError(
        `a frame of ${String(length)} bytes, at most ${String(bounds.frameBytes)} are accepted`,
      );
    }
    sum += length;
  }
  if (sum > bounds.messageBytes) {
    throw new RemoteProtocolError(
      `a message of ${String(sum)} bytes, at most ${String(bounds.messageBytes)} are accepted`,
    );
  }
}

function checkCount(count: number, bounds: FrameBounds): void {
  if (count >= 1 && count <= bounds.frames) return;
  throw new RemoteProtocolError(
    `a message of ${String(count)} frames, expected 1 … ${String(bounds.frames)}`,
  );
}

interface Borrowed extends Pick<AsideReader, 'read'> {
  /** Everything below has been read. */
  taken(position: number): void;
}

export interface ReaderOptions {
  readonly bounds: FrameBounds;
  /**
   * 'kept': frames are the receiver's for good. 'lent': they are valid until `onMessage` returns, and the memory of messages
   * up to LENT_BYTES is used again: fresh pages cost more than everything else that is done to a byte.
   */
  readonly memory: 'kept' | 'lent';
  /** Memory that need not be cleared. Not of a pool: a frame that is kept must not keep its neighbours of other messages. */
  readonly allocate?: (sizeBytes: number) => Uint8Array;
  /** Where frames may lie aside; without it such a length is above any bound. */
  readonly aside?: Borrowed;
  /** Gets what the other side says of what lies aside; without it that is no message of this protocol. */
  readonly onNote?: (note: Note, word: number) => void;
}

/** A result with its outputs, twice over. */
const LENT_BYTES = 2 * LIMITS.resultAheadBytes;

/** Frames that are received into one piece of memory. */
interface Run {
  readonly end: number;
}

/** Cuts a stream back into messages. Every byte is copied once, to memory that is not allocated before its first byte is there. */
export class FrameReader {
  private readonly bounds: FrameBounds;
  private readonly onMessage: (frames: Uint8Array[]) => void;
  private readonly allocate: (sizeBytes: number) => Uint8Array;
  /** Messages up to this size are received into memory that is used again. */
  private readonly lentBytes: number;
  private arena: Uint8Array = NOTHING;
  private readonly prefix = new Uint8Array(PREFIX_BYTES);
  /** What is being filled with `needBytes`: the prefix, the table, or a run of frames; nothing before its first byte. */
  private target: Uint8Array = this.prefix;
  private needBytes = PREFIX_BYTES;
  private filled = 0;
  /** Frames of the message; 0 while its prefix is not there. */
  private count = 0;
  /** Bytes of each frame in the stream. */
  private lengths: readonly number[] | null = null;
  /** Bytes of each frame that lies aside, 0 for the others; null when none does. */
  private asideLengths: readonly number[] | null = null;
  private asideArena: Uint8Array = NOTHING;
  private readonly aside: Borrowed | null;
  private readonly onNote: NonNullable<ReaderOptions['onNote']> | null;
  private isLent = false;
  private run: Run | null = null;
  private frames: Uint8Array[] = [];

  constructor(onMessage: (frames: Uint8Array[]) => void, options: ReaderOptions) {
    this.onMessage = onMessage;
    this.bounds = options.bounds;
    this.lentBytes = options.memory === 'lent' ? LENT_BYTES : 0;
    this.allocate = options.allocate ?? ((sizeBytes) => new Uint8Array(sizeBytes));
    this.aside = options.aside ?? null;
    this.onNote = options.onNote ?? null;
  }

  /** True between two messages. */
  get isIdle(): boolean {
    return this.count === 0 && this.filled === 0;
  }

  /**
   * Takes the next bytes, of any length; the caller may reuse them.
   * @throws RemoteProtocolError for what is not of this protocol or above its bounds; the stream is unusable then.
   */
  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.byteLength) {
      if (this.target === NOTHING) this.target = this.memoryFor(this.needBytes);
      const take = Math.min(bytes.byteLength - at, this.needBytes - this.filled);
      this.target.set(bytes.subarray(at, at + take), this.filled);
      this.filled += take;
      at += take;
      while (this.filled === this.needBytes) this.advance();
    }
  }

  private memoryFor(sizeBytes: number): Uint8Array {
    if (this.run === null || !this.isLent) return this.allocate(sizeBytes);
    if (this.arena.byteLength < sizeBytes) {
      this.arena = this.allocate(Math.min(this.lentBytes, 2 * sizeBytes));
    }
    return this.arena;
  }

  /** What was expected is there. */
  private advance(): void {
    if (this.count === 0) {
      this.readPrefix();
    } else {
      if (this.run === null) this.readTable();
      else this.closeRun(this.run);
      this.openRun();
    }
  }

  private readPrefix(): void {
    const words = viewOf(this.prefix);
    const magic = words.getUint32(0, true);
    if (this.onNote !== null && (magic === NOTES.offer || magic === NOTES.taken)) {
      const word = words.getUint32(WORD_BYTES, true);
      this.restart();
      this.onNote(magic === NOTES.offer ? 'offer' : 'taken', word);
      return;
    }
    if (magic !== MAGIC) {
      throw new RemoteProtocolError(
        `a message begins with 0x${magic.toString(16)}, expected 0x${MAGIC.toString(16)}: the other side speaks another protocol`,
      );
    }
    const count = words.getUint32(WORD_BYTES, true);
    checkCount(count, this.bounds);
    this.count = count;
    this.expect(tableBytes(count) - PREFIX_BYTES);
  }

  private readTable(): void {
    const words = viewOf(this.target);
    const lengths: number[] = [];
    for (let i = 0; i < this.count; i++) lengths.push(words.getUint32(i * WORD_BYTES, true));
    const isAside = (length: number): boolean => this.aside !== null && length >= ASIDE;
    const whole = lengths.map((length) => (isAside(length) ? length - ASIDE : length));
    checkLengths(whole, this.bounds);
    this.lengths = lengths.map((length) => (isAside(length) ? PLACE_BYTES : length));
    this.asideLengths = lengths.some(isAside)
      ? lengths.map((length) => (isAside(length) ? length - ASIDE : 0))
      : null;
    // All of it is one run then: two would share the arena.
    this.isLent = whole.reduce((sum, length) => sum + padded(length), 0) <= this.lentBytes;
  }

  /** Expects the next frames, or hands out the message when there are none. */
  private openRun(): void {
    const lengths = this.lengths ?? [];
    const first = this.frames.length;
    if (first === this.count) {
      const frames = this.fetched();
      this.restart();
      this.onMessage(frames);
      return;
    }
    const limit = this.isLent ? this.lentBytes : SLAB_BYTES;
    let end = first;
    let sizeBytes = 0;
    do {
      sizeBytes += padded(lengths[end] ?? 0);
      end++;
    } while (end < this.count && sizeBytes + padded(lengths[end] ?? 0) <= limit);
    this.run = { end };
    this.expect(sizeBytes);
  }

  /** The frames of the message, with those that lie aside in their places. */
  private fetched(): Uint8Array[] {
    const { aside, asideLengths, frames } = this;
    if (aside === null || asideLengths === null) return frames;
    const memory = this.asideMemory(asideLengths.reduce((sum, length) => sum + padded(length), 0));
    let at = 0;
    let end = 0;
    const fetched = frames.map((place, index) => {
      const length = asideLengths[index] ?? 0;
      if (length === 0) return place;
      const frame = memory.subarray(at, at + length);
      at += padded(length);
      const position = viewOf(place).getFloat64(0, true);
      if (!Number.isSafeInteger(position) || position < 0) {
        throw new RemoteProtocolError(`a frame lies at ${String(position)}, which is no place`);
      }
      aside.read(position, frame);
      end = position + length;
      return frame;
    });
    aside.taken(end);
    return fetched;
  }

  private asideMemory(sizeBytes: number): Uint8Array {
    if (!this.isLent) return this.allocate(sizeBytes);
    if (this.asideArena.byteLength < sizeBytes) {
      this.asideArena = this.allocate(Math.min(this.lentBytes, 2 * sizeBytes));
    }
    return this.asideArena;
  }

  private closeRun({ end }: Run): void {
    let at = 0;
    for (let i = this.frames.length; i < end; i++) {
      const length = this.lengths?.[i] ?? 0;
      this.frames.push(this.target.subarray(at, at + length));
      at += padded(length);
    }
    this.run = null;
  }

  private expect(sizeBytes: number): void {
    this.target = NOTHING;
    this.needBytes = sizeBytes;
    this.filled = 0;
  }

  private restart(): void {
    this.count = 0;
    this.lengths = null;
    this.asideLengths = null;
    this.frames = [];
    this.expect(PREFIX_BYTES);
    this.target = this.prefix;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
