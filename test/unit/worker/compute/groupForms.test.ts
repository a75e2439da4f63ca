/**
 * @file When groups of units run as one program: never before a step, only when it is quicker and the bits are the same,
 * and with the outcomes that they have one by one. The backend is the oracle, on numbers that it adds up exactly.
 */
import type {
  ExecutionId,
  Program,
  ProgramHash,
  RunMerge,
  TensorData,
  TensorType,
} from '@ravenlab/protocol';
import { RavenError, WORKER_LIMITS, encodeProgram, inferOp } from '@ravenlab/protocol';
import { runReference } from '../../../../kernel/src/core/reference/runReference.js';
import type { Backend } from '../../../../worker/src/compute/backend.js';
import type { ComputeBatch, UnitOutcome } from '../../../../worker/src/compute/computeMessages.js';
import { Executor } from '../../../../worker/src/compute/executor.js';
import type { FoldRules } from '../../../../worker/src/compute/group/groupProgram.js';

const HASH = 'aa' as ProgramHash;
const ROWS = 2;

const float = (...shape: number[]): TensorType => ({ dtype: 'float32', shape });

/** x [2, 3], own rows; w [3, 2], shared → Σ rows of x·w. */
function sumOfProducts(): Program {
  const inputs = [float(ROWS, 3), float(3, 2)];
  const plain = { transposeA: false, transposeB: false };
  const overRows = { axes: [0], keepDims: false };
  const product = inferOp('matMul', inputs, plain);
  const sum = inferOp('sum', [product], overRows);
  return {
    inputs,
    nodes: [
      { op: 'matMul', inputs: [0, 1], params: plain, type: product },
      { op: 'sum', inputs: [2], params: overRows, type: sum },
    ],
    outputs: [3],
  };
}

const RULES: FoldRules = {
  keepsBits: () => true,
  pairs: () => new Map(),
  isOpen: () => false,
};

interface World {
  readonly executor: Executor;
  /** Rows of the first input of every run: how many units ran at once. */
  readonly runs: number[];
  /** Programs compiled and not disposed of, by rows of the first input. */
  readonly compiled: number[];
}

interface Behaviour {
  readonly rules?: FoldRules;
  /** µs of a run of so many units. */
  readonly takesUs?: (units: number) => number;
  readonly memoryBytes?: number;
  /** May change what a run of so many units gives, or throw. */
  readonly then?: (outputs: TensorData[], units: number) => TensorData[];
}

function worldOf({
  rules,
  takesUs = () => 100,
  then = (outputs) => outputs,
  memoryBytes = 2 ** 30,
}: Behaviour): World {
  let clockUs = 0;
  const runs: number[] = [];
  const compiled: number[] = [];
  const backend: Backend = {
    name: 'onnx-cpu',
    deviceName: 'test',
    version: '0',
    ...(rules === undefined ? {} : { foldRules: rules }),
    compile: (program) => {
      const units = (program.inputs[0]?.shape[0] ?? 0) / ROWS;
      compiled.push(units);
      return {
        run: (inputs) => {
          runs.push(units);
          clockUs += takesUs(units);
          const outputs = runReference(program, inputs).map((values) => Float32Array.from(values));
          return then(outputs, units);
        },
        release: () => undefined,
        dispose: () => compiled.splice(compiled.indexOf(units), 1),
      };
    },
    dispose: () => undefined,
  };
  const executor = new Executor({ backend, nowUs: () => clockUs, memoryBytes });
  executor.define(HASH, encodeProgram(sumOfProducts()));
  return { executor, runs, compiled };
}

