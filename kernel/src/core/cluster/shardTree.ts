/**
 * @file The order of a sum: a binary tree over the micro-shard index, fixed by the number of shards alone. Neither the
 * arrival order nor the workers have a say, so the bits of the sum do not depend on them.
 *
 * A tree of n leaves splits at the largest power of two below n: 5 → (4, 1), 4 → (2, 2). Leaves that come in order are
 * merged at once, so at most ⌈log2 n⌉ + 1 partial sums wait; out of order, a partial sum waits for its sibling only.
 */
import { invariant } from './transition.js';

/** Add `source` into `target`; `source` is free afterwards. */
export interface Merge<T> {
  readonly target: T;
  readonly source: T;
}

/** Leaves left of the split of a node with `size` leaves. */
export function leftSize(size: number): number {
  let left = 1;
  while (left * 2 < size) left *= 2;
  return left;
}

export class ShardTree<T> {
  /** Partial sums that wait for their sibling, by first leaf. A node is known by its first leaf: siblings differ. */
  private readonly waiting = new Map<number, { readonly size: number; readonly value: T }>();
  private readonly seen: Uint8Array;
  private missing: number;
  readonly count: number;
  /** Inner nodes above the leaf that was asked for last, the root first: first leaf and size of each. */
  private readonly starts: number[] = [];
  private readonly sizes: number[] = [];
  private depth = 0;

  constructor(count: number) {
    invariant(Number.isInteger(count) && count >= 1, `a sum needs shards, got ${String(count)}`);
    this.count = count;
    this.missing = count;
    this.seen = new Uint8Array(count);
  }

  /** Partial sums held now. */
  get held(): number {
    return this.waiting.size;
  }

  /** Every leaf is in. */
  get isComplete(): boolean {
    return this.missing === 0;
  }

  /** The sum, when complete. */
  get root(): T {
    const node = this.waiting.get(0);
    invariant(this.isComplete && node?.size === this.count, 'the sum is not complete');
    return node.value;
  }

  /** Empties the tree: the partial sums, or the sum, for their owner to free. */
  take(): T[] {
    const values = [...this.waiting.values()].map((node) => node.value);
    this.waiting.clear();
    return values;
  }

  /**
   * Takes the sum of leaves `start … start + count - 1`, a node of the tree (one leaf, most often); returns the merges that it
   * makes possible, in the order to do them.
   */
  insert(start: number, value: T, count = 1): Merge<T>[] {
    this.descend(start);
    this.claim(start, count);
    const merges: Merge<T>[] = [];
    let first = start;
    let size = count;
    let sum = value;
    for (let level = this.depth - 1; level >= 0; level--) {
      const parent = this.starts[level] ?? 0;
      const parentSize = this.sizes[level] ?? 0;
      if (parentSize <= size) continue;
      const left = leftSize(parentSize);
      const isLeft = first === parent;
      const siblingStart = isLeft ? parent + left : parent;
      const sibling = this.waiting.get(siblingStart);
      if (sibling?.size !== (isLeft ? parentSize - left : left)) break;
      this.waiting.delete(siblingStart);
      const target = isLeft ? sum : sibling.value;
      merges.push({ target, source: isLeft ? sibling.value : sum });
      first = parent;
      size = parentSize;
      sum = target;
    }
    this.waiting.set(first, { size, value: sum });
    return merges;
  }

  /** Marks leaves as seen. */
  private claim(start: number, count: number): void {
    invariant(
      start >= 0 && start + count <= this.count,
      () => `shard ${String(start)} of ${String(this.count)}`,
    );
    invariant(
      count === 1 || this.isNodeAbove(start, count),
      () => `shards ${String(start)} + ${String(count)} of ${String(this.count)} are no node`,
    );
    for (let index = start; index < start + count; index++) {
      invariant(this.seen[index] === 0, () => `shard ${String(index)} came twice`);
      this.seen[index] = 1;
    }
    this.missing -= count;
  }

  private isNodeAbove(start: number, size: number): boolean {
    for (let level = 0; level < this.depth; level++) {
      if (this.starts[level] === start && this.sizes[level] === size) return true;
    }
    return false;
  }

  /** Notes the inner nodes above leaf `index`; in arrays that stay, because this is done for every unit. */
  private descend(index: number): void {
    let start = 0;
    let size = this.count;
    this.depth = 0;
    while (size > 1) {
      this.starts[this.depth] = start;
      this.sizes[this.depth] = size;
      this.depth++;
      const left = leftSize(size);
      if (index < start + left) size = left;
      else {
        start += left;
        size -= left;
      }
    }
  }
}
