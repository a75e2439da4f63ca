/**
 * @file A file in memory that this worker leaves long frames in for an engine on the same machine. Which frames, and when their
 * room is free again, is aside.ts.
 */
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import type { AsideWriter } from '@ravenlab/protocol';
import { ASIDE_BYTES, AsideRing, asidePath } from '@ravenlab/protocol';

const WORDS = 2 ** 32;
const OWNER_ONLY = 0o600;

export class SharedRing implements AsideWriter {
  readonly name: number;
  private readonly ring = new AsideRing(ASIDE_BYTES);
  private readonly file: number;
  private isNamed = true;
  private isOpen = true;

  private constructor(name: number, file: number) {
    this.name = name;
    this.file = file;
  }

  /** Null where the system has no memory of this kind: everything then goes through the socket. */
  static create(): SharedRing | null {
    const name = randomInt(WORDS);
    try {
      return new SharedRing(name, openSync(asidePath(name), 'wx', OWNER_ONLY));
    } catch {
      return null;
    }
  }

  write(frame: Uint8Array): number | null {
    if (!this.isOpen) return null;
    const position = this.ring.place(frame.byteLength);
    if (position === null) return null;
    try {
      const written = writeSync(this.file, frame, 0, frame.byteLength, position % ASIDE_BYTES);
      if (written === frame.byteLength) return position;
    } catch {
      // The memory is full: a container may give it little.
    }
    this.close();
    return null;
  }

  taken(position: number): void {
    this.ring.free(position);
    this.forgetName();
  }

  close(): void {
    this.forgetName();
    if (this.isOpen) closeSync(this.file);
    this.isOpen = false;
  }

  /** The engine has it open, or never will. */
  private forgetName(): void {
    if (!this.isNamed) return;
    this.isNamed = false;
    try {
      unlinkSync(asidePath(this.name));
    } catch {
      // The engine was first.
    }
  }
}
