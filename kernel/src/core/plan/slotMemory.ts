/**
 * @file Remembers, for each graph shape, which scalars change from step to step: those become inputs, so that a new
 * learning rate or temperature is not a new program. Bounded; the least recently used shape is forgotten first.
 */
import { LIMITS } from '@ravenlab/protocol';
import type { Trace } from './capture.js';

/** What is known of one skeleton. `plans` is the planner's cache, emptied when a scalar turns into a slot. */
export interface Skeleton<P> {
  readonly scalars: readonly number[];
  readonly isSlot: boolean[];
  readonly plans: Map<string, P>;
}

export class SlotMemory<P> {
  private readonly skeletons = new Map<string, Skeleton<P>>();
  /** Characters of all keys: what an entry holds is proportional to its key. */
  private chars = 0;

  /**
   * The skeleton of `source`, updated: a scalar that differs from the value first seen at its place is a slot from
   * now on. The first trace of a shape has no slots: its constants may fold and fuse.
   */
  observe(source: Trace): Skeleton<P> {
    const known = this.skeletons.get(source.skeleton);
    const skeleton = known ?? {
      scalars: source.scalars,
      isSlot: source.scalars.map(() => false),
      plans: new Map<string, P>(),
    };
    source.scalars.forEach((value, hole) => {
      if (skeleton.isSlot[hole] === true || Object.is(value, skeleton.scalars[hole])) return;
      skeleton.isSlot[hole] = true;
      skeleton.plans.clear();
    });
    // Re-inserting makes it the most recently used: a Map iterates in insertion order.
    this.skeletons.delete(source.skeleton);
    this.skeletons.set(source.skeleton, skeleton);
    if (known === undefined) this.chars += source.skeleton.length;
    this.forgetOldest(source.skeleton);
    return skeleton;
  }

  private forgetOldest(newest: string): void {
    for (const key of this.skeletons.keys()) {
      const fits =
        this.skeletons.size <= LIMITS.planSkeletons && this.chars <= LIMITS.planSkeletonChars;
      if (fits || key === newest) return;
      this.skeletons.delete(key);
      this.chars -= key.length;
    }
  }
}
