/**
 * @file An engine that is killed while it trains: the same bits, the same pay, and a kernel that does not notice. Real processes
 * and real kill -9.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestEngine } from './lib/engineUnderTest.js';
import { Training, startTestEngine, until, waitForWorkers } from './lib/engineUnderTest.js';

const STEPS = 60;
const UNITS_PER_STEP = 7;
const engines: TestEngine[] = [];

async function start(workers: number, env: Record<string, string> = {}): Promise<TestEngine> {
  const engine = await startTestEngine({ workers, env });
  engines.push(engine);
  return engine;
}

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.stop();
});

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

let undisturbed: Promise<{ losses: readonly number[]; weights: string }> | null = null;
function reference(): Promise<{ losses: readonly number[]; weights: string }> {
  undisturbed ??= (async () => {
    const engine = await startTestEngine({ workers: 1 });
    const training = new Training(engine);
    await training.prepare();
    const losses = [...(await training.run(STEPS))];
    const weights = sha256(await training.weights());
    await engine.stop();
    return { losses, weights };
  })();
  return undisturbed;
}

async function kill(engine: TestEngine): Promise<number> {
  const { enginePid } = await engine.status();
  process.kill(enginePid, 'SIGKILL');
  return enginePid;
}

/** What the engine's log says, for a failure's message. */
function logOf(engine: TestEngine): string {
  const root = join(engine.home, 'engines');
  return readdirSync(root)
    .map((id) => readFileSync(join(root, id, 'engine.log'), 'utf8'))
    .join('\n');
}

describe('an engine that is killed', () => {
  test('several times in an epoch: same losses, same weights, every unit paid once', async () => {
    const engine = await start(2);
    await waitForWorkers(engine, 2);
    const training = new Training(engine);
    await training.prepare();
    const running = training.run(STEPS);
    for (const version of [7, 21, 22, 45]) {
      await until(`step ${String(version)}`, () => training.version >= version);
      await kill(engine);
    }
    const losses = await running;
    const expected = await reference();
    expect(losses).toEqual(expected.losses);
    expect(sha256(await training.weights())).toBe(expected.weights);
    const { panel } = await engine.status();
    const units = panel.payments.payees.reduce((sum, payee) => sum + payee.units, 0);
    expect({ units, log: logOf(engine) }).toMatchObject({ units: STEPS * UNITS_PER_STEP });
    expect(panel.job?.step).toBe(STEPS);
    expect(engine.notices.filter(({ text }) => text.includes('nothing is lost')).length).toBe(4);
  });
});
