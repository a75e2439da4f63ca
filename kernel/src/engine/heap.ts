/**
 * @file Blocks of one shared WebAssembly memory: states, optimizer slots and partial sums. Best fit with merging of free
 * neighbours; owned by the engine's main thread alone, other threads only read and write inside blocks given to them.
 */
import { ClusterError, ENGINE_LIMITS } from '@ravenlab/protocol';
import type { SharedMemory } from './wasm/memory.js';
import { createSharedMemory } from './wasm/memory.js';

const PAGE_BYTES = 65_536;
const ALIGN = 16;
/** Address 0 stays unused, so that it never names a block. */
const FIRST = ALIGN;
/** Growth is in steps of this, so that a model's states do not grow the memory one by one. */
const GROW_PAGES = 64;

export interface Block {
  readonly ptr: number;
  /** As asked for; the block itself reaches to the next multiple of 16. */
  readonly sizeBytes: number;
}

interface Gap {
  ptr: number;
  size: number;
}

const endOf = (gap: Gap | undefined): number => (gap === undefined ? -1 : gap.ptr + gap.size);
const roundUp = (bytes: number): number => Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);

export class SharedHeap {
  readonly memory: SharedMemory;
  /** Free gaps by address. */
  private readonly gaps: Gap[] = [];
  private top = FIRST;
  private used = 0;
  private readonly maxBytes: number;

  constructor(maxPages: number = ENGINE_LIMITS.heapPages) {
    this.maxBytes = maxPages * PAGE_BYTES;
    this.memory = createSharedMemory(maxPages);
  }

  get usedBytes(): number {
    return this.used;
  }

  /**
   * A block with old bytes in it, but for its padding, which is zero.
   * @throws ClusterError when the memory cannot grow far enough.
   */
  allocate(sizeBytes: number): Block {
    const size = roundUp(sizeBytes);
    const ptr = this.takeGap(size) ?? this.takeTop(size);
    this.used += size;
    new Uint8Array(this.memory.buffer, ptr + size - ALIGN, ALIGN).fill(0);
    return { ptr, sizeBytes };
  }

  /** A block of zeros. */
  allocateZeroed(sizeBytes: number): Block {
    const block = this.allocate(sizeBytes);
    new Uint8Array(this.memory.buffer, block.ptr, roundUp(sizeBytes)).fill(0);
    return block;
  }

  free(block: Block): void {
    const size = roundUp(block.sizeBytes);
    this.used -= size;
    let at = this.gaps.length;
    while (at > 0 && (this.gaps[at - 1]?.ptr ?? 0) > block.ptr) at--;
    const before = this.gaps[at - 1];
    const after = this.gaps[at];
    if (endOf(before) === block.ptr && before !== undefined) {
      before.size += size;
      if (after?.ptr === endOf(before)) {
        before.size += after.size;
        this.gaps.splice(at, 1);
      }
    } else if (after?.ptr === block.ptr + size) {
      after.ptr = block.ptr;
      after.size += size;
    } else {
      this.gaps.splice(at, 0, { ptr: block.ptr, size });
    }
  }

  /** The block's bytes; a view, valid as long as the block. */
  bytes(block: Block): Uint8Array {
    return new Uint8Array(this.memory.buffer, block.ptr, block.sizeBytes);
  }

  private takeGap(size: number): number | null {
    let best = -1;
    let bestSize = Infinity;
    this.gaps.forEach((gap, index) => {
      if (gap.size >= size && gap.size < bestSize) {
        best = index;
        bestSize = gap.size;
      }
    });
    const gap = this.gaps[best];
    if (gap === undefined) return null;
    const { ptr } = gap;
    gap.ptr += size;
    gap.size -= size;
    if (gap.size === 0) this.gaps.splice(best, 1);
    return ptr;
  }

  private takeTop(size: number): number {
    const ptr = this.top;
    const end = ptr + size;
    if (end > this.maxBytes) throw this.full(size);
    const missing = end - this.memory.buffer.byteLength;
    if (missing > 0) {
      const left = (this.maxBytes - this.memory.buffer.byteLength) / PAGE_BYTES;
      const pages = Math.min(left, Math.max(GROW_PAGES, Math.ceil(missing / PAGE_BYTES)));
      try {
        this.memory.grow(pages);
      } catch {
        throw this.full(size);
      }
    }
    this.top = end;
    return ptr;
  }

  private full(size: number): ClusterError {
    return new ClusterError(
      `the engine's shared memory is full: ${String(size)} bytes wanted, ${String(this.used)} of ${String(this.maxBytes)} in use; ` +
        'drop states that are no longer needed, or train a smaller model',
      { meta: { size, used: this.used } },
    );
  }
}
