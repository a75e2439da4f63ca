/** @file Gradients that are put together by a robust rule, between real processes: the bits depend on nobody, and training learns. */
import type { Aggregate } from '@ravenlab/protocol';
import { startEngine, stopEngines, undisturbedRun } from './lib/engineSuite.js';
import { Training, until, waitForWorkers } from './lib/engineUnderTest.js';

const STEPS = 20;
const RULE: Aggregate = { kind: 'trimmedMean', trim: 0.3 };
const plain = undisturbedRun(STEPS);

afterEach(stopEngines);

test('two workers, one of them killed, make the bits that one makes', async () => {
  const expected = await undisturbedRun(STEPS, 'float32', RULE)();
  const engine = await startEngine(2);
  const { localPids } = await waitForWorkers(engine, 2);
  const training = new Training(engine, 'float32', undefined, RULE);
  await training.prepare();
  const running = training.run(STEPS);
  await until('a step or two', () => training.version >= 3);
  process.kill(localPids[0] ?? -1, 'SIGKILL');
  expect(await running).toEqual(expected.losses);
  expect((await training.weights()).equals(expected.weights)).toBe(true);
  // It is another run than a sum's, and learns as that does.
  const { losses, weights } = await plain();
  expect(expected.weights.equals(weights)).toBe(false);
  const [first = NaN, last = NaN] = [losses[0], losses.at(-1)];
  expect(first - (expected.losses.at(-1) ?? NaN)).toBeGreaterThan(0.5 * (first - last));
});
