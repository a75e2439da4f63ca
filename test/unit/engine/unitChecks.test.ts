/** @file How the engine finds the inputs of an answer: weights, rows of data in blocks, values of a request; and what it leaves alone. */
import type {
  DataId,
  ExecutionId,
  ExecutionPlan,
  PlanInput,
  PlanOutput,
  ProgramHash,
  StateId,
  StateVersion,
  WorkerId,
} from '@ravenlab/protocol';
import { ENGINE_LIMITS, encodeProgram, verifyProgram } from '@ravenlab/protocol';
import type { Answer } from '../../../kernel/src/core/verify/auditBook.js';
import type { CheckVerdict } from '../../../kernel/src/core/verify/checkUnit.js';
import { DataStore, cutBlocks } from '../../../kernel/src/engine/dataStore.js';
import { SharedHeap } from '../../../kernel/src/engine/heap.js';
import { bindPlan } from '../../../kernel/src/engine/planView.js';
import { ProgramTable } from '../../../kernel/src/engine/programTable.js';
import { Resources } from '../../../kernel/src/engine/resources.js';
import { StateStore } from '../../../kernel/src/engine/states.js';
import { UnitChecks } from '../../../kernel/src/engine/unitChecks.js';
import { ProgramBuilder, answerOf } from '../core/verify/lib.js';
import { floats } from '../core/lib/oracle.js';

const [M, K, N] = [96, 128, 112];
const ROWS = 3 * M;
const X = 1 as DataId;
const W = 1 as StateId;
const BIAS = 2 as StateId;
const HASH = 'a'.repeat(64) as ProgramHash;
const nothing = (): void => undefined;

/** x·wᵀ + bias, x by rows. */
function makeProgram() {
  const b = new ProgramBuilder();
  const [w, bias, x] = [b.input([N, K]), b.input([N]), b.input([M, K])];
  const program = b.program(b.op('add', [b.product(x, w, false, true), bias]));
  verifyProgram(program);
  return program;
}

const program = makeProgram();
const [w, bias, x] = [floats([N, K], 1), floats([N], 2), floats([ROWS, K], 3)];
/** Rows of two micro-shards, in an order of their own. */
const indices = Int32Array.from({ length: 2 * M }, (_none, at) => (at * 7) % ROWS);
const rowsOf = (shard: number): Float32Array =>
  Float32Array.from({ length: M * K }, (_none, at) => {
    const row = indices[shard * M + Math.floor(at / K)]!;
    return x[row * K + (at % K)]!;
  });

function setUp(combine: 'concat' | 'sum' = 'concat') {
  const [resources, heap] = [new Resources(), new SharedHeap(64)];
  const sha256 = (): string => HASH;
  const programs = new ProgramTable({ resources, sha256, amountOf: () => 1n, retire: nothing });
  const states = new StateStore(heap, resources, nothing);
  const data = new DataStore(resources, nothing);
  const known = (hash: ProgramHash) => programs.get(hash);
  const stores = { states, data, program: known, run: null };
  programs.define(HASH, encodeProgram(program));
  const bytes = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer);
  states.create(W, program.inputs[0]!, bytes(w));
  states.create(BIAS, program.inputs[1]!, bytes(bias));
  const type = { dtype: 'float32', shape: [ROWS, K] } as const;
  data.create(X, type, cutBlocks(type, bytes(x)));
  const state = (stateId: StateId): PlanInput => {
    return { kind: 'state', stateId, version: 0 as StateVersion };
  };
  const rows: PlanInput = { kind: 'rows', dataId: X, indices, sharded: true };
  const shape = combine === 'concat' ? [2 * M, N] : [M, N];
  const output: PlanOutput = {
    ...{ combine, axis: 0, deliver: true },
    type: { dtype: 'float32', shape },
  };
  const plan: ExecutionPlan = {
    ...{ programs: [HASH], inputs: [state(W), state(BIAS), rows], outputs: [output] },
    shards: [0, M].map((offset) => ({ program: 0, offset, size: M })),
    ...{ updates: [], clips: [], step: null },
  };
  const bound = bindPlan(1 as ExecutionId, plan, stores);
  const checks = new UnitChecks({ heap, resources, onCrash: nothing });
  const prepare = (answer: Answer, values: Float32Array) =>
    checks.prepare(bound, answer, () => [{ dtype: 'float32', bytes: bytes(values) }]);
  return { bound, data, prepare };
}

const answer = (shard: number, count = 1): Answer => ({
  ...{ seq: 1, worker: 'anna' as WorkerId, point: { session: 1, request: 1 } },
  ...{ isEffect: false, shard, count, leases: [] },
});
const honest = (shard: number): Float32Array => answerOf(program, [w, bias, rowsOf(shard)])[0]!;

function opinionOf(check: ReturnType<ReturnType<typeof setUp>['prepare']>): string {
  if (check === null) return 'not checked';
  let verdict: CheckVerdict | null = null;
  check.run((given) => (verdict = given));
  return (verdict as CheckVerdict | null)?.opinion ?? 'later';
}

test('the rows of each micro-shard are read, and those of another one are a lie', () => {
  const { prepare } = setUp();
  for (const shard of [0, 1]) {
    expect(opinionOf(prepare(answer(shard), honest(shard)))).toBe('right');
    expect(opinionOf(prepare(answer(shard), honest(1 - shard)))).toBe('wrong');
  }
});

test('a sum is that of all micro-shards in it', () => {
  const { prepare } = setUp('sum');
  const second = honest(1);
  const sum = honest(0).map((value, at) => value + second[at]!);
  expect(opinionOf(prepare(answer(0, 2), sum))).toBe('right');
  expect(opinionOf(prepare(answer(0, 2), second))).toBe('wrong');
});

test('what the engine has not got, or not yet, is left to audits', () => {
  const { bound, data, prepare } = setUp();
  const [first] = bound.inputs;
  if (first?.kind !== 'state') throw new Error('the first input is a state');
  first.revision.isPromised = true;
  expect(prepare(answer(0), honest(0))).toBeNull();
  first.revision.isPromised = false;
  expect(prepare(answer(0), honest(0))).not.toBeNull();
  data.drop([X]);
  expect(prepare(answer(0), honest(0))).toBeNull();
});

test('a large one is for the thread, and one too many for nobody', () => {
  jest.replaceProperty(ENGINE_LIMITS, 'inlineCheckFlops', 10 as never);
  const { prepare } = setUp();
  expect(prepare(answer(0), honest(0))).toMatchObject({ isInline: false });
  jest.replaceProperty(ENGINE_LIMITS, 'checkBytes', 10);
  expect(prepare(answer(0), honest(0))).toBeNull();
  jest.restoreAllMocks();
});
