/** @file Workers of different bit classes on one engine: a run keeps to one class, unless the user mixes them and is told so. */
import { startEngine, stopEngines, undisturbedRun } from './lib/engineSuite.js';
import { Training, until, waitForWorkers } from './lib/engineUnderTest.js';

const STEPS = 30;
const BACKENDS = ['onnx-cpu', 'onnx-wasm', 'tfjs-cpu'];
/** Of a loss after thirty steps of Adam: what rounding in other orders has grown to. */
const TOLERANCE = 1e-3;
const reference = undisturbedRun(STEPS);

afterEach(stopEngines);

async function start(backends: readonly string[]) {
  const engine = await startEngine(backends.length, {
    env: { RAVENLAB_LOCAL_BACKENDS: backends.join(',') },
  });
  await waitForWorkers(engine, backends.length);
  const training = new Training(engine);
  await training.prepare();
  return { engine, training };
}

test('three backends together learn what one does, within rounding, and the run says that it is of the tolerance tier', async () => {
  const { engine, training } = await start(BACKENDS);
  await engine.command('configure', { mixClasses: true });
  await training.run(STEPS);
  const { losses } = await reference();
  const off = training.losses.map((loss, i) => Math.abs(loss - (losses[i] ?? NaN)));
  expect(Math.max(...off)).toBeLessThan(TOLERANCE * (losses[0] ?? NaN));
  // Who is slow gets little: it has worked when it is seen to.
  const { panel } = await until('work of all three', async () => {
    const status = await engine.status();
    if (status.panel.contributors.every(({ unitsDone }) => unitsDone > 0)) return status;
    await training.step();
    return null;
  });
  expect(panel.contributors.map(({ backend }) => backend).sort()).toEqual([...BACKENDS].sort());
  expect(panel.job?.promise).toBe('within-tolerance');
  const told = engine.notices.filter(({ text }) => text.startsWith('Tolerance tier'));
  expect(told).toHaveLength(1);
  expect(panel.alerts.some(({ text }) => text.startsWith('Tolerance tier'))).toBe(true);
});

test('unless they are mixed one class does all of it, and its bits are those of that class alone', async () => {
  const { engine, training } = await start(BACKENDS);
  await training.run(STEPS);
  const { panel } = await engine.status();
  const busy = panel.contributors.filter(({ unitsDone }) => unitsDone > 0);
  expect(busy).toHaveLength(1);
  expect(panel.job?.promise).toBe('same-bits');
  expect(engine.notices).toEqual([]);
  // The fastest, as they measured themselves: on a busy machine that may be any.
  const alone = await start(busy.map(({ backend }) => backend));
  expect(training.losses).toEqual(await alone.training.run(STEPS));
});
