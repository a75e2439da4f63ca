/** @file Gradients that are put together by a robust rule, between real processes: the bits depend on nobody, and training learns. */
import type { Aggregate } from '@ravenlab/protocol';
import { runLosingOne, stopEngines, undisturbedRun } from './lib/engineSuite.js';

const STEPS = 20;
const RULE: Aggregate = { kind: 'trimmedMean', trim: 0.3 };
const plain = undisturbedRun(STEPS);

afterEach(stopEngines);

test('two workers, one of them killed, make the bits that one makes', async () => {
  const expected = await undisturbedRun(STEPS, 'float32', RULE)();
  const crowd = await runLosingOne(2, STEPS, 'float32', RULE);
  expect(crowd.losses).toEqual(expected.losses);
  expect(crowd.weights.equals(expected.weights)).toBe(true);
  // It is another run than a sum's, and learns as that does.
  const { losses, weights } = await plain();
  expect(expected.weights.equals(weights)).toBe(false);
  const [first = NaN, last = NaN] = [losses[0], losses.at(-1)];
  expect(first - (expected.losses.at(-1) ?? NaN)).toBeGreaterThan(0.5 * (first - last));
});
