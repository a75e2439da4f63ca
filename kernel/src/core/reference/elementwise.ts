/** @file Oracle rows: sources, elementwise arithmetic, comparison and selection. */
import type { TensorType } from '@ravenlab/protocol';
import { NARROW, sizeOf, uniform } from '@ravenlab/protocol';
import type { Value, Values } from './arrays.js';
import { forEachIndex, makeValues, mapBroadcast } from './arrays.js';
import { erf } from './erf.js';
import type { OracleRows } from './oracleRow.js';
import { arg } from './oracleRow.js';

type Elementwise = (...values: number[]) => number;
/** A row that does not look at its parameters, fit for any op. */
type AnyRow = (inputs: readonly Value[], params: object, out: TensorType) => Values;

/** Rows of ops that are one formula an element, whatever broadcasting gives them. */
function each(f: Elementwise): AnyRow {
  return (inputs, _params, out) => mapBroadcast(out, inputs, f);
}

const test = (f: (a: number, b: number) => boolean): AnyRow =>
  each((a = NaN, b = NaN) => Number(f(a, b)));

/** float32 → int32 truncates, values beyond int32 saturate; → bool is x ≠ 0. */
function castTo(dtype: 'float32' | 'int32' | 'bool'): Elementwise {
  switch (dtype) {
    case 'float32':
      return (x = NaN) => x;
    case 'int32':
      return (x = NaN) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x)));
    case 'bool':
      return (x = NaN) => Number(x !== 0);
  }
}

/** NaN wins, as in every backend. */
const greater = (a: number, b: number): number => (Number.isNaN(a) || a > b ? a : b);
const smaller = (a: number, b: number): number => (Number.isNaN(a) || a < b ? a : b);

export const ELEMENTWISE_ORACLE = {
  full: (_inputs, { value }, out) => makeValues(out.dtype, sizeOf(out.shape)).fill(value),
  iota: (_inputs, { axis }, out) => {
    const data = makeValues(out.dtype, sizeOf(out.shape));
    forEachIndex(out.shape, (index, flat) => (data[flat] = index[axis] ?? 0));
    return data;
  },
  randomUniform: (inputs, { stream }, out) => {
    const key = Int32Array.from(arg(inputs, 0).data);
    return Float64Array.from(uniform(key, stream, sizeOf(out.shape)));
  },
  cast: (inputs, { dtype }, out) => mapBroadcast(out, inputs, castTo(dtype)),
  where: each((condition = 0, a = NaN, b = NaN) => (condition === 0 ? b : a)),
  clip: (inputs, { min, max }, out) =>
    mapBroadcast(out, inputs, (x = NaN) => Math.min(max, Math.max(min, x))),
  neg: each((x = NaN) => -x),
  abs: each((x = NaN) => Math.abs(x)),
  sign: each((x = NaN) => Math.sign(x)),
  floor: each((x = NaN) => Math.floor(x)),
  exp: each((x = NaN) => Math.exp(x)),
  log: each((x = NaN) => Math.log(x)),
  sqrt: each((x = NaN) => Math.sqrt(x)),
  rsqrt: each((x = NaN) => 1 / Math.sqrt(x)),
  sin: each((x = NaN) => Math.sin(x)),
  cos: each((x = NaN) => Math.cos(x)),
  tanh: each((x = NaN) => Math.tanh(x)),
  sigmoid: each((x = NaN) => 1 / (1 + Math.exp(-x))),
  erf: each((x = NaN) => erf(x)),
  relu: each((x = NaN) => (x <= 0 ? 0 : x)),
  roundFloat16: (inputs) => {
    const values = Float32Array.from(arg(inputs, 0).data);
    NARROW.float16.round(values);
    return Float64Array.from(values);
  },
  finiteOr: (inputs, { value }, out) =>
    mapBroadcast(out, inputs, (x = NaN) => (Number.isFinite(Math.fround(x)) ? x : value)),
  logicalNot: each((x = NaN) => Number(x === 0)),
  add: each((a = NaN, b = NaN) => a + b),
  sub: each((a = NaN, b = NaN) => a - b),
  mul: (inputs, _params, out) =>
    out.dtype === 'int32'
      ? mapBroadcast(out, inputs, (a = 0, b = 0) => Math.imul(a, b))
      : mapBroadcast(out, inputs, (a = NaN, b = NaN) => a * b),
  div: each((a = NaN, b = NaN) => a / b),
  pow: each((a = NaN, b = NaN) => a ** b),
  maximum: each((a = NaN, b = NaN) => greater(a, b)),
  minimum: each((a = NaN, b = NaN) => smaller(a, b)),
  equal: test((a, b) => a === b),
  notEqual: test((a, b) => a !== b),
  less: test((a, b) => a < b),
  lessEqual: test((a, b) => a <= b),
  greater: test((a, b) => a > b),
  greaterEqual: test((a, b) => a >= b),
  logicalAnd: test((a, b) => a !== 0 && b !== 0),
  logicalOr: test((a, b) => a !== 0 || b !== 0),
} satisfies Partial<OracleRows>;
