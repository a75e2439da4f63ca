/**
 * @file A worker that has all units of a step makes the next weights itself: they do not travel, the next step begins before the
 * engine has committed this one, and the bits are those of a crowd, whatever comes in between.
 */
import { startEngine, stopEngines } from './lib/engineSuite.js';
import type { TestEngine } from './lib/engineUnderTest.js';
import { LARGE, Training, until, waitForWorkers } from './lib/engineUnderTest.js';
import { noise } from './lib/mlpPlan.js';

const STEPS = 24;
const { features } = LARGE.shape;

afterEach(stopEngines);

async function start(workers: number): Promise<{ engine: TestEngine; training: Training }> {
  const engine = await startEngine(workers);
  await waitForWorkers(engine, workers);
  const training = new Training(engine, 'float32', LARGE);
  await training.prepare();
  return { engine, training };
}

async function sentBytes(engine: TestEngine): Promise<number> {
  const { sessions } = await engine.status();
  return sessions.reduce((sum, { blobBytesSent }) => sum + blobBytesSent, 0);
}

let crowd: Promise<{ readonly losses: readonly number[]; readonly weights: Buffer }> | null = null;

/** Three workers, none of which ever has a whole step. */
function ofThree(): NonNullable<typeof crowd> {
  const train = async () => {
    const { training } = await start(3);
    const losses = [...(await training.run(STEPS))];
    const weights = await training.weights();
    await stopEngines();
    return { losses, weights };
  };
  return (crowd ??= train());
}

test('a lone worker is sent the weights a few times at first and never again, and makes the bits that three make', async () => {
  const expected = await ofThree();
  const { engine, training } = await start(1);
  // All rows of data have come by then.
  await training.loop(16);
  const before = await sentBytes(engine);
  await training.loop(STEPS - 16);
  expect(training.losses).toEqual(expected.losses);
  expect((await training.weights()).equals(expected.weights)).toBe(true);
  expect((await sentBytes(engine)) - before).toBe(0);
});

test('kill -9 of the worker that makes the weights changes no bit, and the next one takes over', async () => {
  const expected = await ofThree();
  const { engine, training } = await start(1);
  const { localPids } = await engine.status();
  const running = training.loop(STEPS);
  await until('some steps', () => training.version >= 7);
  process.kill(localPids[0] ?? -1, 'SIGKILL');
  await running;
  expect(training.losses).toEqual(expected.losses);
  expect((await training.weights()).equals(expected.weights)).toBe(true);
  const { counters } = await engine.status();
  expect(counters['unitsDone']).toBe(STEPS * 4);
});

test('another worker comes and goes while one makes the weights: not a bit is different', async () => {
  const expected = await ofThree();
  const { engine, training } = await start(1);
  await training.loop(6);
  await engine.command('scale', { workers: 2 });
  await waitForWorkers(engine, 2);
  await training.loop(6);
  await engine.command('scale', { workers: 1 });
  await waitForWorkers(engine, 1);
  await training.loop(6);
  const before = await sentBytes(engine);
  await training.loop(STEPS - 18);
  // It was sent the slots that it had missed.
  expect((await sentBytes(engine)) - before).toBe(0);
  expect(training.losses).toEqual(expected.losses);
  expect((await training.weights()).equals(expected.weights)).toBe(true);
});

test('Stop with three steps on their way leaves whole steps behind, and training goes on from there', async () => {
  const expected = await ofThree();
  const { engine, training } = await start(1);
  await training.loop(6);
  const cell = 5;
  const first = training.version;
  const asked = [0, 1, 2].map((i) => engine.client.request(training.request(first + i), cell));
  engine.client.cancelEpoch(cell);
  const ends = await Promise.allSettled(asked);
  const whole = ends.filter(({ status }) => status === 'fulfilled').length;
  for (const end of ends) if (end.status === 'fulfilled') training.note(end.value);
  expect(training.version).toBe(first + whole);
  await training.loop(STEPS - training.version, cell + 1);
  expect(training.losses).toEqual(expected.losses);
  expect((await training.weights()).equals(expected.weights)).toBe(true);
});

test('a step with NaN fails, and so do those that were begun behind it; the weights are those before', async () => {
  const { engine, training } = await start(1);
  await training.loop(5);
  const weights = await training.weights();
  const bad = noise(2_000 * features, 3);
  bad[training.version * LARGE.batch * features] = NaN;
  await training.replaceRows(bad);
  const first = training.version;
  const asked = [0, 1, 2].map((i) => engine.client.request(training.request(first + i)));
  const codes = (await Promise.allSettled(asked)).map((end) =>
    end.status === 'rejected' ? (end.reason as { readonly code: string }).code : 'none',
  );
  expect(codes).toEqual(['numeric', 'cluster', 'cluster']);
  expect((await training.weights()).equals(weights)).toBe(true);
  await training.replaceRows(noise(2_000 * features, 3));
  const after = await training.loop(3);
  expect(after).toHaveLength(8);
  expect(after.every(Number.isFinite)).toBe(true);
});
