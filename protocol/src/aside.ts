/**
 * @file Room in memory that both ends of a connection on one machine see: long frames are left there and only their place travels.
 * A socket moves them in dozens of small pieces, each of which wakes both sides. Knows places, not files.
 */

import { LIMITS } from './limits.js';

/** Room that one connection may use. */
export const ASIDE_BYTES = LIMITS.asideBytes;
/** Memory that has names: no bytes of it ever go to a disk. */
const FOLDER = '/dev/shm';

/** Where the memory of this name is, on systems that have any. */
export function asidePath(name: number): string {
  return `${FOLDER}/ravenlab-${name.toString(16).padStart(8, '0')}`;
}

/** The side that leaves frames. */
export interface AsideWriter {
  /** Tells the other side which memory it is. */
  readonly name: number;
  /** @returns where the other side finds a copy of the frame; null: there is no room now, it goes the usual way. */
  write(frame: Uint8Array): number | null;
  /** The other side has found the memory, and has read everything below `position` (its low 32 bits). */
  taken(position: number): void;
}

/** The side that reads them. */
export interface AsideReader {
  /** @returns whether the memory of this name is there to be read. */
  open(name: number): boolean;
  /** Copies what lies at `position`. @throws RemoteProtocolError when that is not there. */
  read(position: number, target: Uint8Array): void;
}

const WORD = 2 ** 32;

/** Places in a ring: positions count on for ever, a frame lies in one piece, and room is used again in the order of its use. */
export class AsideRing {
  private readonly sizeBytes: number;
  private head = 0;
  private tail = 0;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }

  /** @returns the position of the room; null when there is not enough. */
  place(bytes: number): number | null {
    const left = this.sizeBytes - (this.head % this.sizeBytes);
    const start = bytes <= left ? this.head : this.head + left;
    const end = start + bytes;
    // The rest of the ring is nobody's when nothing else is in it.
    const tail = this.head === this.tail ? start : this.tail;
    if (end - tail > this.sizeBytes) return null;
    this.tail = tail;
    this.head = end;
    return start;
  }

  /** Everything below is read; `low` is its low 32 bits. What was never placed cannot be read. */
  free(low: number): void {
    const further = (((low - this.tail) % WORD) + WORD) % WORD;
    if (further <= this.head - this.tail) this.tail += further;
  }
}