/** Row r of the batch is [r, 1, 0]. */
function batchOf(groups: number[], first = (row: number): number => row): ComputeBatch {
  const units = groups.reduce((sum, size) => sum + size, 0);
  const rows = Float32Array.from({ length: units * ROWS * 3 }, (_, i) =>
    i % 3 === 0 ? first(Math.floor(i / 3)) : i % 3 === 1 ? 1 : 0,
  );
  const w = Float32Array.of(1, 10, 2, 0, 5, 5);
  const merge: RunMerge = { groups, sums: ['float32'] };
  const inline = (data: Float32Array, perUnit: boolean) =>
    ({ kind: 'inline', perUnit, bytes: new Uint8Array(data.buffer) }) as const;
  const shards = Int32Array.from({ length: units }, (_, i) => i);
  const inputs = [inline(rows, true), inline(w, false)];
  return {
    kind: 'batch',
    batch: 1,
    execution: 1 as ExecutionId,
    hash: HASH,
    shards,
    inputs,
    merge,
  };
}

const answer = (executor: Executor, batch: ComputeBatch, skip = -1): UnitOutcome[] =>
  [...executor.run(batch, (unit) => unit === skip)].flat();

const sums = (outcomes: readonly UnitOutcome[]): number[][] =>
  outcomes.map(({ outputs }) => [...(outputs[0] ?? [])]);

/** Runs the batch as often as it takes until a form could be ready; forgets the runs. */
function comesAgain({ executor, runs }: World, batch: ComputeBatch): void {
  const { groupAfterBatches, groupTrialsMax } = WORKER_LIMITS;
  for (let i = 1; i < groupAfterBatches + groupTrialsMax; i++) {
    answer(executor, batch);
    executor.improve(batch);
  }
  runs.length = 0;
}

test('a group that has come a few times runs at once, after an answer has left, with the same sums', () => {
  const world = worldOf({ rules: RULES });
  const batch = batchOf([4, 2]);
  const expected = answer(world.executor, batch);
  expect(world.runs).toEqual([1, 1, 1, 1, 1, 1]);
  expect(world.compiled).toEqual([1]);
  comesAgain(world, batch);
  expect(world.compiled).toEqual([1, 4]);
  const outcomes = answer(world.executor, batch);
  expect(world.runs).toEqual([4, 1, 1]);
  expect(sums(outcomes)).toEqual(sums(expected));
  expect(outcomes.map(({ unit }) => unit)).toEqual([0, 4]);
  // Rows 0 … 7 and 8 … 11 of [r, 1, 0] times w.
  expect(sums(outcomes)).toEqual([
    [28 + 16, 280],
    [38 + 8, 380],
  ]);
});

test('a group of more units than run at once is added up from subtrees', () => {
  const world = worldOf({ rules: RULES });
  const batch = batchOf([2 * WORKER_LIMITS.groupUnits]);
  const expected = answer(world.executor, batch);
  comesAgain(world, batch);
  expect(sums(answer(world.executor, batch))).toEqual(sums(expected));
  expect(world.runs).toEqual([WORKER_LIMITS.groupUnits, WORKER_LIMITS.groupUnits]);
});

test.each([
  ['has no rules for it', {}],
  ['is not quicker at once', { rules: RULES, takesUs: (units: number) => 120 * units }],
  [
    'gives other bits at once',
    {
      rules: RULES,
      then: (outputs: TensorData[], units: number) =>
        units === 1 ? outputs : outputs.map((data) => data.map((value) => value + 1)),
    },
  ],
  ['takes long for each unit', { rules: RULES, takesUs: () => WORKER_LIMITS.groupUs }],
  ['has little memory', { rules: RULES, memoryBytes: 512 }],
  ['would make other kernels of them', { rules: { ...RULES, pairs: () => new Map([[9, 8]]) } }],
])('units run one by one where the backend %s', (_why, behaviour: Behaviour) => {
  const world = worldOf(behaviour);
  const batch = batchOf([4]);
  comesAgain(world, batch);
  expect(world.compiled).toEqual([1]);
  expect(sums(answer(world.executor, batch))).toEqual([[44, 280]]);
  expect(world.runs).toEqual([1, 1, 1, 1]);
});

