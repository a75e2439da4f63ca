/**
 * @file The forward cases that every backend must pass, op by op: types, broadcasts, ranks, edges, emptiness. Cases of
 * the gradient tables (gradCases.ts) are run forward as well and are not repeated here.
 */
import type { DType, OpParams, Shape } from '@ravenlab/protocol';
import type { ForwardCase, ForwardCases, ForwardInput } from './caseInputs.js';
import { NONE, bools, f, floatsOf, ints, within } from './caseInputs.js';
import { LAYOUT_CASES } from './layoutCases.js';

/** Ops without parameters share their cases. */
type Unary = 'neg';

const on = (name: string, ...inputs: ForwardInput[]): ForwardCase<Unary> => ({
  name,
  inputs,
  params: NONE,
});

const unary = (low: number, high: number): ForwardCase<Unary>[] => [
  on('a vector', within(low, high, 37)),
  on('a scalar', within(low, high)),
  on('rank 5', within(low, high, 2, 1, 3, 2, 2)),
  on('no elements', f(0, 3)),
];

const numbers = (low: number, high: number): ForwardCase<Unary>[] => [
  ...unary(low, high),
  on('int32', ints([6], -7, -1, 0, 1, 5, 100_000)),
];

const binary = (low: number, high: number): ForwardCase<Unary>[] => [
  on('same shapes', within(low, high, 3, 5), within(low, high, 3, 5)),
  on('both broadcast', within(low, high, 3, 1, 4), within(low, high, 2, 1)),
  on('scalars', within(low, high), within(low, high)),
  on('no elements', f(0, 3), f(1, 3)),
];

const INTS = [ints([2, 3], -7, 0, 3, 3, 100_000, -2), ints([3], -7, 3, 2)] as const;
const arithmetic = (low: number, high: number): ForwardCase<Unary>[] => [
  ...binary(low, high),
  on('int32', ...INTS),
];

const FLOAT_PAIR = [
  floatsOf([2, 3], 1, 2, 3, -1, 0, -0),
  floatsOf([2, 3], 1, 3, 2, -1, -0, 1),
] as const;
const comparison = [
  on('float32 with ties', ...FLOAT_PAIR),
  on('int32', ...INTS),
  on('broadcast', f(3, 1), f(4)),
  on('scalars', f(), f()),
  on('no elements', f(0), f(1)),
];
const equality = [
  ...comparison,
  on('bool', bools([4], 0, 0, 1, 1), bools([4], 0, 1, 0, 1)),
  on('infinities', floatsOf([3], Infinity, -Infinity, 1), floatsOf([3], Infinity, Infinity, 1)),
];
const logic = [
  on('all pairs', bools([4], 0, 0, 1, 1), bools([4], 0, 1, 0, 1)),
  on('broadcast', bools([2, 1], 0, 1), bools([3], 0, 1, 1)),
  on('no elements', bools([0, 2]), bools([2], 1, 0)),
];

const reduce = (dtype: DType): ForwardCase<'sum'>[] => {
  const x = (...shape: number[]): ForwardInput =>
    dtype === 'int32'
      ? ints(
          shape,
          ...Array.from({ length: 24 }, (_, i) => ((i * 7) % 11) - 5).slice(
            0,
            shape.reduce((a, b) => a * b, 1),
          ),
        )
      : { dtype, shape };
  return [
    { name: `${dtype}, middle axis`, inputs: [x(2, 3, 4)], params: { axes: [1], keepDims: false } },
    {
      name: `${dtype}, outer axes`,
      inputs: [x(2, 3, 4)],
      params: { axes: [0, 2], keepDims: true },
    },
    { name: `${dtype}, everything`, inputs: [x(2, 3)], params: { axes: [0, 1], keepDims: false } },
    { name: `${dtype}, a scalar`, inputs: [x()], params: { axes: [], keepDims: false } },
    { name: `${dtype}, extent 1`, inputs: [x(3, 1)], params: { axes: [1], keepDims: false } },
    {
      name: `${dtype}, no elements stay`,
      inputs: [x(0, 3)],
      params: { axes: [1], keepDims: false },
    },
  ];
};
const overNothing: ForwardCase<'sum'> = {
  name: 'over no elements',
  inputs: [f(2, 0)],
  params: { axes: [1], keepDims: false },
};
const long: ForwardCase<'sum'> = {
  name: 'a long axis',
  inputs: [within(0, 1, 3, 50_000)],
  params: { axes: [1], keepDims: false },
};
const counted = (cases: readonly ForwardCase<'sum'>[], count: number): ForwardCase<'mean'>[] =>
  cases.map((c) => ({ ...c, params: { ...c.params, count } }));

