/** @file Op rows: sources, elementwise arithmetic, comparison and selection. */
import { broadcastShapes, formatShape, sizeOf } from '../shape.js';
import type { OpRow } from './row.js';
import {
  at,
  binary,
  fail,
  NONE,
  noFlops,
  outputSize,
  requireAxes,
  requireDType,
  requireInts,
  requireSameDType,
  requireShape,
  requireValue,
  unary,
} from './row.js';

const full: OpRow<{ readonly shape: 'ints'; readonly dtype: 'dtype'; readonly value: 'float' }> = {
  arity: 0,
  params: { shape: 'ints', dtype: 'dtype', value: 'float' },
  infer(_inputs, { shape, dtype, value }) {
    requireShape('full', shape);
    requireValue('full', dtype, value);
    return { dtype, shape };
  },
  flops: noFlops,
};

/** int32 tensor whose element is its own index along `axis`. */
const iota: OpRow<{ readonly shape: 'ints'; readonly axis: 'int' }> = {
  arity: 0,
  params: { shape: 'ints', axis: 'int' },
  infer(_inputs, { shape, axis }) {
    requireShape('iota', shape);
    requireAxes('iota', [axis], shape.length);
    return { dtype: 'int32', shape };
  },
  flops: noFlops,
};

/**
 * Uniform float32 in [0, 1) from a counter-based generator (Philox4x32-10, random.ts): a pure function of
 * (key, stream, index). The key is int32[4] = (seed low, seed high, step, micro-shard) and must be a program input,
 * so that every backend produces it outside the graph, with the same bits.
 */
const randomUniform: OpRow<{ readonly shape: 'ints'; readonly stream: 'int' }> = {
  arity: 1,
  params: { shape: 'ints', stream: 'int' },
  infer(inputs, { shape, stream }) {
    const key = at(inputs, 0);
    requireDType('randomUniform', key, 'int32');
    if (key.shape.length !== 1 || key.shape[0] !== 4) {
      fail('randomUniform', `key must be int32[4], got ${formatShape(key.shape)}`);
    }
    requireShape('randomUniform', shape);
    requireInts('randomUniform', 'stream', [stream], -(2 ** 31));
    return { dtype: 'float32', shape };
  },
  flops: outputSize,
};

const cast: OpRow<{ readonly dtype: 'dtype' }> = {
  arity: 1,
  params: { dtype: 'dtype' },
  /** float32 → int32 truncates toward zero; anything → bool is `x != 0`. */
  infer: (inputs, { dtype }) => ({ dtype, shape: at(inputs, 0).shape }),
  flops: noFlops,
};

const where: OpRow<typeof NONE> = {
  arity: 3,
  params: NONE,
  infer(inputs) {
    const condition = at(inputs, 0);
    const a = at(inputs, 1);
    const b = at(inputs, 2);
    requireDType('where', condition, 'bool');
    requireSameDType('where', a, b);
    const values = broadcastShapes('where', a.shape, b.shape);
    return { dtype: a.dtype, shape: broadcastShapes('where', condition.shape, values) };
  },
  flops: (_inputs, output) => sizeOf(output.shape),
};

const clip: OpRow<{ readonly min: 'float'; readonly max: 'float' }> = {
  arity: 1,
  params: { min: 'float', max: 'float' },
  infer(inputs, { min, max }) {
    const x = at(inputs, 0);
    requireDType('clip', x, 'float32');
    if (!(min <= max)) fail('clip', `min ${String(min)} is not below max ${String(max)}`);
    return x;
  },
  flops: outputSize,
};

/** x where it is finite, `value` where it is NaN or infinite. */
const finiteOr: OpRow<{ readonly value: 'float' }> = {
  arity: 1,
  params: { value: 'float' },
  infer(inputs, { value }) {
    const x = at(inputs, 0);
    requireDType('finiteOr', x, 'float32');
    if (!Number.isFinite(value)) fail('finiteOr', `value ${String(value)} is not finite`);
    return x;
  },
  flops: outputSize,
};

const NUMBERS = ['float32', 'int32'] as const;
const ANY = ['float32', 'int32', 'bool'] as const;

export const ELEMENTWISE_OPS = {
  full,
  iota,
  randomUniform,
  cast,
  where,
  clip,
  neg: unary('neg', 1, NUMBERS),
  abs: unary('abs', 1, NUMBERS),
  /** -1, 0 or 1. */
  sign: unary('sign', 1, NUMBERS),
  floor: unary('floor', 1),
  exp: unary('exp', 4),
  log: unary('log', 4),
  sqrt: unary('sqrt', 2),
  rsqrt: unary('rsqrt', 3),
  sin: unary('sin', 4),
  cos: unary('cos', 4),
  tanh: unary('tanh', 6),
  sigmoid: unary('sigmoid', 6),
  erf: unary('erf', 8),
  relu: unary('relu', 1),
  /** The nearest float16 as a float32, ties to even; beyond 65504 infinity: what narrow.ts does to a tensor on its way. */
  roundFloat16: unary('roundFloat16', 1),
  finiteOr,
  logicalNot: unary('logicalNot', 1, ['bool']),
  add: binary('add', 1, NUMBERS),
  sub: binary('sub', 1, NUMBERS),
  mul: binary('mul', 1, NUMBERS),
  /** float32 only: integer division has too many meanings. */
  div: binary('div', 1, ['float32']),
  pow: binary('pow', 8, ['float32']),
  maximum: binary('maximum', 1, NUMBERS),
  minimum: binary('minimum', 1, NUMBERS),
  equal: binary('equal', 1, ANY, 'bool'),
  notEqual: binary('notEqual', 1, ANY, 'bool'),
  less: binary('less', 1, NUMBERS, 'bool'),
  lessEqual: binary('lessEqual', 1, NUMBERS, 'bool'),
  greater: binary('greater', 1, NUMBERS, 'bool'),
  greaterEqual: binary('greaterEqual', 1, NUMBERS, 'bool'),
  logicalAnd: binary('logicalAnd', 1, ['bool']),
  logicalOr: binary('logicalOr', 1, ['bool']),
} as const;