test('a form that seems no quicker is tried again later, and not for ever', () => {
  const { groupAfterBatches, groupVerdictsApart, groupVerdicts } = WORKER_LIMITS;
  const { groupTrialsGood, groupTrialsMax } = WORKER_LIMITS;
  let slow = 1;
  const world = worldOf({ rules: RULES, takesUs: (units) => (units === 1 ? 100 : slow * 400) });
  const batch = batchOf([4]);
  const comes = (times: number): void => {
    for (let i = 0; i < times; i++) {
      answer(world.executor, batch);
      world.executor.improve(batch);
    }
  };
  comes(groupAfterBatches + groupTrialsMax - 1);
  expect(world.runs.filter((units) => units === 4)).toHaveLength(groupTrialsMax);
  expect(world.compiled).toEqual([1]);
  slow = 0.5;
  comes(groupAfterBatches * groupVerdictsApart - groupAfterBatches - 1);
  expect(world.compiled).toEqual([1]);
  comes(groupTrialsGood);
  expect(world.compiled).toEqual([1, 4]);
  world.runs.length = 0;
  comes(1);
  expect(world.runs).toEqual([4]);

  const other = worldOf({ rules: RULES, takesUs: (units) => units * 100 });
  const enough = groupAfterBatches * groupVerdictsApart ** groupVerdicts;
  for (let i = 0; i < enough + groupVerdicts * groupTrialsMax; i++) {
    answer(other.executor, batch);
    other.executor.improve(batch);
  }
  const trials = other.runs.filter((units) => units === 4);
  expect(trials).toHaveLength(groupVerdicts * groupTrialsMax);
});

test('a form is refused that seemed quicker only while the machine did something else', () => {
  let slowUntil = 0;
  let at = 0;
  const world = worldOf({
    rules: RULES,
    // What runs one by one is hindered in the first three of the trials.
    takesUs: (units) => (units === 1 && ++at <= slowUntil ? 1_000 : units === 1 ? 100 : 500),
  });
  const batch = batchOf([4]);
  answer(world.executor, batch);
  world.executor.improve(batch);
  answer(world.executor, batch);
  at = 0;
  slowUntil = 4 * 4 + 2 * 4;
  for (let i = 0; i < WORKER_LIMITS.groupTrialsMax; i++) {
    world.executor.improve(batch);
    answer(world.executor, batch);
  }
  expect(world.compiled).toEqual([1]);
  expect(world.runs.at(-1)).toBe(1);
});

test('a run that fails at once is made again one by one, and so are the later ones', () => {
  let isShort = false;
  const world = worldOf({
    rules: RULES,
    then: (outputs, units) => {
      if (isShort && units > 1) throw new RavenError('limit', 'no memory');
      return outputs;
    },
  });
  const batch = batchOf([4]);
  comesAgain(world, batch);
  isShort = true;
  expect(sums(answer(world.executor, batch))).toEqual([[44, 280]]);
  expect(sums(answer(world.executor, batch))).toEqual([[44, 280]]);
  expect(world.runs).toEqual([4, 1, 1, 1, 1, 1, 1, 1, 1]);
  expect(world.compiled).toEqual([1]);
});

test('an output that is not finite is blamed on its unit', () => {
  const world = worldOf({ rules: RULES });
  comesAgain(world, batchOf([4]));
  const outcomes = answer(
    world.executor,
    batchOf([4], (row) => (row === 5 ? Infinity : row)),
  );
  const found = outcomes.map(({ unit, status, output }) => `${unit} ${status} ${output}`);
  expect(found.sort()).toEqual([
    '0 cancelled -1',
    '1 cancelled -1',
    '2 nonFinite 0',
    '3 cancelled -1',
  ]);
  expect(world.runs).toEqual([4, 1, 1, 1]);
});

test('a unit that nobody waits for any more takes its group with it', () => {
  const world = worldOf({ rules: RULES });
  const batch = batchOf([4]);
  comesAgain(world, batch);
  const statuses = answer(world.executor, batch, 2).map(({ status }) => status);
  expect(new Set(statuses)).toEqual(new Set(['cancelled']));
  expect(world.runs).toEqual([]);
});

test('goes with its program', () => {
  const world = worldOf({ rules: RULES });
  comesAgain(world, batchOf([4]));
  expect(world.compiled).toEqual([1, 4]);
  world.executor.forgetProgram(HASH);
  expect(world.compiled).toEqual([]);
});
