/** @file How long units of a program take lately, over all workers: enough to say what is late. Integers only. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';

/** The last times of one program's units; µs. Kept sorted, because what is late is asked about with every answer. */
export class UnitTimes {
  private readonly ring: number[] = [];
  private readonly sorted: number[] = [];
  private next = 0;

  add(unitUs: number): void {
    const oldest = this.ring[this.next];
    if (oldest !== undefined) this.sorted.splice(this.rankOf(oldest), 1);
    this.sorted.splice(this.rankOf(unitUs), 0, unitUs);
    this.ring[this.next] = unitUs;
    this.next = (this.next + 1) % ENGINE_LIMITS.unitTimes;
  }

  /** The time that 95 % of them kept within; null before there is one. */
  get p95Us(): number | null {
    return this.sorted[Math.trunc(((this.sorted.length - 1) * 95) / 100)] ?? null;
  }

  /** How many are shorter. */
  private rankOf(unitUs: number): number {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.sorted[middle] ?? 0) < unitUs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
