/** @file The executor on a backend of the test's own: inputs put together, outcomes, groups that are answered as one. */
import type { ExecutionId, Program, ProgramHash, RunMerge, TensorData } from '@ravenlab/protocol';
import { NARROW, RavenError, encodeProgram } from '@ravenlab/protocol';
import type { Backend } from '../../../../worker/src/compute/backend.js';
import type { ComputeBatch, ComputeInput } from '../../../../worker/src/compute/computeMessages.js';
import type { UnitOutcome } from '../../../../worker/src/compute/computeMessages.js';
import { Executor } from '../../../../worker/src/compute/executor.js';
import { GroupSum } from '../../../../worker/src/compute/merge.js';

const HASH = 'aa' as ProgramHash;
const EXECUTION = 1 as ExecutionId;
const KEY: ComputeInput = { kind: 'key', seedLow: 1, seedHigh: 2, step: 3 };

/** key int32[4] → float32 [], int32 []; the test says what they are. */
const PROGRAM: Program = {
  inputs: [{ dtype: 'int32', shape: [4] }],
  nodes: [
    {
      op: 'sum',
      inputs: [0],
      params: { axes: [0], keepDims: false },
      type: { dtype: 'int32', shape: [] },
    },
    {
      op: 'cast',
      inputs: [1],
      params: { dtype: 'float32' },
      type: { dtype: 'float32', shape: [] },
    },
  ],
  outputs: [2, 1],
};

type Kernel = (shard: number) => TensorData[];

function executorOf(kernel: Kernel): Executor {
  const backend: Backend = {
    name: 'tfjs-cpu',
    deviceName: 'test',
    version: '0',
    compile: () => ({
      run: ([key]) => kernel(key?.[3] ?? -1),
      release: () => undefined,
      dispose: () => undefined,
    }),
    dispose: () => undefined,
  };
  let clockUs = 0;
  const executor = new Executor({ backend, nowUs: () => (clockUs += 5) });
  executor.define(HASH, encodeProgram(PROGRAM));
  return executor;
}

function batchOf(units: number, merge: RunMerge | null = null): ComputeBatch {
  const shards = Int32Array.from({ length: units }, (_, i) => i);
  return {
    kind: 'batch',
    batch: 1,
    execution: EXECUTION,
    hash: HASH,
    shards,
    inputs: [KEY],
    merge,
  };
}

const nothingSkipped = (): boolean => false;
const runAll = (executor: Executor, batch: ComputeBatch, skip = nothingSkipped): UnitOutcome[] =>
  [...executor.run(batch, skip)].flat();

const ones: Kernel = (shard) => [Float32Array.of(2 ** shard), Int32Array.of(shard)];
const summary = ({ unit, status }: UnitOutcome): string => `${String(unit)} ${status}`;

describe('the executor', () => {
  test('answers unit by unit, with the time of each', () => {
    const outcomes = runAll(executorOf(ones), batchOf(3));
    expect(outcomes.map(summary)).toEqual(['0 ok', '1 ok', '2 ok']);
    expect(outcomes[2]?.computeUs).toBe(5);
    expect(outcomes[2]?.outputs.map((data) => [...data])).toEqual([[4], [2]]);
  });

  test('keeps a failing unit to itself', () => {
    const executor = executorOf((shard) => {
      if (shard === 1) throw new RavenError('limit', 'no memory', { retryable: true });
      return [Float32Array.of(shard === 2 ? NaN : 0), Int32Array.of(0)];
    });
    const outcomes = runAll(executor, batchOf(4));
    expect(outcomes.map(summary)).toEqual(['0 ok', '1 failed', '2 nonFinite', '3 ok']);
    expect(outcomes[1]?.error).toMatchObject({ code: 'limit', retryable: true });
    expect(outcomes[2]).toMatchObject({ output: 0, outputs: [] });
  });

  test('runs nothing of what is skipped', () => {
    const seen: number[] = [];
    const executor = executorOf((shard) => {
      seen.push(shard);
      return ones(shard);
    });
    const outcomes = [...executor.run(batchOf(3), (unit) => unit === 1)].flat();
    expect(outcomes.map(summary)).toEqual(['0 ok', '1 cancelled', '2 ok']);
    expect(seen).toEqual([0, 2]);
  });

  test('fails every unit of a program that it does not have', () => {
    const executor = executorOf(ones);
    executor.forgetProgram(HASH);
    expect(runAll(executor, batchOf(2)).map(summary)).toEqual(['0 failed', '1 failed']);
  });
});

