/** @file Training in float16 between real processes, by the package itself: steps that overflow and others, and the bits depend on nobody. */
import { cluster, data, manualSeed, nn, optim, tensor } from 'ravenlab';
import type { LossScale } from '@ravenlab/protocol';
import { readLossScale } from '@ravenlab/protocol';
import { installBenchSession } from '../../bench/lib/apiSession.js';
import { startEngine, stopEngines } from './lib/engineSuite.js';
import { waitForWorkers } from './lib/engineUnderTest.js';

const STEPS = 24;
const [FEATURES, CLASSES, ROWS] = [20, 4, 160];
/** So large that the first steps overflow. */
const FACTOR = 2_048;

afterEach(stopEngines);

interface Run {
  readonly losses: readonly number[];
  readonly weights: readonly number[];
  readonly scale: LossScale | null;
}

/** Pseudo-random numbers of the same kind for every run. */
const waves = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(3 * i) * Math.cos(i));

/** A perceptron on ten micro-shards a step. @param kill ends one of the workers, and then the engine */
async function train(workers: number, kill = false): Promise<Run> {
  const engine = await startEngine(workers);
  const { localPids, enginePid } = await waitForWorkers(engine, workers);
  const seen = await installBenchSession(engine.client);
  cluster.microShard = 16;
  cluster.compute = 'float16';
  manualSeed(5);
  const features = waves(ROWS * FEATURES);
  const isAbove = (row: number, column: number): number =>
    Number((features[row * FEATURES + column] ?? 0) > 0);
  const set = data.dataset(
    tensor(features, { shape: [ROWS, FEATURES] }),
    tensor(Int32Array.from({ length: ROWS }, (_, i) => 2 * isAbove(i, 0) + isAbove(i, 1))),
  );
  const model = new nn.Sequential(
    new nn.Linear(FEATURES, 32),
    new nn.ReLU(),
    new nn.Linear(32, CLASSES),
  );
  const opt = new optim.Adam(model.parameters(), { lr: 0.02 });
  const losses: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    if (kill && step === STEPS / 3) process.kill(localPids[0] ?? -1, 'SIGKILL');
    if (kill && step === STEPS / 2) process.kill(enginePid, 'SIGKILL');
    const [x, y] = set.all();
    const loss = nn.crossEntropy(model.call(x), y).mul(FACTOR);
    loss.backward();
    await opt.step();
    losses.push((await loss.data())[0] ?? NaN);
  }
  const states = await model.stateDict();
  const update = seen.lastStep?.updates.find(({ rule }) => rule.name === 'lossScale');
  const reply = await engine.client.request({
    kind: 'readStates',
    stateIds: update === undefined ? [] : [update.stateId],
    version: STEPS as never,
  });
  const scale = reply.kind === 'states' ? readLossScale(reply.values[0] ?? []) : null;
  const weights = [...states.values()].flatMap(({ data }) => [...data]);
  return { losses, weights, scale };
}

test('three workers make the bits that one makes and skip the same steps, though one of them is killed, and the engine', async () => {
  const alone = await train(1);
  const crowd = await train(3, true);
  expect(crowd).toEqual(alone);
  const [scale = NaN, good = NaN] = alone.scale ?? [];
  // Each skipped step halved the scale once; the others were good in a row.
  expect(scale).toBe(65_536 / 2 ** (STEPS - good));
  expect(STEPS - good).toBeGreaterThan(0);
  expect(alone.losses[0]).toBe(alone.losses[STEPS - good - 1]);
  // It learns.
  expect(alone.losses.at(-1)).toBeLessThan(0.5 * (alone.losses[0] ?? NaN));
});