const softmaxes = [
  { name: 'last axis', inputs: [within(-5, 5, 4, 10)], params: { axis: 1 } },
  { name: 'middle axis', inputs: [within(-5, 5, 2, 3, 4)], params: { axis: 1 } },
  {
    name: 'large values',
    inputs: [floatsOf([2, 3], 1000, 999, 0, -1000, -1001, -2000)],
    params: { axis: 1 },
  },
  { name: 'extent 1', inputs: [f(3, 1)], params: { axis: 1 } },
];

const conv = (
  name: string,
  x: Shape,
  w: Shape,
  params: Partial<OpParams['conv2d']> = {},
): ForwardCase<'conv2d'> => ({
  name,
  inputs: [f(...x), f(...w)],
  params: { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1, ...params },
});
const convs = [
  conv('many channels', [2, 16, 7, 7], [16, 16, 3, 3], { padding: [1, 1, 1, 1] }),
  conv('pointwise', [2, 12, 5, 5], [9, 12, 1, 1]),
  conv('pointwise, strided', [2, 8, 5, 6], [8, 8, 1, 1], { stride: [2, 2] }),
  conv('many channels, uneven padding', [1, 8, 6, 5], [8, 8, 3, 2], { padding: [2, 0, 1, 1] }),
  conv('many channels, dilated', [1, 8, 9, 9], [8, 8, 3, 3], { dilation: [2, 3] }),
  conv('padding beyond the kernel', [1, 8, 3, 3], [8, 8, 2, 2], { padding: [2, 2, 2, 2] }),
  conv('a rest larger than the padding', [1, 2, 8, 8], [2, 2, 3, 3], {
    stride: [4, 4],
    padding: [0, 0, 1, 0],
  }),
  conv('grouped, strided and dilated', [2, 6, 9, 9], [9, 2, 3, 3], {
    groups: 3,
    stride: [2, 2],
    dilation: [2, 2],
    padding: [1, 2, 2, 1],
  }),
  // Blocks are of 8 or 16 channels; the gradient by the weight has blocks of images, too.
  conv('whole blocks', [16, 16, 7, 8], [16, 16, 3, 3], { padding: [1, 1, 1, 1] }),
  conv('whole blocks, strided, uneven padding', [16, 16, 16, 24], [32, 16, 3, 2], {
    stride: [2, 3],
    padding: [1, 0, 0, 2],
  }),
  conv('whole blocks, strided, with a rest', [16, 16, 24, 16], [16, 16, 2, 3], { stride: [3, 2] }),
  conv('whole blocks, dilated', [16, 16, 9, 9], [16, 16, 3, 3], {
    dilation: [2, 3],
    padding: [2, 3, 2, 3],
  }),
  conv('several blocks of images and of channels', [32, 32, 7, 7], [48, 32, 3, 3], {
    padding: [1, 1, 1, 1],
  }),
  conv('kernel as large as the image', [2, 3, 4, 4], [5, 3, 4, 4]),
  conv('no images', [0, 2, 4, 4], [3, 2, 3, 3]),
];

function outputSize(c: ForwardCase<'conv2d'>): number[] {
  const [x, w] = c.inputs.map((input) => input.shape);
  const { stride, padding, dilation } = c.params;
  return [0, 1].map((axis) => {
    const span = dilation[axis]! * (w![axis + 2]! - 1) + 1;
    const room = x![axis + 2]! + padding[axis]! + padding[axis + 2]! - span;
    return Math.floor(room / stride[axis]!) + 1;
  });
}
const dyOf = (c: ForwardCase<'conv2d'>): ForwardInput =>
  f(c.inputs[0]!.shape[0]!, c.inputs[1]!.shape[0]!, ...outputSize(c));

