/** @file One worked example or more for every op: operands, parameters, and the result type and FLOPs found by hand. */
import type { DType, OpName, OpParams, TensorType } from '@ravenlab/protocol';

export interface OpSample<N extends OpName = OpName> {
  readonly inputs: readonly TensorType[];
  readonly params: OpParams[N];
  readonly type: TensorType;
  readonly flops: number;
}

const of =
  (dtype: DType) =>
  (...shape: number[]): TensorType => ({ dtype, shape });
export const f32 = of('float32');
export const i32 = of('int32');
export const bool = of('bool');

/** Elementwise op of one operand: `cost` FLOPs for each of 2 · 3 elements. */
const unary = (cost: number) => [
  { inputs: [f32(2, 3)], params: {}, type: f32(2, 3), flops: cost * 6 },
];
const numeric = (cost: number) => [
  ...unary(cost),
  { inputs: [i32(4)], params: {}, type: i32(4), flops: cost * 4 },
];
/** Elementwise op of two operands: [2, 1, 3] with [4, 1] is [2, 4, 3]. */
const binary = (cost: number) => [
  { inputs: [f32(2, 1, 3), f32(4, 1)], params: {}, type: f32(2, 4, 3), flops: cost * 24 },
  { inputs: [f32(), f32(5)], params: {}, type: f32(5), flops: cost * 5 },
];
const compare = [
  { inputs: [f32(2, 1, 3), f32(4, 1)], params: {}, type: bool(2, 4, 3), flops: 24 },
  { inputs: [i32(3), i32(3)], params: {}, type: bool(3), flops: 3 },
];
const logical = [{ inputs: [bool(2, 1), bool(3)], params: {}, type: bool(2, 3), flops: 6 }];

const CONV = { stride: [2, 1], padding: [1, 0, 1, 2], dilation: [1, 2], groups: 1 };
const GROUPED = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 2 };
const POOL = { kernel: [3, 2], stride: [2, 2], padding: [1, 0, 1, 0] };
const NORM = { axes: [1], epsilon: 1e-5 };
const SUM = { axes: [0, 2], keepDims: false };

/**
 * Convolutions: x [2, 3, 7, 8], w [4, 3, 3, 3], CONV. H' = ⌊(7 + 1 + 1 - 2 - 1) / 2⌋ + 1 = 4, W' = ⌊(8 + 0 + 2 - 4 - 1) / 1⌋ + 1 = 6.
 * FLOPs = 2 · (2 · 4 · 4 · 6 outputs) · (3 · 3 · 3 products each) = 10,368.
 */
const CONV_FLOPS = 2 * (2 * 4 * 4 * 6) * 27;
/** x [1, 4, 5, 5], w [6, 2, 3, 3], two groups: 2 · (6 · 3 · 3) · (2 · 3 · 3) = 1,944. */
const GROUPED_FLOPS = 2 * 54 * 18;

