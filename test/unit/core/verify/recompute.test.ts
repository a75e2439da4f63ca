/** @file An answer computed anew decides between two that differ, and never by what rounding does. */
import type { AnyParams, Program } from '@ravenlab/protocol';
import { verifyProgram } from '@ravenlab/protocol';
import { runReference } from '../../../../kernel/src/core/reference/runReference.js';
import type { Part } from '../../../../kernel/src/core/verify/compare.js';
import { agreesWith, recompute } from '../../../../kernel/src/core/verify/recompute.js';
import { floats } from '../lib/oracle.js';
import { ProgramBuilder } from './lib.js';

const [M, K, N] = [8, 6, 5];

/** tanh(x·w), and which column of it is the largest. */
function makeProgram(): Program {
  const b = new ProgramBuilder();
  const [x, w] = [b.input([M, K]), b.input([K, N])];
  const values = b.op('tanh', [b.product(x, w, false, false)]);
  const program = { ...b.program(values) };
  const largest = { op: 'argMax', inputs: [values], params: { axis: 1 } as AnyParams } as const;
  const type = { dtype: 'int32', shape: [M] } as const;
  const last = program.inputs.length + program.nodes.length;
  const nodes = [...program.nodes, { ...largest, type }];
  return { ...program, nodes, outputs: [values, last] };
}

const program = makeProgram();
const w = floats([K, N], 1);
const shards = [2, 3].map((seed) => [floats([M, K], seed), w]);
const outputs = [
  { output: 0, isSum: true },
  { output: 1, isSum: false },
];
const float32 = (values: ArrayLike<number>): Part => ({
  dtype: 'float32',
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});
const int32 = (values: ArrayLike<number>): Part => ({
  dtype: 'int32',
  bytes: new Uint8Array(Int32Array.from(values).buffer),
});
const [first, second] = shards.map((inputs) => runReference(program, inputs));
const sum = Float32Array.from(first![0]!, (value, at) => value + second![0]![at]!);

test('outputs that are summed are, the others are those of the first micro-shard', () => {
  verifyProgram(program);
  expect(recompute({ program, shards, outputs })).toEqual([float32(sum), int32(first![1]!)]);
  expect(recompute({ program, shards: shards.slice(0, 1), outputs: outputs.slice(0, 1) })).toEqual([
    float32(first![0]!),
  ]);
});

test('what the oracle cannot run is not decided', () => {
  expect(recompute({ program, shards: [[w, w]], outputs })).toBeNull();
});

test('rounding is no lie, a changed value is one, and an index that rounding decides is none', () => {
  const truth = recompute({ program, shards, outputs }) ?? [];
  const rounded = float32(sum.map((value, at) => value * (1 + (at % 3) * 2e-7)));
  const other = int32(Array.from({ length: M }, () => 0));
  expect(agreesWith(truth, [rounded, truth[1]!])).toBe(true);
  expect(agreesWith(truth, [rounded, other])).toBe(true);
  for (const lie of [
    sum.map((v) => -v),
    sum.map(() => 0),
    sum.map((v, at) => (at === 7 ? 3 : v)),
  ]) {
    expect(agreesWith(truth, [float32(lie), truth[1]!])).toBe(false);
  }
});

test('where there are no real numbers, or other parts, nothing can be compared', () => {
  const truth = recompute({ program, shards, outputs: outputs.slice(1) }) ?? [];
  expect(agreesWith(truth, truth)).toBeNull();
  expect(agreesWith(truth, [float32(sum), truth[0]!])).toBeNull();
});
