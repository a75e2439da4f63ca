/** @file What all parts of one simulated schedule share: time, randomness by concern, the plan. */
import { EventHeap } from './eventHeap.js';
import type { Fault, SimPlan } from './plan.js';
import { Prng } from './prng.js';

/** Violation of what the system promises; its message is the finding. */
export class SimViolation extends Error {}

/** A fault that a schedule has, and how often. */
export interface Hazard<F extends Fault> {
  readonly fault: F;
  readonly perMille: number;
}

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

  /** Those of `faults` that this schedule has at all, with their rates. */
  enabled<F extends Fault>(faults: readonly F[]): Hazard<F>[] {
    const hazards: Hazard<F>[] = [];
    for (const fault of faults) {
      const perMille = this.plan.rates[fault];
      if (perMille > 0) hazards.push({ fault, perMille });
    }
    return hazards;
  }

  /** Whether a fault happens now; counted for coverage. */
  strikes(fault: Fault): boolean {
    return !this.isHealed && this.befalls(fault, this.plan.rates[fault]);
  }

  /** The same with a rate that is known already: what is drawn with every beat and every effect. */
  befalls(fault: Fault, perMille: number): boolean {
    return !this.isHealed && this.occurs(fault, perMille);
  }

  /** Also when faults have ceased. */
  occurs(fault: Fault, perMille: number): boolean {
    if (perMille === 0 || !this.faults.chance(perMille)) return false;
    this.struck.set(fault, (this.struck.get(fault) ?? 0) + 1);
    return true;
  }
}
