/** @file What all parts of one simulated schedule share: time, randomness by concern, the plan. */
import { EventHeap } from './eventHeap.js';
import type { Fault, SimPlan } from './plan.js';
import { Prng } from './prng.js';

/** Violation of what the system promises; its message is the finding. */
export class SimViolation extends Error {}

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

  /** Those of `faults` that this schedule has at all. */
  enabled<F extends Fault>(faults: readonly F[]): F[] {
    return faults.filter((fault) => this.plan.rates[fault] > 0);
  }

  /** Whether a fault happens now; counted for coverage. */
  strikes(fault: Fault): boolean {
    const rate = this.plan.rates[fault];
    if (rate === 0 || this.isHealed || !this.faults.chance(rate)) return false;
    this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1);
    return true;
  }
}
