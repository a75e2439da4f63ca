/**
 * @file Segments (byte strings of known length) in frames: small ones share a frame, large ones are cut. The cut depends
 * on the lengths alone, so the header carries no frame table and one message has one framing. RFC 1 §4.2.
 */
import { RavenError, RemoteProtocolError } from './errors.js';
import { LIMITS } from './limits.js';
import type { Chunks } from './message.js';

/** Segments in a shared frame start at multiples of this, so that any typed array can view them. */
const ALIGN = 8;
const EMPTY: Chunks = [];

const aligned = (offset: number): number => Math.ceil(offset / ALIGN) * ALIGN;

/** Bytes of all chunks, or of all frames of a message. */
export function totalBytes(chunks: Chunks): number {
  let total = 0;
  for (const chunk of chunks) total += chunk.byteLength;
  return total;
}

/** Copies `chunks` one after the other into `target` from `offsetBytes` on; the copy is the only one between socket and tensor. */
export function copyChunks(chunks: Chunks, target: Uint8Array, offsetBytes = 0): void {
  let at = offsetBytes;
  for (const chunk of chunks) {
    target.set(chunk, at);
    at += chunk.byteLength;
  }
}

/** One contiguous view of `chunks`; copies only when there are several. */
export function joinChunks(chunks: Chunks): Uint8Array {
  const [only] = chunks;
  if (only !== undefined && chunks.length === 1) return only;
  const joined = new Uint8Array(totalBytes(chunks));
  copyChunks(chunks, joined);
  return joined;
}

/** Collects segments in order and lays them out as frames. */
export class BodyWriter {
  readonly #segments: Chunks[] = [];
  readonly #lengths: number[] = [];
  #bytes = 0;

  /** @returns the bytes of the segment. @throws RavenError `limit` */
  add(segment: Chunks): number {
    const bytes = totalBytes(segment);
    this.#bytes += bytes;
    if (this.#bytes > LIMITS.messageBytes || this.#segments.length >= LIMITS.segmentsPerMessage) {
      throw new RavenError(
        'limit',
        `a message holds at most ${String(LIMITS.messageBytes)} bytes in ${String(LIMITS.segmentsPerMessage)} segments; send it in parts`,
        { fault: 'local' },
      );
    }
    this.#segments.push(segment);
    this.#lengths.push(bytes);
    return bytes;
  }

  /** Frames of everything added. Large segments are views of the caller's memory. */
  frames(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (let next = 0; next < this.#segments.length;) {
      if ((this.#lengths[next] ?? 0) < LIMITS.packBelowBytes) {
        next = this.#pack(next, frames);
      } else {
        cut(this.#segments[next] ?? EMPTY, frames);
        next += 1;
      }
    }
    return frames;
  }

  /** Puts small segments from `first` on into one frame, as many as fit; returns the index of the next one. */
  #pack(first: number, frames: Uint8Array[]): number {
    const offsets: number[] = [];
    let end = 0;
    let next = first;
    for (; next < this.#segments.length; next++) {
      const bytes = this.#lengths[next] ?? 0;
      const offset = bytes === 0 ? end : aligned(end);
      if (bytes >= LIMITS.packBelowBytes || offset + bytes > LIMITS.frameBytes) break;
      offsets.push(offset);
      end = offset + bytes;
    }
    if (end === 0) return next;
    const frame = new Uint8Array(end);
    for (let i = 0; i < offsets.length; i++) {
      copyChunks(this.#segments[first + i] ?? EMPTY, frame, offsets[i]);
    }
    frames.push(frame);
    return next;
  }
}

/** Cuts one large segment into frames of frameBytes; a frame that lies in one chunk is a view of it. */
function cut(segment: Chunks, frames: Uint8Array[]): void {
  let rest = totalBytes(segment);
  let chunkIndex = 0;
  let chunkAt = 0;
  while (rest > 0) {
    const bytes = Math.min(rest, LIMITS.frameBytes);
    const pieces: Uint8Array[] = [];
    for (let missing = bytes; missing > 0;) {
      const chunk = segment[chunkIndex] ?? new Uint8Array(0);
      const taken = Math.min(missing, chunk.byteLength - chunkAt);
      if (taken > 0) pieces.push(new Uint8Array(chunk.buffer, chunk.byteOffset + chunkAt, taken));
      missing -= taken;
      chunkAt += taken;
      if (chunkAt === chunk.byteLength) {
        chunkIndex += 1;
        chunkAt = 0;
      }
    }
    frames.push(joinChunks(pieces));
    rest -= bytes;
  }
}

/** Takes segments out of received frames in the order in which they were added; copies nothing. */
export class BodyReader {
  readonly #frames: readonly Uint8Array[];
  readonly #what: string;
  #next = 0;
  /** The shared frame that is being read, and how much of it is used. */
  #shared: Uint8Array | null = null;
  #used = 0;
  #segments = 0;

  constructor(frames: readonly Uint8Array[], what: string) {
    this.#frames = frames;
    this.#what = what;
  }

  /** The next segment, of `bytes` bytes. @throws RemoteProtocolError when the frames hold something else. */
  take(bytes: number): Chunks {
    this.#segments += 1;
    if (this.#segments > LIMITS.segmentsPerMessage) {
      this.#refuse(`more than ${String(LIMITS.segmentsPerMessage)} segments`);
    }
    if (bytes === 0) return EMPTY;
    return bytes < LIMITS.packBelowBytes ? [this.#takeShared(bytes)] : this.#takeFrames(bytes);
  }

  /** Everything must have been taken. */
  end(): void {
    this.#leaveShared();
    const left = this.#frames.length - this.#next;
    if (left > 0) this.#refuse(`${String(left)} frames after the end`);
  }

  #takeShared(bytes: number): Uint8Array {
    if (this.#shared !== null && aligned(this.#used) + bytes > LIMITS.frameBytes) {
      this.#leaveShared();
    }
    const frame = this.#shared ?? this.#nextFrame();
    const offset = this.#shared === null ? 0 : aligned(this.#used);
    if (offset + bytes > frame.byteLength) {
      this.#refuse(
        `frame ${String(this.#next)} has ${String(frame.byteLength)} bytes, ${String(offset + bytes)} are needed`,
      );
    }
    this.#shared = frame;
    this.#used = offset + bytes;
    return new Uint8Array(frame.buffer, frame.byteOffset + offset, bytes);
  }

  #takeFrames(bytes: number): Chunks {
    this.#leaveShared();
    const chunks: Uint8Array[] = [];
    for (let rest = bytes; rest > 0;) {
      const expected = Math.min(rest, LIMITS.frameBytes);
      const frame = this.#nextFrame();
      if (frame.byteLength !== expected) {
        this.#refuse(
          `frame ${String(this.#next)} has ${String(frame.byteLength)} bytes, expected ${String(expected)}`,
        );
      }
      chunks.push(new Uint8Array(frame.buffer, frame.byteOffset, expected));
      rest -= expected;
    }
    return chunks;
  }

  #nextFrame(): Uint8Array {
    const frame = this.#frames[this.#next];
    if (frame === undefined) this.#refuse(`ends after ${String(this.#next)} frames`);
    this.#next += 1;
    return frame;
  }

  #leaveShared(): void {
    if (this.#shared !== null && this.#shared.byteLength !== this.#used) {
      this.#refuse(
        `frame ${String(this.#next)} has ${String(this.#shared.byteLength)} bytes, ${String(this.#used)} are used`,
      );
    }
    this.#shared = null;
    this.#used = 0;
  }

  #refuse(message: string): never {
    throw new RemoteProtocolError(`${this.#what}: ${message}`);
  }
}
