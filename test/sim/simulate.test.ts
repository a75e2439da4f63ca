/** @file The simulator in small: what `npm run sim` does for hours, for the seconds of a unit test. */
import { join } from 'node:path';
import fc from 'fast-check';
import { allCells, findCanary, isReplayable } from './batch.js';
import { CANARIES } from './canaries.js';
import { findsItsBug, readScenarios } from './scenarios.js';
import { planArbitrary } from './shrink.js';
import { simulate, simulatePlan } from './simulate.js';

const SEEDS = 500;
/** More than every second schedule loses one. */
const LEASES_LOST = SEEDS / 2;
const RATE_MAX = 300;
/** Enough to search 5,000 seeds, should the kept schedule of a bug not show it any more. */
const CANARY_MS = 60_000;
const scenarios = [...readScenarios(join(__dirname, 'scenarios'))];

describe('scheduler, ledger and journal under simulated faults', () => {
  test(`keep every promise in ${String(SEEDS)} schedules, and those are not idle`, () => {
    let lost = 0;
    const cells = new Set<string>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const report = simulate(seed, { onTransition: (cell) => cells.add(cell) });
      expect([seed, report.violation]).toEqual([seed, null]);
      lost += report.leasesLost;
    }
    expect(lost).toBeGreaterThan(LEASES_LOST);
    expect(cells.size).toBeGreaterThan(allCells().length / 2);
  });

  test('run a seed the same way every time, in any order', () => {
    for (const seed of [159, 14, 3, 26]) expect([seed, isReplayable(seed)]).toEqual([seed, true]);
    expect(simulate(3, { isTracing: true }).trace.length).toBeGreaterThan(10);
  });

  test.each(scenarios)('%s is clean', (_file, { plan }) => {
    expect(simulatePlan(plan).violation).toBeNull();
  });

  test.each(CANARIES.map((canary) => [canary.name, canary] as const))(
    'find the planted bug: %s',
    (name, canary) => {
      const kept = scenarios.find(([, { bug }]) => bug === name);
      const isFound = kept !== undefined && findsItsBug(kept[1]);
      expect(isFound || findCanary(canary, 1) !== null).toBe(true);
    },
    CANARY_MS,
  );

  test('keep their promises for plans that no seed draws', () => {
    fc.assert(
      fc.property(planArbitrary(RATE_MAX), (plan) => {
        const small = { ...plan, shards: 1 + (plan.shards % 9), healAtMs: plan.healAtMs % 5_000 };
        expect(simulatePlan({ ...small, unitMs: plan.unitMs % 100 }).violation).toBeNull();
      }),
      { numRuns: 50, seed: 1 },
    );
  });
});
