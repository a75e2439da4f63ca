/** @file A file in memory that a worker on this machine leaves long frames in. Reads them; where they lie is aside.ts. */
import { closeSync, constants, fstatSync, openSync, readSync, unlinkSync } from 'node:fs';
import type { AsideReader } from '@ravenlab/protocol';
import { ASIDE_BYTES, RemoteProtocolError, asidePath } from '@ravenlab/protocol';

export class SharedRing implements AsideReader {
  private file: number | null = null;

  open(name: number): boolean {
    if (this.file !== null) return false;
    const path = asidePath(name);
    try {
      const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      const status = fstatSync(file);
      if (!status.isFile() || status.uid !== process.getuid?.()) {
        closeSync(file);
        return false;
      }
      // Both have it open: what has no name is gone with the last of them, however they end.
      unlinkSync(path);
      this.file = file;
      return true;
    } catch {
      return false;
    }
  }

  read(position: number, target: Uint8Array): void {
    const { file } = this;
    const length = target.byteLength;
    const read = file === null ? 0 : readSync(file, target, 0, length, position % ASIDE_BYTES);
    if (read === length) return;
    throw new RemoteProtocolError(
      `a frame of ${String(length)} bytes lies at ${String(position)}, where ${String(read)} are`,
    );
  }

  close(): void {
    if (this.file !== null) closeSync(this.file);
    this.file = null;
  }
}
