/**
 * @file The engine with real worker processes: same bits under crashes and joins, nothing left behind, no peer that can
 * harm it. What the simulator cannot see: processes, sockets, threads, signals.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StateVersion } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import { WORKER_BOUNDS, encodeFrames } from '../../protocol/src/frameStream.js';
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
import { noise } from './lib/mlpPlan.js';

const STEPS = 30;
const reference = undisturbedRun(STEPS);

afterEach(stopEngines);

async function failureOf(promise: Promise<unknown>): Promise<RavenError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof RavenError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('same bits, any crowd', () => {
  test('three workers share the work and make the bits that one makes', async () => {
    const engine = await startEngine(3);
    await waitForWorkers(engine, 3);
    const training = new Training(engine);
    await training.prepare();
    const losses = await training.run(STEPS);
    const expected = await reference();
    expect(losses).toEqual(expected.losses);
    expect((await training.weights()).equals(expected.weights)).toBe(true);
    expect(losses[STEPS - 1]).toBeLessThan((losses[0] ?? 0) * 0.8);
    const { panel, sessions, counters } = await engine.status();
    expect(panel.contributors.map((row) => row.unitsDone > 0)).toEqual([true, true, true]);
    // One for whole micro-shards, one for the smaller last one, whoever got it.
    expect(Math.max(...sessions.map((session) => session.programsSent))).toBeLessThanOrEqual(2);
    expect(counters['unitsDone']).toBe(STEPS * 7);
    const paid = panel.payments.payees.reduce((sum, payee) => sum + payee.units, 0);
    expect(paid).toBe(STEPS * 7);
  });

  test('kill -9 of one of three workers in mid-epoch changes no loss and no weight', async () => {
    const engine = await startEngine(3);
    const { localPids } = await waitForWorkers(engine, 3);
    const training = new Training(engine);
    await training.prepare();
    await training.run(5);
    const running = training.run(STEPS - 5);
    await until('a step or two', () => training.version >= 8);
    process.kill(localPids[0] ?? -1, 'SIGKILL');
    const losses = await running;
    const expected = await reference();
    expect(losses).toEqual(expected.losses);
    expect((await training.weights()).equals(expected.weights)).toBe(true);
    const { counters } = await engine.status();
    expect(counters['unitsDone']).toBe(STEPS * 7);
    const back = await waitForWorkers(engine, 3);
    expect(back.localPids).not.toContain(localPids[0]);
  });

  test('a paused worker gets nothing until it is resumed, a banned one is sent away, and the bits stay', async () => {
    const engine = await startEngine(3);
    await waitForWorkers(engine, 3);
    const training = new Training(engine);
    await training.prepare();
    await training.run(3);
    const unitsOf = async (id: string) =>
      (await engine.status()).panel.contributors.find((each) => each.workerId === id);
    const [paused, banned] = (await engine.status()).panel.contributors.map(
      (each) => each.workerId,
    );
    await engine.command('pause', { workerId: paused });
    const before = await unitsOf(paused ?? '');
    expect(before?.state).toBe('paused');
    await training.run(5);
    expect((await unitsOf(paused ?? ''))?.unitsDone).toBe(before?.unitsDone);
    await engine.command('resume', { workerId: paused });
    await engine.command('ban', { workerId: banned });
    expect((await unitsOf(banned ?? ''))?.state).toBe('gone');
    await training.run(STEPS - 8);
    const expected = await reference();
    expect(training.losses).toEqual(expected.losses);
    expect((await training.weights()).equals(expected.weights)).toBe(true);
    expect((await engine.status()).panel.job?.promise).toBe('same-bits');
  });

  test('a worker that joins by invite appears and gets work', async () => {
    const engine = await startEngine(1);
    await waitForWorkers(engine, 1);
    const training = new Training(engine);
    await training.prepare();
    await training.run(3);
    const { command } = (await engine.command('invite')) as { command: string };
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-joiner-'));
    const joiner = joinByInvite(command, home);
    try {
      const enough = new AbortController();
      const running = (async () => {
        while (!enough.signal.aborted) await training.step();
      })();
      const row = await until('the joiner at work', async () => {
        const { panel } = await engine.status();
        return panel.contributors.find((each) => !each.local && each.unitsDone > 0);
      });
      enough.abort();
      await running;
      expect(row.state).not.toBe('gone');
      const expected = await reference();
      const same = Math.min(STEPS, training.version);
      expect(training.losses.slice(0, same)).toEqual(expected.losses.slice(0, same));
    } finally {
      joiner.kill('SIGKILL');
      rmSync(home, { recursive: true, force: true });
    }
    await until('its departure', async () => {
      const { panel } = await engine.status();
      return panel.contributors.some((each) => !each.local && each.state === 'gone');
    });
  });
});

describe('failures that a user sees', () => {
  test('a step with NaN is refused before it changes a weight, and the next one works', async () => {
    const engine = await startEngine(1);
    const training = new Training(engine);
    await training.prepare(noise(80_000, 3).fill(NaN, 200 * 40, 201 * 40));
    await training.step();
    const before = await training.weights();
    const error = await failureOf(training.step());
    expect(error.code).toBe('numeric');
    expect(error.message).toContain('step 1');
    expect(error.meta).toMatchObject({ step: 1 });
    expect((await training.weights()).equals(before)).toBe(true);
    await training.prepare();
    expect(Number.isFinite(await training.step())).toBe(true);
  });

  test('Stop ends the executions of its cell at once and leaves whole steps behind', async () => {
    const engine = await startEngine(2);
    const training = new Training(engine);
    await training.prepare();
    await training.run(2);
    const { client } = engine;
    const pending = Array.from({ length: 5 }, (_, i) => client.request(training.request(2 + i), 7));
    const outcome = Promise.allSettled(pending);
    const started = performance.now();
    client.cancelEpoch(7);
    const results = await outcome;
    expect(performance.now() - started).toBeLessThan(500);
    for (const result of results) {
      expect(result.status).toBe('rejected');
      if (result.status === 'rejected') {
        expect((result.reason as RavenError).code).toBe('interrupted');
      }
    }
    expect((await failureOf(client.request(training.request(), 7))).code).toBe('interrupted');
    const next = await client.request({
      kind: 'readStates',
      stateIds: [],
      version: 2 as StateVersion,
    });
    expect(next.kind).toBe('states');
  });

  test('Stop in the panel also holds when it falls between two steps; a later cell goes on', async () => {
    const engine = await startEngine(1);
    const training = new Training(engine);
    await training.prepare();
    await training.step(7);
    expect(await engine.command('stopRun')).toEqual({ stopped: true });
    const refused = await failureOf(engine.client.request(training.request(), 7));
    expect(refused.code).toBe('interrupted');
    await training.step(8);
    expect(training.version).toBe(2);
  });

  test('without workers the cell waits, the user is told, and scale makes it run', async () => {
    const engine = await startEngine(0);
    const training = new Training(engine);
    await training.prepare();
    const step = training.step();
    const notice = await until('a notice', () => engine.notices[0]);
    expect(notice.text).toContain('No worker is connected');
    await until('the same in the panel', () =>
      engine.client.state().alerts.some((alert) => alert.text === notice.text),
    );
    await engine.command('scale', { workers: 1 });
    expect(Number.isFinite(await step)).toBe(true);
    await engine.command('scale', { workers: 0 });
    await until('no worker', async () => (await engine.status()).panel.cluster.workerCount === 0);
  });

  test('without a journal an engine that dies fails what waits, with words, and the next request starts another', async () => {
    const engine = await startEngine(0, { env: { RAVENLAB_JOURNAL: 'off' } });
    const training = new Training(engine);
    await training.prepare();
    const { enginePid } = await engine.status();
    const failure = failureOf(training.step());
    process.kill(enginePid, 'SIGKILL');
    expect((await failure).message).toMatch(/engine process ended \(signal SIGKILL/);
    expect(engine.client.state().cluster.state).toBe('failed');
    expect((await engine.status()).enginePid).not.toBe(enginePid);
  });

  test('unknown programs, states and versions are refused by name', async () => {
    const engine = await startEngine(0);
    const training = new Training(engine);
    const message = async () => (await failureOf(training.step())).message;
    expect(await message()).toContain('is unknown to the engine; define it first');
    await training.prepare();
    const { client } = engine;
    const ahead = await failureOf(client.request(training.request(5)));
    expect(ahead.message).toContain('weights version 5 does not exist');
    const op = await failureOf(engine.command('explode'));
    expect(op.message).toContain("unknown command 'explode'");
    const many = await failureOf(engine.command('scale', { workers: -1 }));
    expect(many.message).toContain('argument workers is -1');
  });
});

describe('hostile and unlucky surroundings', () => {
  test('garbage from a peer costs that peer its place and nobody else anything', async () => {
    const engine = await startEngine(1);
    const { endpoint } = await waitForWorkers(engine, 1);
    const training = new Training(engine);
    await training.prepare();
    const path = endpoint.slice('unix://'.length);
    const peers = Array.from({ length: 20 }, () =>
      connect(path).on('error', () => {
        // It is thrown out while it still talks.
      }),
    );
    const running = training.run(STEPS);
    peers.forEach((peer, n) => {
      for (let i = 0; i < 10; i++) {
        // Half of them cannot even frame what they say.
        const frames = [randomBytes(i * 7), randomBytes(64)];
        peer.write(
          n % 2 === 0
            ? (frames[1] ?? '')
            : Buffer.concat(encodeFrames(frames, WORKER_BOUNDS).pieces),
        );
      }
    });
    expect(await running).toEqual((await reference()).losses);
    const { counters, panel } = await engine.status();
    expect(counters['badMessages']).toBeGreaterThanOrEqual(20);
    expect(panel.cluster.workerCount).toBe(1);
    for (const peer of peers) peer.destroy();
  });

  test('an invite with another token is turned away', async () => {
    const engine = await startEngine(0);
    const other = await startEngine(0);
    const { command } = (await engine.command('invite')) as { command: string };
    const { command: foreign } = (await other.command('invite')) as { command: string };
    expect(foreign).not.toBe(command);
    const read = (text: string) =>
      Buffer.from((text.split(' ').pop() ?? '').slice(4), 'base64url')
        .toString()
        .split('\n');
    const [host, port, key] = read(command);
    const token = read(foreign)[3];
    const forged = Buffer.from([host, port, key, token].join('\n')).toString('base64url');
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-forger-'));
    const forger = joinByInvite(`join rl1_${forged}`, home);
    const code = await new Promise((resolve) => forger.once('exit', resolve));
    expect(code).not.toBe(0);
    expect((await engine.status()).panel.contributors).toEqual([]);
    rmSync(home, { recursive: true, force: true });
  });

  test('two engines work side by side', async () => {
    const [a, b] = [await startEngine(1), await startEngine(1)];
    const trainings = [new Training(a), new Training(b)];
    await Promise.all(trainings.map((training) => training.prepare()));
    const [first, second] = await Promise.all(trainings.map((training) => training.run(10)));
    expect(first).toEqual(second);
    const ids = await Promise.all(
      [a, b].map(async (e) => (await e.status()).panel.cluster.engineId),
    );
    expect(ids[0]).not.toBe(ids[1]);
  });

  test('a kernel that is killed and does not come back leaves neither engine nor workers behind', async () => {
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-orphan-'));
    const script = `
      import { EngineClient } from ${JSON.stringify(`file://${CLIENT_MODULE}`)};
      const client = new EngineClient({ entry: ${JSON.stringify(ENGINE_ENTRY)} });
      const ask = async () => (await client.request({ kind: 'command', op: 'status', args: {} })).value;
      let status = await ask();
      while (status.panel.cluster.workerCount < 2) status = await ask();
      console.log(JSON.stringify([status.enginePid, ...status.localPids]));
      setInterval(() => undefined, 1000);
    `;
    const kernel = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        ...{ RAVENLAB_HOME: home, RAVENLAB_LOCAL_WORKERS: '2', RAVENLAB_LINGER_MS: '500' },
      },
    });
    const line = await new Promise<string>((resolve) => {
      kernel.stdout.once('data', (text: Buffer) => {
        resolve(text.toString());
      });
    });
    const pids = JSON.parse(line) as number[];
    expect(pids).toHaveLength(3);
    expect(pids.every(isAlive)).toBe(true);
    kernel.kill('SIGKILL');
    await until('the end of all three', () => !pids.some(isAlive), 8_000);
    rmSync(home, { recursive: true, force: true });
  });
});

describe('the ledger', () => {
  test('what was earned is still owed after the engine was killed, and no unit counts twice', async () => {
    const engineId = randomBytes(8).toString('hex');
    const home = mkdtempSync(join(tmpdir(), 'ravenlab-ledger-'));
    const first = await startEngine(1, { home, engineId });
    const training = new Training(first);
    await training.prepare();
    await training.run(10);
    // The journal may lag behind by 100 ms; wait until its time is surely over.
    const before = await first.status();
    await new Promise((wake) => setTimeout(wake, 500));
    process.kill(before.enginePid, 'SIGKILL');
    await until('its end', () => !isAlive(before.enginePid));
    // Its client has noticed, and started another one, before that is ended in good order: only the ledger is left.
    await until('another one', async () => (await first.status()).enginePid !== before.enginePid);
    await first.stop({ keepHome: true });
    const second = await startEngine(1, { home, engineId });
    const restored = (await second.status()).panel.payments;
    expect(restored.totalMetered).toBe(before.panel.payments.totalMetered);
    expect(restored.payees.reduce((sum, payee) => sum + payee.units, 0)).toBe(10 * 7);
    const again = new Training(second);
    await again.prepare();
    await again.run(1);
    const after = (await second.status()).panel.payments;
    expect(after.payees.reduce((sum, payee) => sum + payee.units, 0)).toBe(11 * 7);
    expect(BigInt(after.totalMetered)).toBeGreaterThan(BigInt(restored.totalMetered));
  });
});
