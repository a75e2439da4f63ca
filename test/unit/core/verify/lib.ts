/** @file Inputs that honest workers meet, float32 products of them, and lies about those. */
import type {
  AnyParams,
  DType,
  OpName,
  Program,
  ProgramNode,
  Shape,
  TensorType,
} from '@ravenlab/protocol';
import { inferOp, valueType } from '@ravenlab/protocol';
import { runReference } from '../../../../kernel/src/core/reference/runReference.js';
import type { Product } from '../../../../kernel/src/core/verify/freivalds.js';

// Looking Math up costs more than the arithmetic: a test's globals are behind a proxy.
const { cos, fround, imul, log, sqrt } = Math;

/** Uniform in [0, 1), the same on every run. */
export function randomOf(seed: number): () => number {
  let state = imul(seed + 1, 0x9e3779b1) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = imul(state ^ (state >>> 15), 1 | state);
    word = (word + imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return ((word ^ (word >>> 14)) >>> 8) * 2 ** -24;
  };
}

export type Family = (random: () => number, row: number) => number;

const gaussian: Family = (random) => sqrt(-2 * log(1 - random())) * cos(2 * Math.PI * random());

/** By name; of a row in thirds some families make zeros only. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  gaussian,
  positive: (random) => random(),
  'heavy tails': (random) => Math.sign(random() - 0.5) * (1 / (1 - random()) ** 2 - 1),
  'sparse, with rows of zeros': (random, row) =>
    row % 3 === 0 || random() < 0.9 ? 0 : gaussian(random, row),
  'wide range': (random, row) => gaussian(random, row) * 10 ** (12 * random() - 6),
};

export interface Matrices {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly a: Float32Array;
  readonly b: Float32Array;
}

export function matricesOf(
  shape: readonly [number, number, number],
  family: Family,
  random: () => number,
): Matrices {
  const [m, k, n] = shape;
  const a = Float32Array.from({ length: m * k }, (_, at) => family(random, Math.floor(at / k)));
  const b = Float32Array.from({ length: k * n }, (_, at) => family(random, 1 + Math.floor(at / n)));
  return { m, k, n, a, b };
}

/** Orders of addition in float32. */
export const ORDERS: readonly ((summands: Float32Array) => number)[] = [
  (summands) => {
    let sum = 0;
    for (const summand of summands) sum = fround(sum + summand);
    return sum;
  },
  (summands) => {
    const sums = summands.slice();
    for (let step = 1; step < sums.length; step *= 2) {
      for (let at = 0; at + step < sums.length; at += 2 * step) {
        sums[at] = fround(sums[at]! + sums[at + step]!);
      }
    }
    return sums[0] ?? 0;
  },
];

export function multiply(
  { m, k, n, a, b }: Matrices,
  add: (summands: Float32Array) => number,
): Float32Array {
  const c = new Float32Array(m * n);
  const summands = new Float32Array(k);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      for (let p = 0; p < k; p++) summands[p] = fround(a[i * k + p]! * b[p * n + j]!);
      c[i * n + j] = add(summands);
    }
  }
  return c;
}

export function productOf({ m, k, n, a, b }: Matrices, c: Float32Array): Product {
  const row = (data: Float32Array, width: number) => (index: number, into: Float64Array) => {
    for (let at = 0; at < width; at++) into[at] = data[index * width + at]!;
  };
  return { rows: m, inner: k, columns: n, left: row(a, k), right: row(b, n), result: row(c, n) };
}

/** Root mean square. */
export function spread(values: Float32Array): number {
  return sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}

/** Nearest bfloat16. */
export function bfloat16(value: number): number {
  const words = new Uint32Array(Float32Array.of(value).buffer);
  words[0] = (words[0]! + 0x8000) & 0xffff0000;
  return new Float32Array(words.buffer)[0]!;
}

/** Appends nodes with inferred types; inputs come first. */
export class ProgramBuilder {
  private readonly inputs: TensorType[] = [];
  private readonly nodes: ProgramNode[] = [];

  input(shape: Shape, dtype: DType = 'float32'): number {
    return this.inputs.push({ dtype, shape }) - 1;
  }

  op(op: OpName, inputs: readonly number[], params: AnyParams = {}): number {
    const types = inputs.map(
      (id) => (this.inputs[id] ?? this.nodes[id - this.inputs.length]?.type)!,
    );
    const type = inferOp(op, types, params as never);
    this.nodes.push({ op, inputs, params, type });
    return this.inputs.length + this.nodes.length - 1;
  }

  product(a: number, b: number, transposeA = false, transposeB = false): number {
    return this.op('matMul', [a, b], { transposeA, transposeB });
  }

  program(...outputs: readonly number[]): Program {
    return { inputs: this.inputs, nodes: this.nodes, outputs };
  }
}

/** What an honest worker answers: node by node, rounded to float32. */
export function answerOf(program: Program, inputs: readonly ArrayLike<number>[]): Float32Array[] {
  const values = [...inputs];
  for (const node of program.nodes) {
    const types = node.inputs.map((id) => valueType(program, id));
    const args = node.inputs.map((id) => values[id]!);
    const nodes = [{ ...node, inputs: types.map((_type, at) => at) }];
    const [exact] = runReference({ inputs: types, nodes, outputs: [types.length] }, args);
    values.push(node.type.dtype === 'float32' ? Float32Array.from(exact!) : exact!);
  }
  return program.outputs.map((id) => Float32Array.from(values[id]!));
}
