/**
 * @file An engine that is killed while it trains: the same bits, the same pay, and a kernel that does not notice. Real processes
 * and real kill -9.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EngineClient } from '../../kernel/src/engine/client.js';
import type { TestEngine } from './lib/engineUnderTest.js';
import { startEngine, stopEngines, undisturbedRun } from './lib/engineSuite.js';
import {
  CLIENT_MODULE,
  ENGINE_ENTRY,
  Training,
  isAlive,
  joinByInvite,
  until,
  waitForWorkers,
} from './lib/engineUnderTest.js';

const STEPS = 60;
const UNITS_PER_STEP = 7;
const reference = undisturbedRun(STEPS);

afterEach(stopEngines);

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
    const engine = await startEngine(2);
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
    expect((await training.weights()).equals(expected.weights)).toBe(true);
    const { panel } = await engine.status();
    const units = panel.payments.payees.reduce((sum, payee) => sum + payee.units, 0);
    expect({ units, log: logOf(engine) }).toMatchObject({ units: STEPS * UNITS_PER_STEP });
    expect(panel.job?.step).toBe(STEPS);
    expect(engine.notices.filter(({ text }) => text.includes('nothing is lost')).length).toBe(4);
  });
});

describe('a cell that is stopped', () => {
  test('while a new engine repeats its steps keeps those that were answered; the next cell goes on', async () => {
    const engine = await startEngine(2);
    await waitForWorkers(engine, 2);
    const training = new Training(engine);
    await training.prepare();
    const [cell, next] = [1, 2];
    const stopped = (async () => {
      for (;;) await training.step(cell);
    })();
    const outcome = stopped.catch((error: unknown) => error);
    await until('step 20', () => training.version >= 20);
    await kill(engine);
    // Its workers take longer to start than it does: nothing is repeated yet.
    await until('the engine', () => engine.notices.some(({ text }) => text.includes('nothing is')));
    engine.client.cancelEpoch(cell);
    expect(await outcome).toMatchObject({ code: 'interrupted' });
    while (training.version < STEPS) await training.step(next);
    expect(training.losses).toEqual((await reference()).losses);
    expect(engine.notices.map(({ level }) => level)).not.toContain('error');
  });
});

describe('a machine that joined by invite', () => {
  test('comes back by itself when the engine was killed, and keeps its account', async () => {
    const engine = await startEngine(0);
    const { command } = (await engine.command('invite')) as { command: string };
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-joiner-'));
    const joiner = joinByInvite(command, home);
    try {
      await waitForWorkers(engine, 1);
      const training = new Training(engine);
      await training.prepare();
      await training.run(5);
      await kill(engine);
      await training.run(5);
      const { panel } = await engine.status();
      expect(panel.payments.payees.map(({ units }) => units)).toEqual([10 * UNITS_PER_STEP]);
      expect(await engine.command('invite')).toMatchObject({ command });
    } finally {
      joiner.kill('SIGKILL');
      rmSync(home, { recursive: true, force: true });
    }
  });
});

/** A kernel in a process of its own that makes one state, says which engine it has, and stays. */
function startKernel(home: string, key: string, onLine: (pid: number) => void): ChildProcess {
  const script = `
    import { EngineClient } from ${JSON.stringify(`file://${CLIENT_MODULE}`)};
    const client = new EngineClient({ entry: ${JSON.stringify(ENGINE_ENTRY)}, keys: [${JSON.stringify(key)}] });
    await client.request({ kind: 'attach' });
    const type = { dtype: 'float32', shape: [3] };
    await client.request({ kind: 'createState', stateId: 1, type, data: Float32Array.of(1, 2, 3) });
    const { value } = await client.request({ kind: 'command', op: 'status', args: {} });
    console.log(value.enginePid);
    setInterval(() => undefined, 1000);
  `;
  const kernel = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, RAVENLAB_HOME: home, RAVENLAB_LOCAL_WORKERS: '0' },
  });
  kernel.stdout.once('data', (text: Buffer) => {
    onLine(Number(text.toString()));
  });
  return kernel;
}

/** The next kernel of the notebook, which has asked for nothing yet. */
function lookingAt(home: string): EngineClient {
  const env = { ...process.env, RAVENLAB_HOME: home, RAVENLAB_LOCAL_WORKERS: '0' };
  return new EngineClient({ entry: ENGINE_ENTRY, keys: ['notebook'], env });
}

describe('a kernel that is killed', () => {
  test('leaves its engine to the next kernel of the notebook, within two seconds', async () => {
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-kernel-'));
    let enginePid = 0;
    const kernel = startKernel(home, 'notebook', (pid) => {
      enginePid = pid;
    });
    await until('the kernel at work', () => enginePid > 0);
    kernel.kill('SIGKILL');
    const started = performance.now();
    const next = await startEngine(0, { home, keys: ['another', 'notebook'] });
    const attached = await next.client.request({ kind: 'attach' });
    expect(performance.now() - started).toBeLessThan(2_000);
    expect(attached).toMatchObject({ kind: 'attached', session: 2, nextId: 2 });
    const reply = await next.client.request({
      kind: 'readStates',
      stateIds: [1 as never],
      version: 0 as never,
    });
    expect(reply).toMatchObject({ values: [Float32Array.of(1, 2, 3)] });
    expect((await next.status()).enginePid).toBe(enginePid);
  });

  test('leaves an engine that the next kernel shows before a cell asks for it, and that then works for it', async () => {
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-kernel-'));
    let enginePid = 0;
    const kernel = startKernel(home, 'notebook', (pid) => {
      enginePid = pid;
    });
    await until('the kernel at work', () => enginePid > 0);
    kernel.kill('SIGKILL');
    const client = lookingAt(home);
    try {
      expect(client.state().cluster.state).toBe('off');
      client.look();
      await until('the engine in the panel', () => client.state().cluster.state === 'ready');
      const status = await client.request({ kind: 'command', op: 'status', args: {} });
      expect(status).toMatchObject({ value: { enginePid } });
    } finally {
      await client.close();
      rmSync(home, { recursive: true, force: true });
    }
  });

  test('of whose engine nothing runs any more has nothing to show, and nothing is started to look', async () => {
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-kernel-'));
    let enginePid = 0;
    const kernel = startKernel(home, 'notebook', (pid) => {
      enginePid = pid;
    });
    await until('the kernel at work', () => enginePid > 0);
    kernel.kill('SIGKILL');
    process.kill(enginePid, 'SIGKILL');
    await until('both ends', () => !isAlive(enginePid));
    const client = lookingAt(home);
    client.look();
    expect(client.state().cluster.state).toBe('off');
    await client.close();
    rmSync(home, { recursive: true, force: true });
  });

  test('finds what its engine saved when that is gone too', async () => {
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-kernel-'));
    let enginePid = 0;
    const kernel = startKernel(home, 'notebook', (pid) => {
      enginePid = pid;
    });
    await until('the kernel at work', () => enginePid > 0);
    // The journal has what was answered after a moment.
    await new Promise((wake) => setTimeout(wake, 300));
    kernel.kill('SIGKILL');
    process.kill(enginePid, 'SIGKILL');
    await until('both ends', () => !isAlive(enginePid));
    const next = await startEngine(0, { home, keys: ['notebook'] });
    expect(await next.client.request({ kind: 'attach' })).toMatchObject({ session: 2 });
    const values = await next.client.request({
      kind: 'readStates',
      stateIds: [1 as never],
      version: 0 as never,
    });
    expect(values).toMatchObject({ values: [Float32Array.of(1, 2, 3)] });
  });

  test('does not lose its engine to another kernel while it is alive', async () => {
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-kernel-'));
    const first = await startEngine(0, { home, keys: ['notebook'] });
    const second = await startEngine(0, { home, keys: ['notebook'] });
    const [a, b] = [await first.status(), await second.status()];
    expect(a.enginePid).not.toBe(b.enginePid);
    const engineId = a.panel.cluster.engineId ?? '';
    await expect(startEngine(0, { home, engineId })).rejects.toThrow('works for another kernel');
  });
});