const pool = (
  name: string,
  x: ForwardInput,
  params: Partial<OpParams['maxPool2d']> = {},
): ForwardCase<'maxPool2d'> => ({
  name,
  inputs: [x],
  params: { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0], ...params },
});
const pools = [
  pool('disjoint', f(2, 3, 6, 6)),
  pool('a rest', f(1, 2, 5, 7)),
  pool('overlapping, padded', f(2, 2, 7, 6), { kernel: [3, 3], padding: [1, 1, 1, 1] }),
  pool('gaps between windows', f(1, 2, 9, 9), { stride: [3, 4] }),
  pool('whole image', f(2, 3, 4, 4), { kernel: [4, 4], stride: [4, 4] }),
  pool('negative values only', within(-9, -5, 1, 2, 5, 5), {
    kernel: [3, 3],
    padding: [1, 1, 1, 1],
  }),
  pool('all equal', floatsOf([1, 1, 4, 4], ...new Array<number>(16).fill(3)), {
    kernel: [3, 3],
    stride: [1, 1],
  }),
  pool('uneven padding', f(1, 2, 4, 5), { kernel: [2, 3], stride: [1, 2], padding: [1, 0, 0, 1] }),
  pool('no images', f(0, 2, 4, 4)),
];
const pooledSize = (c: ForwardCase<'maxPool2d'>): number[] =>
  [0, 1].map((axis) => {
    const { kernel, stride, padding } = c.params;
    const room =
      c.inputs[0]!.shape[axis + 2]! + padding[axis]! + padding[axis + 2]! - kernel[axis]!;
    return Math.floor(room / stride[axis]!) + 1;
  });
const poolDy = (c: ForwardCase<'maxPool2d'>): ForwardInput =>
  f(...c.inputs[0]!.shape.slice(0, 2), ...pooledSize(c));

const matMul = (
  name: string,
  a: Shape,
  b: Shape,
  transposeA = false,
  transposeB = false,
): ForwardCase<'matMul'> => ({
  name,
  inputs: [f(...a), f(...b)],
  params: { transposeA, transposeB },
});

const normalizations = [
  { name: 'layer norm', axes: [2], shape: [2, 3, 16] },
  { name: 'batch norm', axes: [0, 2, 3], shape: [4, 3, 5, 5] },
  { name: 'instance norm', axes: [2, 3], shape: [2, 3, 4, 4] },
  { name: 'everything', axes: [0, 1], shape: [3, 4] },
].map(({ name, axes, shape }) => ({
  name,
  inputs: [f(...shape)],
  params: { axes, epsilon: 1e-5 },
}));
/** Here a variance as E[x²] - E[x]² is wrong by a percent. The mean in float32 is known to 4e-6. */
const farFromZero = {
  name: 'far from zero',
  inputs: [within(99, 101, 3, 64)],
  params: { axes: [1], epsilon: 1e-5 },
  absolute: 2e-5,
};

