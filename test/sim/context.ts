/** @file What all parts of one simulated schedule share: time, randomness by concern, the plan, the true values. */
import { EventHeap } from './eventHeap.js';
import type { Fault, SimPlan } from './plan.js';
import { Prng } from './prng.js';

export class SimContext {
  readonly heap = new EventHeap();
  readonly network: Prng;
  readonly faults: Prng;
  readonly work: Prng;
  readonly struck = new Map<Fault, number>();
  isHealed = false;
  readonly plan: SimPlan;

  constructor(plan: SimPlan) {
    this.plan = plan;
    this.network = new Prng(plan.seed, 2);
    this.faults = new Prng(plan.seed, 3);
    this.work = new Prng(plan.seed, 4);
  }

  /** Whether a fault happens now; counted for coverage. */
  strikes(fault: Fault): boolean {
    const rate = this.plan.rates[fault];
    if (rate === 0 || this.isHealed || !this.faults.chance(rate)) return false;
    this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1);
    return true;
  }

  /**
   * The unit's true result: a float32 whose sum depends on the order of addition, so that a sum in arrival order shows,
   * as does a lost or doubled unit.
   */
  valueOf(execution: number, shard: number): number {
    const mixed = Math.imul(execution * 31 + shard + 1, 0x9e3779b1) >>> 0;
    return Math.fround((mixed / 2 ** 32) * 10 ** (mixed % 7));
  }
}
