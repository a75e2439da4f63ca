/** @file What the suites that train on a real engine share: engines that end with their test, and the run that nothing disturbs. */
import type { Aggregate, WireFormat } from '@ravenlab/protocol';
import type { TestEngine, TestEngineOptions } from './engineUnderTest.js';
import { Training, startTestEngine, until, waitForWorkers } from './engineUnderTest.js';

const engines: TestEngine[] = [];

/** An engine that `stopEngines` ends. */
export async function startEngine(
  workers: number,
  options: Omit<TestEngineOptions, 'workers'> = {},
): Promise<TestEngine> {
  const engine = await startTestEngine({ ...options, workers });
  engines.push(engine);
  return engine;
}

/** Belongs in `afterEach`. */
export async function stopEngines(): Promise<void> {
  for (const engine of engines.splice(0)) await engine.stop();
}

export interface FinishedRun {
  readonly losses: readonly number[];
  readonly weights: Buffer;
}

/** Losses and weights of `steps` steps with one worker that nothing disturbs; made once, when first asked for. */
export function undisturbedRun(
  steps: number,
  wire: WireFormat = 'float32',
  aggregate: Aggregate = 'sum',
): () => Promise<FinishedRun> {
  let run: Promise<FinishedRun> | null = null;
  const train = async (): Promise<FinishedRun> => {
    const engine = await startTestEngine({ workers: 1 });
    const training = new Training(engine, wire, undefined, aggregate);
    await training.prepare();
    const losses = [...(await training.run(steps))];
    const weights = await training.weights();
    await engine.stop();
    return { losses, weights };
  };
  return () => (run ??= train());
}

/** The same run by several workers, one of which is killed in its middle. */
export async function runLosingOne(
  workers: number,
  steps: number,
  wire: WireFormat = 'float32',
  aggregate: Aggregate = 'sum',
): Promise<FinishedRun> {
  const engine = await startEngine(workers);
  const { localPids } = await waitForWorkers(engine, workers);
  const training = new Training(engine, wire, undefined, aggregate);
  await training.prepare();
  await training.run(5);
  const running = training.run(steps - 5);
  await until('a step or two', () => training.version >= 8);
  process.kill(localPids[0] ?? -1, 'SIGKILL');
  const losses = [...(await running)];
  return { losses, weights: await training.weights() };
}
