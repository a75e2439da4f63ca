/** @file Makes a plan that breaks something as small as it gets, with fast-check. */
import fc from 'fast-check';
import type { Canary } from './canaries.js';
import type { Fault, SimPlan } from './plan.js';
import { FAULTS } from './plan.js';
import { simulatePlan } from './simulate.js';

const SHRINK_MS = 60_000;
const PER_MILLE = 1_000;

/** Every plan that there is, small ones first. */
export function planArbitrary(rateMax = PER_MILLE): fc.Arbitrary<SimPlan> {
  const upTo = (min: number, max: number) => fc.integer({ min, max });
  const rates = Object.fromEntries(FAULTS.map((fault) => [fault, upTo(0, rateMax)]));
  return fc.record({
    seed: fc.nat(),
    workers: upTo(1, 6),
    bitClasses: upTo(1, 2),
    steps: upTo(1, 10),
    shards: upTo(1, 64),
    isMergeable: fc.boolean(),
    isSyncMode: fc.boolean(),
    isEncoded: fc.boolean(),
    rates: fc.record(rates as Record<Fault, fc.Arbitrary<number>>),
    healAtMs: upTo(0, 60_000),
    latencyMs: upTo(0, 40),
    jitterMs: upTo(0, 30),
    bytesPerMs: upTo(10, 1_000_000),
    unitMs: upTo(1, 1_500),
    thinkMs: upTo(0, 400),
  });
}

export interface Shrunk {
  readonly plan: SimPlan;
  readonly violation: string;
  readonly steps: number;
}

/** The smallest plan found within a minute that still breaks something. @throws Error when `plan` breaks nothing. */
export function shrink(plan: SimPlan, canary?: Canary): Shrunk {
  const options = canary === undefined ? {} : { canary };
  const violationOf = (each: SimPlan): string | null => simulatePlan(each, options).violation;
  const property = fc.property(planArbitrary(), (each) => violationOf(each) === null);
  const result = fc.check(property, {
    examples: [[plan]],
    numRuns: 1,
    interruptAfterTimeLimit: SHRINK_MS,
  });
  const smallest = result.counterexample?.[0] ?? plan;
  const violation = violationOf(smallest);
  if (violation === null) throw new Error('nothing to shrink: this plan breaks nothing');
  return { plan: smallest, violation, steps: result.numShrinks };
}
