/**
 * @file A real engine, alone with a stranger: nobody can repeat what it answers, so a product of values that the engine knows
 * is all that can be checked. Who lies about it is out.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DataId, ExecutionPlan, StateId, StateVersion } from '@ravenlab/protocol';
import { startEngine, stopEngines } from './lib/engineSuite.js';
import type { TestEngine } from './lib/engineUnderTest.js';
import { joinByInvite, until, waitForWorkers } from './lib/engineUnderTest.js';
import { float32, noise, productProgram } from './lib/mlpPlan.js';

const home = mkdtempSync(join(tmpdir(), 'ravenlab-stranger-'));
let stranger: ChildProcess | null = null;

afterEach(async () => {
  stranger?.kill('SIGKILL');
  await stopEngines();
});
afterAll(() => {
  rmSync(home, { recursive: true, force: true });
});

/** [rows, inner, columns] of a product that is checked at once, and of one that is not. */
const SIZES = { 'on the I/O loop': [96, 128, 112], 'on its thread': [256, 512, 160] } as const;

/** Evaluates x·w. */
async function evaluate(engine: TestEngine, [m, k, n]: (typeof SIZES)[keyof typeof SIZES]) {
  const ask = engine.client.request.bind(engine.client);
  // What an audit reads that waits for a judge cannot be replaced.
  const [W, X] = [k as StateId, k as DataId];
  const { hash, bytes } = productProgram([m, k, n]);
  await ask({ kind: 'defineProgram', hash, bytes });
  await ask({ kind: 'createState', stateId: W, type: float32(k, n), data: noise(k * n, 1) });
  await ask({ kind: 'createData', dataId: X, type: float32(m, k), data: noise(m * k, 2) });
  const indices = Int32Array.from({ length: m }, (_none, at) => m - 1 - at);
  const plan: ExecutionPlan = {
    programs: [hash],
    inputs: [
      { kind: 'rows', dataId: X, indices, sharded: true },
      { kind: 'state', stateId: W, version: 0 as StateVersion },
    ],
    outputs: [{ combine: 'concat', axis: 0, type: float32(m, n), deliver: true }],
    shards: [{ program: 0, offset: 0, size: m }],
    ...{ updates: [], clips: [], step: null },
  };
  await ask({ kind: 'execute', plan });
}

async function aloneWith(lie?: string): Promise<TestEngine> {
  const engine = await startEngine(0);
  const { command } = (await engine.command('invite')) as { command: string };
  stranger = joinByInvite(command, home, lie);
  await waitForWorkers(engine, 1);
  return engine;
}

test('a liar is found without a judge', async () => {
  const engine = await aloneWith('sparse');
  await evaluate(engine, SIZES['on its thread']);
  const { audits } = await until('the ban', async () => {
    const status = await engine.status();
    return status.caught.length === 1 && status;
  });
  expect(audits).toMatchObject({ answers: 1, checks: 1 });
  const told = engine.notices.map(({ text }) => text).join('\n');
  expect(told).toMatch(/sent a wrong result .* is a product of values that are known here/);
});

test('an honest stranger stays, whose checks are made on the I/O loop and on its thread', async () => {
  const engine = await aloneWith();
  for (const size of Object.values(SIZES)) await evaluate(engine, size);
  const { caught } = await until('both checks', async () => {
    const status = await engine.status();
    return status.audits['checks'] === 2 && status;
  });
  expect(caught).toEqual([]);
});
