/** @file The simulator in small: what `npm run sim` does for hours, for the seconds of a unit test. */
import fc from 'fast-check';
import { allCells, findCanary } from './batch.js';
import { CANARIES } from './canaries.js';
import type { Fault, SimPlan } from './plan.js';
import { FAULTS, drawPlan } from './plan.js';
import { simulate, simulatePlan } from './simulate.js';

const SEEDS = 200;

describe('the scheduler under simulated faults', () => {
  test(`keeps every promise in ${String(SEEDS)} schedules, and they are not idle`, () => {
    let lost = 0;
    const cells = new Set<string>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const report = simulate(seed, { onTransition: (cell) => cells.add(cell) });
      expect([seed, report.violation]).toEqual([seed, null]);
      lost += report.leasesLost;
    }
    expect(lost).toBeGreaterThan(SEEDS);
    expect(cells.size).toBeGreaterThan(allCells().length / 2);
  });

  test('runs a seed the same way every time', () => {
    for (const seed of [3, 14, 159]) {
      const [first, second] = [1, 2].map(() => simulate(seed, { isTracing: true }).trace);
      expect(first?.length).toBeGreaterThan(10);
      expect(second).toEqual(first);
    }
  });

  test.each(CANARIES.map((canary) => [canary.name, canary] as const))(
    'finds the planted bug: %s',
    (_name, canary) => {
      expect(findCanary(canary, 1)).not.toBeNull();
    },
  );

  test('keeps its promises for plans that no seed draws', () => {
    const rate = fc.integer({ min: 0, max: 300 });
    const rates = fc.record(
      Object.fromEntries(FAULTS.map((fault) => [fault, rate])) as Record<Fault, typeof rate>,
    );
    const plan: fc.Arbitrary<SimPlan> = fc
      .record({
        seed: fc.nat(),
        workers: fc.integer({ min: 1, max: 4 }),
        shards: fc.integer({ min: 1, max: 9 }),
        healAtMs: fc.integer({ min: 0, max: 5_000 }),
        rates,
      })
      .map((drawn) => ({ ...drawPlan(drawn.seed), ...drawn }));
    fc.assert(
      fc.property(plan, (drawn) => {
        expect(simulatePlan(drawn).violation).toBeNull();
      }),
      { numRuns: 50 },
    );
  });
});
