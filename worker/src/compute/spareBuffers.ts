/** @file Memory of answers that have left, for the answers after them: fresh megabytes cost more than what is copied into them. */
import { WORKER_LIMITS } from '@ravenlab/protocol';

export class SpareBuffers {
  /** Last used first: most of it may still be in a cache. */
  private spares: ArrayBuffer[] = [];

  /** Memory of this size; what it holds is anything. */
  take(sizeBytes: number): ArrayBuffer {
    const at = this.spares.findIndex(({ byteLength }) => byteLength === sizeBytes);
    return this.spares.splice(at, at < 0 ? 0 : 1)[0] ?? new ArrayBuffer(sizeBytes);
  }

  /** Of which nobody reads anything any more. The one that lay here longest goes when there are too many. */
  give(buffers: readonly ArrayBuffer[]): void {
    this.spares = [...buffers, ...this.spares].slice(0, WORKER_LIMITS.spareBuffers);
  }
}
