/** @file Tensors on their way in: each piece is copied once, from its frame to its place. */
import type { BlobChunk } from '@ravenlab/protocol';
import { copyChunks } from '@ravenlab/protocol';
import type { BlobKey } from '../core/state.js';

export class Assembly {
  private readonly arriving = new Map<BlobKey, Uint8Array>();

  /** @param begins Whether to make room first; sizes were checked against the budget before. */
  write(key: BlobKey, chunk: BlobChunk, begins: boolean): void {
    if (begins) this.arriving.set(key, new Uint8Array(chunk.totalBytes));
    const target = this.arriving.get(key);
    if (target !== undefined) copyChunks(chunk.bytes, target, chunk.offsetBytes);
  }

  /** Takes out a tensor that is complete. */
  take(key: BlobKey): Uint8Array {
    const bytes = this.arriving.get(key);
    if (bytes === undefined) throw new Error(`tensor ${key} is not arriving`);
    this.arriving.delete(key);
    return bytes;
  }

  forget(keys: readonly BlobKey[]): void {
    for (const key of keys) this.arriving.delete(key);
  }
}