export const FORWARD_CASES: ForwardCases = {
  full: [
    { name: 'float32', inputs: [], params: { shape: [3, 40], dtype: 'float32', value: 0.1 } },
    { name: 'int32', inputs: [], params: { shape: [2], dtype: 'int32', value: -2_147_483_648 } },
    { name: 'bool', inputs: [], params: { shape: [5, 5], dtype: 'bool', value: 1 } },
    { name: 'a scalar', inputs: [], params: { shape: [], dtype: 'float32', value: 1e-30 } },
    { name: 'no elements', inputs: [], params: { shape: [0, 2], dtype: 'float32', value: 1 } },
  ],
  iota: [
    { name: 'a vector', inputs: [], params: { shape: [40], axis: 0 } },
    { name: 'outer axis', inputs: [], params: { shape: [3, 2, 2], axis: 0 } },
    { name: 'inner axis', inputs: [], params: { shape: [3, 4], axis: 1 } },
    { name: 'no elements', inputs: [], params: { shape: [0, 2], axis: 1 } },
  ],
  randomUniform: [
    { name: 'a matrix', inputs: [ints([4], 7, -3, 11, 2)], params: { shape: [3, 7], stream: 5 } },
    { name: 'no elements', inputs: [ints([4], 7, -3, 11, 2)], params: { shape: [0], stream: 5 } },
  ],
  cast: [
    {
      name: 'float32 to int32 truncates',
      inputs: [floatsOf([6], -2.9, -0.5, 0, 0.99, 1.5, 1e6)],
      params: { dtype: 'int32' },
    },
    {
      name: 'float32 to bool',
      inputs: [floatsOf([5], 0, -0, 0.2, -3, 1e-30)],
      params: { dtype: 'bool' },
    },
    {
      name: 'int32 to float32',
      inputs: [ints([3], -5, 0, 16_777_217)],
      params: { dtype: 'float32' },
    },
    { name: 'int32 to bool', inputs: [ints([3], -5, 0, 256)], params: { dtype: 'bool' } },
    { name: 'bool to float32', inputs: [bools([2, 2], 0, 1, 1, 0)], params: { dtype: 'float32' } },
    { name: 'bool to int32', inputs: [bools([2], 0, 1)], params: { dtype: 'int32' } },
    { name: 'no elements', inputs: [f(0)], params: { dtype: 'int32' } },
  ],
  where: [
    on('float32, all broadcast', bools([2, 1, 1], 1, 0), f(3, 1), f(4)),
    on('int32', bools([3], 1, 0, 1), ints([3], 1, 2, 3), ints([], 9)),
    on('bool', bools([4], 1, 1, 0, 0), bools([4], 1, 0, 1, 0), bools([4], 0, 1, 0, 1)),
    on(
      'the other side is infinite',
      bools([2], 1, 0),
      floatsOf([2], 1, Infinity),
      floatsOf([2], Infinity, 2),
    ),
    on('no elements', bools([0]), f(0), f(1)),
  ],
  clip: [
    { name: 'both sides', inputs: [within(-3, 3, 20)], params: { min: -1, max: 0.5 } },
    { name: 'below only', inputs: [within(-3, 3, 20)], params: { min: -1, max: Infinity } },
    { name: 'above only', inputs: [within(-3, 3, 20)], params: { min: -Infinity, max: 1 } },
    { name: 'not at all', inputs: [f(3)], params: { min: -Infinity, max: Infinity } },
  ],
  neg: numbers(-3, 3),
  abs: numbers(-3, 3),
  sign: [...numbers(-3, 3), on('zeros', floatsOf([3], 0, -0, 1e-30))],
  floor: [...unary(-3, 3), on('whole numbers', floatsOf([4], -2, -0.5, 0, 7))],
  roundFloat16: [
    ...unary(-3, 3),
    on('beyond the ends', floatsOf([6], 65_519, 65_520, -65_520, 1e30, Infinity, -Infinity)),
    on('ties', floatsOf([5], 1 + 2 ** -11, 1 + 3 * 2 ** -11, 2049, 2051, -2049)),
    on('next to powers of two', floatsOf([4], 2 - 2 ** -23, 1 - 2 ** -24, 4096, 2 ** -14)),
    on('small ones', floatsOf([5], 2 ** -24, 2 ** -25, 3 * 2 ** -25, 2 ** -14 - 2 ** -26, 1e-30)),
  ],
  finiteOr: [
    { name: 'finite', inputs: [within(-3, 3, 20)], params: { value: 0 } },
    {
      name: 'what is not finite',
      inputs: [floatsOf([6], 1, NaN, -Infinity, 3.4e38, Infinity, -0)],
      params: { value: 7 },
    },
    { name: 'no elements', inputs: [f(0)], params: { value: 1 } },
  ],
  exp: unary(-8, 8),
  log: unary(0.01, 50),
  sqrt: unary(0, 50),
  rsqrt: unary(0.01, 50),
  sin: unary(-10, 10),
  cos: unary(-10, 10),
  tanh: unary(-6, 6),
  sigmoid: unary(-15, 15),
  erf: unary(-4, 4),
  relu: [...unary(-3, 3), on('at zero', floatsOf([3], 0, -0, 2))],
  logicalNot: [
    on('both', bools([2], 0, 1)),
    on('a scalar', bools([], 1)),
    on('no elements', bools([0])),
  ],
  add: arithmetic(-2, 2),
  sub: arithmetic(-2, 2),
  mul: [...binary(-2, 2), on('int32', ints([3], -7, 0, 300), ints([3], 3, 4, 300))],
  div: binary(0.5, 2),
  pow: [
    ...binary(0.2, 2),
    on('negative base, whole exponent', floatsOf([3], -2, -1.5, -2), floatsOf([3], 3, 2, 0)),
  ],
  maximum: arithmetic(-2, 2),
  minimum: arithmetic(-2, 2),
  equal: equality,
  notEqual: equality,
  less: comparison,
  lessEqual: comparison,
  greater: comparison,
  greaterEqual: comparison,
  logicalAnd: logic,
  logicalOr: logic,

  matMul: [
    matMul('large enough for every kernel', [33, 70], [70, 45]),
    matMul('large, both transposed', [70, 33], [45, 70], true, true),
    matMul('a row times a matrix', [1, 17], [17, 5]),
    matMul('a matrix times a column', [9, 17], [17, 1]),
    matMul('an outer product', [5, 1], [1, 7]),
    matMul('attention scores', [2, 3, 5, 8], [2, 3, 5, 8], false, true),
    matMul('attention, transposed a', [2, 3, 5, 5], [2, 3, 5, 8], true),
    matMul('both broadcast', [2, 1, 3, 4], [1, 5, 4, 2]),
    matMul('so deep that a device may divide its sums', [12, 2_048], [2_048, 16]),
    matMul('so deep, transposed b', [12, 2_048], [16, 2_048], false, true),
    matMul('so deep, transposed a, odd', [2_049, 13], [2_049, 11], true),
    matMul('nothing to sum', [2, 0], [0, 3]),
    matMul('no rows', [0, 3], [3, 2]),
  ],
  conv2d: convs,
  conv2dGradInput: convs.map((c) => ({
    name: c.name,
    inputs: [dyOf(c), c.inputs[1]!],
    params: { ...c.params, inputSize: c.inputs[0]!.shape.slice(2) },
  })),
  conv2dGradWeight: convs.map((c) => ({
    name: c.name,
    inputs: [c.inputs[0]!, dyOf(c)],
    params: { ...c.params, kernelSize: c.inputs[1]!.shape.slice(2) },
  })),
  maxPool2d: pools,
  maxPool2dGrad: pools.map((c) => ({ ...c, inputs: [c.inputs[0]!, poolDy(c)] })),
  avgPool2d: pools,
  avgPool2dGrad: pools.map((c) => ({
    name: c.name,
    inputs: [poolDy(c)],
    params: { ...c.params, inputSize: c.inputs[0]!.shape.slice(2) },
  })),

  sum: [...reduce('float32'), ...reduce('int32'), overNothing, long],
  mean: counted([...reduce('float32'), overNothing, long], 12),
  variance: [
    ...counted([...reduce('float32'), overNothing, long], 12),
    {
      name: 'far from zero',
      inputs: [within(99, 101, 64)],
      params: { axes: [0], keepDims: false, count: 64 },
    },
  ],
  reduceMax: [...reduce('float32'), ...reduce('int32')],
  reduceMin: [...reduce('float32'), ...reduce('int32')],
  argMax: [
    { name: 'last axis', inputs: [f(4, 10)], params: { axis: 1 } },
    { name: 'first axis', inputs: [f(5, 3)], params: { axis: 0 } },
    { name: 'ties', inputs: [floatsOf([2, 4], 1, 3, 3, 0, 2, 2, 2, 2)], params: { axis: 1 } },
    { name: 'int32', inputs: [ints([2, 3], 1, 5, 5, -3, -1, -2)], params: { axis: 1 } },
    { name: 'negative values', inputs: [floatsOf([3], -3, -1, -2)], params: { axis: 0 } },
  ],
  cumsum: [
    {
      name: 'int32',
      inputs: [ints([2, 3], 1, 2, 3, 4, 5, 6)],
      params: { axis: 1, exclusive: false, reverse: false },
    },
    {
      name: 'middle axis',
      inputs: [f(2, 5, 3)],
      params: { axis: 1, exclusive: true, reverse: true },
    },
    {
      name: 'no elements',
      inputs: [f(0, 2)],
      params: { axis: 1, exclusive: false, reverse: false },
    },
  ],
  softmax: softmaxes,
  logSoftmax: softmaxes,
  normalize: [...normalizations, farFromZero],
  normalizeGrad: [...normalizations, farFromZero].map((c) => ({
    ...c,
    inputs: [c.inputs[0]!, f(...c.inputs[0]!.shape)],
  })),

  ...LAYOUT_CASES,
};
