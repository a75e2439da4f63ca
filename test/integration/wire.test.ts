/** @file Gradients that travel in fewer bytes, between real processes: the bits still depend on nobody, and training still learns. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runLosingOne, startEngine, stopEngines, undisturbedRun } from './lib/engineSuite.js';
import { Training, joinByInvite, until, waitForWorkers } from './lib/engineUnderTest.js';

const STEPS = 30;
const plain = undisturbedRun(STEPS);

afterEach(stopEngines);

test.each(['bfloat16', 'float16', 'int8'] as const)(
  '%s: three workers, one of them killed, make the bits that one makes, near those of float32',
  async (wire) => {
    const expected = await undisturbedRun(STEPS, wire)();
    const crowd = await runLosingOne(3, STEPS, wire);
    expect(crowd.losses).toEqual(expected.losses);
    expect(crowd.weights.equals(expected.weights)).toBe(true);
    const { losses, weights } = await plain();
    expect(expected.weights.equals(weights)).toBe(false);
    const [first = NaN, last = NaN] = [losses[0], losses.at(-1)];
    const learned = first - last;
    expect(Math.abs((expected.losses.at(-1) ?? NaN) - last)).toBeLessThan(0.05 * learned);
  },
);

test('an invited worker computes the same bits, and is checked by the same bytes', async () => {
  const expected = await undisturbedRun(STEPS, 'bfloat16')();
  const engine = await startEngine(1);
  await waitForWorkers(engine, 1);
  const training = new Training(engine, 'bfloat16');
  await training.prepare();
  const { command } = (await engine.command('invite')) as { command: string };
  const home = mkdtempSync(join(tmpdir(), 'ravenlab-joiner-'));
  const joiner = joinByInvite(command, home);
  try {
    await waitForWorkers(engine, 2);
    await training.run(STEPS);
    expect(training.losses).toEqual(expected.losses);
    const status = await until('work of the invited one', async () => {
      const now = await engine.status();
      if (now.panel.contributors.some(({ local, unitsDone }) => !local && unitsDone > 0))
        return now;
      await training.step();
      return null;
    });
    expect(status.panel.contributors.every(({ state }) => state !== 'gone')).toBe(true);
  } finally {
    joiner.kill('SIGKILL');
    rmSync(home, { recursive: true, force: true });
  }
});