describe('a merged group', () => {
  const merge = (groups: number[]): RunMerge => ({ groups, sums: ['float32', 'first'] });

  test('is one outcome: sums of what is summed, the first of the rest, the time of all', () => {
    const outcomes = runAll(executorOf(ones), batchOf(7, merge([4, 2, 1])));
    expect(outcomes.map(summary)).toEqual(['0 ok', '4 ok', '6 ok']);
    expect(outcomes.map(({ outputs }) => outputs[0]?.[0])).toEqual([15, 48, 64]);
    expect(outcomes.map(({ outputs }) => outputs[1]?.[0])).toEqual([0, 4, 6]);
    expect(outcomes[0]?.computeUs).toBe(20);
  });

  test('falls apart when a unit of it fails, and runs no further', () => {
    const seen: number[] = [];
    const executor = executorOf((shard) => {
      seen.push(shard);
      return shard === 1 ? [Float32Array.of(Infinity), Int32Array.of(0)] : ones(shard);
    });
    const outcomes = runAll(executor, batchOf(6, merge([4, 2])));
    expect(outcomes.map(summary).sort()).toEqual([
      '0 cancelled',
      '1 nonFinite',
      '2 cancelled',
      '3 cancelled',
      '4 ok',
    ]);
    // All four are added up; as the sum is not finite, they run again until the culprit is found.
    expect(seen).toEqual([0, 1, 2, 3, 0, 1, 4, 5]);
  });

  test('whose sum alone is infinite blames its first unit', () => {
    const executor = executorOf(() => [Float32Array.of(3e38), Int32Array.of(0)]);
    const outcomes = runAll(executor, batchOf(2, merge([2])));
    expect(outcomes.map(summary).sort()).toEqual(['0 nonFinite', '1 cancelled']);
    expect(outcomes[0]?.output).toBe(0);
  });

  test('falls apart when nobody waits for a unit of it', () => {
    const executor = executorOf(ones);
    const outcomes = [...executor.run(batchOf(2, merge([2])), (unit) => unit === 1)].flat();
    expect(outcomes.map(summary).sort()).toEqual(['0 cancelled', '1 cancelled']);
  });

  test('answers narrow outputs in the bytes of their format, groups of one as well', () => {
    const executor = executorOf((shard) => [Float32Array.of(1 + shard / 1024), Int32Array.of(0)]);
    const outcomes = runAll(executor, batchOf(3, { groups: [2, 1], sums: ['bfloat16', 'first'] }));
    expect(outcomes.map(summary)).toEqual(['0 ok', '2 ok']);
    const values = new Float32Array(1);
    const sent = outcomes.map(({ outputs }) => {
      NARROW.bfloat16.decode(outputs[0] as Uint8Array, values);
      return values[0];
    });
    // 1 + 1/1024 is nearer to 1 than to the next bfloat16.
    expect(sent).toEqual([2, 1]);
  });

  test('blames a value that the format is too small for', () => {
    const executor = executorOf((shard) => [
      Float32Array.of(65_500 + 30 * shard),
      Int32Array.of(0),
    ]);
    const outcomes = runAll(executor, batchOf(2, { groups: [1, 1], sums: ['float16', 'first'] }));
    expect(outcomes.map(summary)).toEqual(['0 ok', '1 nonFinite']);
    expect(outcomes[1]?.output).toBe(0);
  });

  test('is added pairwise in float32, not one after the other', () => {
    const values = [1e8, 1, -1e8, 1].map(Math.fround);
    const sum = new GroupSum(['float32']);
    for (const value of values) sum.add([Float32Array.of(value)]);
    const [total] = sum.take();
    const pair = (a: number, b: number): number => Math.fround(a + b);
    expect(total?.[0]).toBe(pair(pair(values[0]!, values[1]!), pair(values[2]!, values[3]!)));
    expect(total?.[0]).not.toBe(2);
  });

  test('wraps int32 like the engine does', () => {
    const sum = new GroupSum(['float32']);
    for (const value of [2 ** 31 - 1, 1]) sum.add([Int32Array.of(value)]);
    expect(sum.take()[0]?.[0]).toBe(-(2 ** 31));
  });

  test('gives back the arrays of every operand but the one that holds the sum', () => {
    const units = [1, 2, 3, 4].map((value) => [Float32Array.of(value)]);
    const recycled: unknown[] = [];
    const sum = new GroupSum(['float32'], (outputs) => recycled.push(outputs[0]));
    for (const unit of units) sum.add(unit);
    expect(sum.take()[0]).toBe(units[0]?.[0]);
    expect(recycled).toEqual([units[1]?.[0], units[3]?.[0], units[2]?.[0]]);
  });
});
