/**
 * @file Small units of an engine's own worker: run beside a long one, to the same bits; those of strangers wait their turn.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import type { DoneUnit, Program, RunInput, StateId, StateVersion } from '@ravenlab/protocol';
import { WORKER_LIMITS, inferOp, joinChunks } from '@ravenlab/protocol';
import { ScriptedEngine, ended } from './lib/scriptedEngine.js';

let engine: ScriptedEngine;

afterEach(() => engine.stop());

const SMALL = 0;
const LONG = 1;
const SIZE = 512;
const state = (id: number): RunInput => ({
  kind: 'state',
  stateId: id as StateId,
  version: 1 as StateVersion,
});

/** x float32[n, n] → tanh(x·x): a sum whose order shows in its bits. */
function small(n: number): Program {
  const type = { dtype: 'float32', shape: [n, n] } as const;
  const params = { transposeA: false, transposeB: false };
  return {
    inputs: [type],
    nodes: [
      { op: 'matMul', inputs: [0, 0], params, type: inferOp('matMul', [type, type], params) },
      { op: 'tanh', inputs: [1], params: {}, type },
    ],
    outputs: [2],
  };
}

/** x float32[SIZE, SIZE] → x·x. */
function long(): Program {
  const type = { dtype: 'float32', shape: [SIZE, SIZE] } as const;
  const params = { transposeA: false, transposeB: false };
  return { inputs: [type], nodes: [{ op: 'matMul', inputs: [0, 0], params, type }], outputs: [1] };
}

async function prepare(): Promise<void> {
  await engine.welcome();
  await engine.define(SMALL, small(24));
  await engine.define(LONG, long());
  await engine.putState(
    1,
    1,
    Float32Array.from({ length: 24 * 24 }, (_, i) => Math.sin(i)),
  );
  await engine.putState(2, 1, new Float32Array(SIZE * SIZE));
}

/** A long unit, then a small one. @returns The small one's answer, and whether it came first. */
async function race(execution: number): Promise<{ unit: DoneUnit; isFirst: boolean }> {
  await engine.run({ program: LONG, inputs: [state(2)], units: 20, execution: 2 * execution });
  await engine.run({ program: SMALL, inputs: [state(1)], execution: 2 * execution + 1 });
  let long = 0;
  let isFirst = false;
  let unit: DoneUnit | undefined;
  while (long < 20 || unit === undefined) {
    const done = await engine.next('done');
    if (done.execution % 2 === 0) long += done.units.length;
    else {
      unit = done.units[0];
      isFirst = long < 20;
    }
  }
  return { unit, isFirst };
}

function bytesOf(unit: DoneUnit): string {
  if (unit.status !== 'ok' || unit.outputs === null) throw new Error(JSON.stringify(unit));
  return Buffer.from(joinChunks(unit.outputs[0] ?? [])).toString('hex');
}

test('a small program that comes again runs beside a long unit, to the same bits', async () => {
  engine = await ScriptedEngine.start();
  const child = engine.spawnLocal();
  await prepare();
  const first = await race(1);
  expect(first.isFirst).toBe(false);
  let later = first;
  // How long it takes until the backend is open there depends on the machine.
  for (let execution = 2; execution < 200 && !later.isFirst; execution++) {
    later = await race(execution);
  }
  expect(later.isFirst).toBe(true);
  expect(bytesOf(later.unit)).toBe(bytesOf(first.unit));
  child.stdin?.end();
  expect(await ended(child)).toEqual({ code: 0, output: '' });
});

test('on a worker that somebody invited, everything waits for the compute thread', async () => {
  engine = await ScriptedEngine.start({ isRemote: true });
  engine.spawnJoin('secret', '--no-pay');
  await prepare();
  for (let execution = 1; execution < 3 * WORKER_LIMITS.quickAfterRuns; execution++) {
    expect((await race(execution)).isFirst).toBe(false);
  }
});
