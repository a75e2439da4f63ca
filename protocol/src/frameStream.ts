/**
 * @file Messages of several frames on a byte stream: `[magic, count, length × count]` as little-endian words, then the frames,
 * each part padded to 8 bytes. Knows bytes only; the stream is frameSocket.ts.
 */
import { RemoteProtocolError } from './errors.js';
import { ENGINE_LIMITS, LIMITS } from './limits.js';

/** "RVK1". */
const MAGIC = 0x314b_5652;
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

/**
 * The message as pieces to write in this order. Short frames are copied into the pieces; long ones are pieces themselves
 * and must not change before they are written.
 * @throws RemoteProtocolError when the receiver would refuse it.
 */
export function encodeFrames(frames: readonly Uint8Array[], bounds: FrameBounds): Uint8Array[] {
  checkLengths(
    frames.map((frame) => frame.byteLength),
    bounds,
  );
  const firstLong = frames.findIndex((frame) => !isShort(frame));
  let next = firstLong < 0 ? frames.length : firstLong;
  const pieces: Uint8Array[] = [joined(frames.slice(0, next), tableOf(frames))];
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
  return pieces;
}

function tableOf(frames: readonly Uint8Array[]): Uint8Array {
  const table = new Uint8Array(tableBytes(frames.length));
  const words = viewOf(table);
  words.setUint32(0, MAGIC, true);
  words.setUint32(WORD_BYTES, frames.length, true);
  frames.forEach(({ byteLength }, i) => {
    words.setUint32(PREFIX_BYTES + i * WORD_BYTES, byteLength, true);
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

export interface ReaderOptions {
  readonly bounds: FrameBounds;
  /**
   * 'kept': frames are the receiver's for good. 'lent': they are valid until `onMessage` returns, and the memory of messages
   * up to LENT_BYTES is used again: fresh pages cost more than everything else that is done to a byte.
   */
  readonly memory: 'kept' | 'lent';
  /** Memory that need not be cleared. Not of a pool: a frame that is kept must not keep its neighbours of other messages. */
  readonly allocate?: (sizeBytes: number) => Uint8Array;
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
  private lengths: readonly number[] | null = null;
  private isLent = false;
  private run: Run | null = null;
  private frames: Uint8Array[] = [];

  constructor(onMessage: (frames: Uint8Array[]) => void, options: ReaderOptions) {
    this.onMessage = onMessage;
    this.bounds = options.bounds;
    this.lentBytes = options.memory === 'lent' ? LENT_BYTES : 0;
    this.allocate = options.allocate ?? ((sizeBytes) => new Uint8Array(sizeBytes));
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
    checkLengths(lengths, this.bounds);
    this.lengths = lengths;
    // All of it is one run then: two would share the arena.
    this.isLent = lengths.reduce((sum, length) => sum + padded(length), 0) <= this.lentBytes;
  }

  /** Expects the next frames, or hands out the message when there are none. */
  private openRun(): void {
    const lengths = this.lengths ?? [];
    const first = this.frames.length;
    if (first === this.count) {
      const { frames } = this;
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
    this.frames = [];
    this.expect(PREFIX_BYTES);
    this.target = this.prefix;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