export const OP_SAMPLES: { readonly [N in OpName]: readonly OpSample<N>[] } = {
  full: [
    {
      inputs: [],
      params: { shape: [2, 3], dtype: 'float32', value: 0.5 },
      type: f32(2, 3),
      flops: 0,
    },
    { inputs: [], params: { shape: [], dtype: 'bool', value: 1 }, type: bool(), flops: 0 },
    {
      inputs: [],
      params: { shape: [0], dtype: 'float32', value: -Infinity },
      type: f32(0),
      flops: 0,
    },
  ],
  iota: [{ inputs: [], params: { shape: [2, 3], axis: 1 }, type: i32(2, 3), flops: 0 }],
  randomUniform: [
    { inputs: [i32(4)], params: { shape: [3, 5], stream: -7 }, type: f32(3, 5), flops: 15 },
  ],
  cast: [{ inputs: [f32(2, 3)], params: { dtype: 'bool' }, type: bool(2, 3), flops: 0 }],
  where: [
    { inputs: [bool(2, 1), f32(3), f32()], params: {}, type: f32(2, 3), flops: 6 },
    { inputs: [bool(), i32(3), i32(3)], params: {}, type: i32(3), flops: 3 },
  ],
  clip: [{ inputs: [f32(4)], params: { min: -1, max: Infinity }, type: f32(4), flops: 4 }],
  neg: numeric(1),
  abs: numeric(1),
  sign: numeric(1),
  floor: unary(1),
  roundFloat16: unary(1),
  finiteOr: [{ inputs: [f32(4)], params: { value: 0 }, type: f32(4), flops: 4 }],
  exp: unary(4),
  log: unary(4),
  sqrt: unary(2),
  rsqrt: unary(3),
  sin: unary(4),
  cos: unary(4),
  tanh: unary(6),
  sigmoid: unary(6),
  erf: unary(8),
  relu: unary(1),
  logicalNot: [{ inputs: [bool(3)], params: {}, type: bool(3), flops: 3 }],
  add: binary(1),
  sub: binary(1),
  mul: binary(1),
  div: binary(1),
  pow: binary(8),
  maximum: binary(1),
  minimum: binary(1),
  equal: compare,
  notEqual: compare,
  less: compare,
  lessEqual: compare,
  greater: compare,
  greaterEqual: compare,
  logicalAnd: logical,
  logicalOr: logical,
  matMul: [
    // 2 · 64 products for each of 32 · 10 results
    {
      inputs: [f32(32, 64), f32(64, 10)],
      params: { transposeA: false, transposeB: false },
      type: f32(32, 10),
      flops: 40_960,
    },
    // leading [5, 1] and [3] broadcast to [5, 3]; K = 4 is the last but one axis of a
    {
      inputs: [f32(5, 1, 4, 2), f32(3, 6, 4)],
      params: { transposeA: true, transposeB: true },
      type: f32(5, 3, 2, 6),
      flops: 2 * 4 * (5 * 3 * 2 * 6),
    },
  ],
  conv2d: [
    {
      inputs: [f32(2, 3, 7, 8), f32(4, 3, 3, 3)],
      params: CONV,
      type: f32(2, 4, 4, 6),
      flops: CONV_FLOPS,
    },
    {
      inputs: [f32(1, 4, 5, 5), f32(6, 2, 3, 3)],
      params: GROUPED,
      type: f32(1, 6, 3, 3),
      flops: GROUPED_FLOPS,
    },
  ],
  conv2dGradInput: [
    {
      inputs: [f32(2, 4, 4, 6), f32(4, 3, 3, 3)],
      params: { ...CONV, inputSize: [7, 8] },
      type: f32(2, 3, 7, 8),
      flops: CONV_FLOPS,
    },
    {
      inputs: [f32(1, 6, 3, 3), f32(6, 2, 3, 3)],
      params: { ...GROUPED, inputSize: [5, 5] },
      type: f32(1, 4, 5, 5),
      flops: GROUPED_FLOPS,
    },
  ],
  conv2dGradWeight: [
    {
      inputs: [f32(2, 3, 7, 8), f32(2, 4, 4, 6)],
      params: { ...CONV, kernelSize: [3, 3] },
      type: f32(4, 3, 3, 3),
      flops: CONV_FLOPS,
    },
    {
      inputs: [f32(1, 4, 5, 5), f32(1, 6, 3, 3)],
      params: { ...GROUPED, kernelSize: [3, 3] },
      type: f32(6, 2, 3, 3),
      flops: GROUPED_FLOPS,
    },
  ],
  // [2, 3, 7, 8] with a 3 × 2 window: H' = ⌊(7 + 2 - 2 - 1) / 2⌋ + 1 = 4, W' = ⌊(8 - 1 - 1) / 2⌋ + 1 = 4
  maxPool2d: [{ inputs: [f32(2, 3, 7, 8)], params: POOL, type: f32(2, 3, 4, 4), flops: 96 * 6 }],
  maxPool2dGrad: [
    {
      inputs: [f32(2, 3, 7, 8), f32(2, 3, 4, 4)],
      params: POOL,
      type: f32(2, 3, 7, 8),
      flops: 96 * 6,
    },
  ],
  avgPool2d: [{ inputs: [f32(2, 3, 7, 8)], params: POOL, type: f32(2, 3, 4, 4), flops: 96 * 6 }],
  avgPool2dGrad: [
    {
      inputs: [f32(2, 3, 4, 4)],
      params: { ...POOL, inputSize: [7, 8] },
      type: f32(2, 3, 7, 8),
      flops: 2 * 3 * 7 * 8 * 6,
    },
  ],
  sum: [
    { inputs: [f32(2, 3, 4)], params: SUM, type: f32(3), flops: 24 },
    { inputs: [i32(2, 3)], params: { axes: [], keepDims: false }, type: i32(2, 3), flops: 6 },
    { inputs: [f32(0, 3)], params: { axes: [0], keepDims: true }, type: f32(1, 3), flops: 0 },
  ],
  mean: [{ inputs: [f32(2, 3, 4)], params: { ...SUM, count: 64 }, type: f32(3), flops: 24 }],
  variance: [
    {
      inputs: [f32(2, 3, 4)],
      params: { axes: [1], keepDims: true, count: 2 },
      type: f32(2, 1, 4),
      flops: 96,
    },
  ],
  reduceMax: [{ inputs: [f32(2, 3, 4)], params: SUM, type: f32(3), flops: 24 }],
  reduceMin: [{ inputs: [i32(2, 3, 4)], params: SUM, type: i32(3), flops: 24 }],
  argMax: [{ inputs: [f32(2, 3, 4)], params: { axis: 1 }, type: i32(2, 4), flops: 24 }],
  cumsum: [
    {
      inputs: [f32(2, 3)],
      params: { axis: 1, exclusive: true, reverse: false },
      type: f32(2, 3),
      flops: 6,
    },
  ],
  softmax: [{ inputs: [f32(2, 3)], params: { axis: 1 }, type: f32(2, 3), flops: 48 }],
  logSoftmax: [{ inputs: [f32(2, 3)], params: { axis: 0 }, type: f32(2, 3), flops: 48 }],
  normalize: [{ inputs: [f32(2, 3)], params: NORM, type: f32(2, 3), flops: 48 }],
  normalizeGrad: [{ inputs: [f32(2, 3), f32(2, 3)], params: NORM, type: f32(2, 3), flops: 84 }],
  reshape: [{ inputs: [f32(2, 3)], params: { shape: [3, 1, 2] }, type: f32(3, 1, 2), flops: 0 }],
  transpose: [
    { inputs: [bool(2, 3, 4)], params: { perm: [2, 0, 1] }, type: bool(4, 2, 3), flops: 0 },
  ],
  broadcastTo: [
    { inputs: [f32(3, 1)], params: { shape: [2, 3, 4] }, type: f32(2, 3, 4), flops: 0 },
  ],
  concat: [
    { inputs: [f32(2, 1), f32(2, 0), f32(2, 5)], params: { axis: 1 }, type: f32(2, 6), flops: 0 },
  ],
  // 1, 3 of five; 0 … 4 of four by 3: 0 and 3
  slice: [
    {
      inputs: [f32(5, 4)],
      params: { begin: [1, 0], end: [5, 4], step: [2, 3] },
      type: f32(2, 2),
      flops: 0,
    },
  ],
  pad: [
    {
      inputs: [i32(2, 3)],
      params: { before: [1, 0], after: [0, 2], value: -1 },
      type: i32(3, 5),
      flops: 0,
    },
  ],
  tile: [{ inputs: [f32(2, 3)], params: { repeats: [3, 1] }, type: f32(6, 3), flops: 0 }],
  reverse: [{ inputs: [f32(2, 3)], params: { axes: [0, 1] }, type: f32(2, 3), flops: 0 }],
  gather: [
    { inputs: [f32(7, 5), i32(2, 3)], params: { axis: 0 }, type: f32(2, 3, 5), flops: 0 },
    { inputs: [f32(7, 5), i32()], params: { axis: 1 }, type: f32(7), flops: 0 },
  ],
  scatterAdd: [
    { inputs: [i32(2, 3), f32(2, 3, 5)], params: { size: 7 }, type: f32(7, 5), flops: 30 },
  ],
  oneHot: [{ inputs: [i32(2, 3)], params: { depth: 10 }, type: f32(2, 3, 10), flops: 60 }],
};
