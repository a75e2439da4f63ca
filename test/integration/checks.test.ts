/**
 * @file A real engine, alone with strangers. One: nobody can repeat what it answers, so a product of values that the engine knows
 * is all that can be checked. Two: the engine computes anew what they disagree about. Who lies is out.
 */
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  DataId,
  ExecutionPlan,
  Program,
  ProgramHash,
  StateId,
  StateVersion,
} from '@ravenlab/protocol';
import { encodeProgram, inferOp } from '@ravenlab/protocol';
import { startEngine, stopEngines } from './lib/engineSuite.js';
import type { TestEngine } from './lib/engineUnderTest.js';
import { joinByInvite, until, waitForWorkers } from './lib/engineUnderTest.js';
import { float32, noise, productProgram } from './lib/mlpPlan.js';

const home = mkdtempSync(join(tmpdir(), 'ravenlab-stranger-'));
const strangers: ChildProcess[] = [];

afterEach(async () => {
  for (const stranger of strangers.splice(0)) stranger.kill('SIGKILL');
  await stopEngines();
});
afterAll(() => {
  rmSync(home, { recursive: true, force: true });
});

/** [rows, inner, columns] of a product that is checked at once, and of one that is not. */
const SIZES = {
  'on the I/O loop': [96, 128, 112],
  'on its thread': [256, 512, 160],
} as const satisfies Record<string, readonly [number, number, number]>;

type Size = readonly [number, number, number];

/** Evaluates x·w, or what another program makes of them. */
async function evaluate(engine: TestEngine, [m, k, n]: Size, makeProgram = productProgram) {
  const ask = engine.client.request.bind(engine.client);
  // What an audit reads that waits for a judge cannot be replaced.
  const [W, X] = [k as StateId, k as DataId];
  const { hash, bytes } = makeProgram([m, k, n]);
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

/** @param lies of each stranger; undefined: it is honest. */
async function aloneWith(...lies: readonly (string | undefined)[]): Promise<TestEngine> {
  const engine = await startEngine(0);
  const { command } = (await engine.command('invite')) as { command: string };
  for (const [index, lie] of lies.entries()) {
    strangers.push(joinByInvite(command, join(home, String(index)), lie));
  }
  await waitForWorkers(engine, lies.length);
  return engine;
}

/** tanh(x·w): no product of what the engine knows. */
function bentProgram([m, k, n]: Size) {
  const inputs = [float32(m, k), float32(k, n)];
  const plain = { transposeA: false, transposeB: false };
  const product = inferOp('matMul', inputs, plain);
  const bent = inferOp('tanh', [product], {});
  const program: Program = {
    inputs,
    nodes: [
      { op: 'matMul', inputs: [0, 1], params: plain, type: product },
      { op: 'tanh', inputs: [2], params: {}, type: bent },
    ],
    outputs: [3],
  };
  const bytes = encodeProgram(program);
  const hash = createHash('sha256').update(bytes).digest('hex') as ProgramHash;
  return { program, hash, bytes };
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

test('of two that contradict each other, with nobody else to ask, the one who lied is found', async () => {
  const engine = await aloneWith('sparse', undefined);
  await evaluate(engine, SIZES['on its thread'], bentProgram);
  const { caught, audits } = await until(
    'the ban',
    async () => {
      const status = await engine.status();
      return status.caught.length > 0 && status;
    },
    30_000,
  );
  expect(caught).toHaveLength(1);
  expect(audits).toMatchObject({ checks: 0 });
  const { sessions } = await engine.status();
  expect(sessions.map(({ workerId }) => caught.includes(workerId))).toEqual([false]);
  const told = engine.notices.map(({ text }) => text).join('\n');
  expect(told).toMatch(/the engine computed it anew|asked to repeat it, it gave another result/);
});

test('an honest stranger stays, whose checks are made on the I/O loop and on its thread', async () => {
  const engine = await aloneWith(undefined);
  for (const size of Object.values(SIZES)) await evaluate(engine, size);
  const { caught } = await until('both checks', async () => {
    const status = await engine.status();
    return status.audits['checks'] === 2 && status;
  });
  expect(caught).toEqual([]);
});
