/** @file How long units of a program take lately, over all workers: enough to say what is late. Integers only. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';

/** The last times of one program's units; µs. */
export class UnitTimes {
  private readonly ring: number[] = [];
  private next = 0;
  private known: number | null = null;

  add(unitUs: number): void {
    this.ring[this.next] = unitUs;
    this.next = (this.next + 1) % ENGINE_LIMITS.unitTimes;
    this.known = null;
  }

  /** The time that 95 % of them kept within; null before there is one. */
  get p95Us(): number | null {
    if (this.ring.length === 0) return null;
    if (this.known === null) {
      const sorted = [...this.ring].sort((a, b) => a - b);
      this.known = sorted[Math.trunc(((sorted.length - 1) * 95) / 100)] ?? null;
    }
    return this.known;
  }
}
