/** @file Inputs on which each gradient row is compared with central differences. No case may sit on a kink. */
import type { OpName, OpParams, Shape } from '@ravenlab/protocol';
import { floats } from './oracle.js';

/** A float input by shape (values drawn from -1 … 1 unless `range`), by values, or an int or bool input. */
export interface CaseInput {
  readonly shape: Shape;
  readonly values?: readonly number[];
  readonly range?: readonly [number, number];
  readonly dtype?: 'int32' | 'bool';
}

export interface CaseOf<P> {
  readonly name: string;
  readonly inputs: readonly CaseInput[];
  readonly params: P;
  /** False where no second derivative exists: at a tie, at 0ᵇ, or because the table says so. */
  readonly twice?: false;
}

export type GradCase<N extends OpName> = CaseOf<OpParams[N]>;
export type GradCases = { readonly [N in OpName]: readonly GradCase<N>[] };

const f = (...shape: number[]): CaseInput => ({ shape });
const positive = (...shape: number[]): CaseInput => ({ shape, range: [0.3, 2] });
const ints = (shape: Shape, ...values: number[]): CaseInput => ({ shape, values, dtype: 'int32' });
const bools = (shape: Shape, ...values: number[]): CaseInput => ({ shape, values, dtype: 'bool' });
const given = (shape: Shape, ...values: number[]): CaseInput => ({ shape, values });

const NONE = {} as const;
const noSecond = { twice: false } as const;
const one = (input: CaseInput): CaseOf<typeof NONE>[] => [
  { name: 'elementwise', inputs: [input], params: NONE },
];
const two = (make: (...shape: number[]) => CaseInput): CaseOf<typeof NONE>[] => [
  { name: 'same shapes', inputs: [make(2, 3), make(2, 3)], params: NONE },
  { name: 'a broadcasts a leading axis', inputs: [make(3), make(2, 3)], params: NONE },
  { name: 'b broadcasts an inner axis', inputs: [make(2, 3), make(2, 1)], params: NONE },
  { name: 'both broadcast', inputs: [make(2, 1, 3), make(4, 1)], params: NONE },
  { name: 'a scalar', inputs: [make(), make(2, 2)], params: NONE },
];

const conv = (
  name: string,
  x: Shape,
  w: Shape,
  params: Partial<OpParams['conv2d']> = {},
): GradCase<'conv2d'> => ({
  name,
  inputs: [{ shape: x }, { shape: w }],
  params: { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1, ...params },
});

const convs = [
  conv('plain', [2, 3, 5, 4], [4, 3, 3, 2]),
  conv('stride that divides', [1, 2, 6, 6], [3, 2, 2, 2], { stride: [2, 2] }),
  conv('stride that leaves a rest', [1, 2, 6, 7], [2, 2, 3, 2], { stride: [2, 3] }),
  conv('uneven padding', [1, 1, 4, 3], [2, 1, 3, 3], { padding: [1, 0, 2, 1] }),
  conv('dilation', [1, 2, 6, 6], [2, 2, 2, 3], { dilation: [2, 2], padding: [1, 1, 1, 1] }),
  conv('groups', [2, 4, 4, 4], [6, 2, 3, 3], { groups: 2, padding: [1, 1, 1, 1] }),
  conv('depthwise, strided', [1, 3, 5, 5], [3, 1, 3, 3], { groups: 3, stride: [2, 2] }),
];

/** Sizes of a convolution's result, for the cases of its gradient ops. */
function convResult(c: GradCase<'conv2d'>): number[] {
  const [x = [], w = []] = c.inputs.map((input) => input.shape);
  const { stride, padding, dilation } = c.params;
  const size = (axis: 0 | 1): number => {
    const span = dilation[axis]! * (w[axis + 2]! - 1);
    return (
      Math.floor((x[axis + 2]! + padding[axis]! + padding[axis + 2]! - span - 1) / stride[axis]!) +
      1
    );
  };
  return [x[0]!, w[0]!, size(0), size(1)];
}

const pool = (
  name: string,
  x: CaseInput,
  params: Partial<OpParams['maxPool2d']> = {},
): GradCase<'maxPool2d'> => ({
  name,
  inputs: [x],
  params: { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0], ...params },
});

const distinct = (shape: Shape, seed: number): CaseInput => {
  // Far enough apart that a central difference never changes which one is largest.
  const order = [...floats(shape, seed).entries()].sort((a, b) => a[1] - b[1]);
  const values = new Array<number>(order.length);
  order.forEach(([index], rank) => (values[index] = rank * 0.1 - 1));
  return { shape, values };
};

const pools = [
  pool('disjoint windows', distinct([2, 2, 4, 4], 11)),
  pool('overlapping windows with padding', distinct([1, 2, 5, 5], 12), {
    kernel: [3, 3],
    stride: [2, 2],
    padding: [1, 1, 1, 1],
  }),
  pool('negative values only', {
    shape: [1, 1, 4, 4],
    values: Array.from({ length: 16 }, (_, i) => -5 - ((i * 7) % 16)),
  }),
  pool('uneven padding', distinct([1, 1, 3, 4], 13), { padding: [1, 0, 0, 1], stride: [1, 2] }),
];

const poolResult = (c: GradCase<'maxPool2d'>): number[] => {
  const { shape } = c.inputs[0]!;
  const { kernel, stride, padding } = c.params;
  const size = (axis: 0 | 1): number =>
    Math.floor(
      (shape[axis + 2]! + padding[axis]! + padding[axis + 2]! - kernel[axis]!) / stride[axis]!,
    ) + 1;
  return [shape[0]!, shape[1]!, size(0), size(1)];
};

const matMul = (
  name: string,
  a: Shape,
  b: Shape,
  transposeA = false,
  transposeB = false,
): GradCase<'matMul'> => ({
  name,
  inputs: [{ shape: a }, { shape: b }],
  params: { transposeA, transposeB },
});

const reduce = { keepDims: false };
const reductions = [
  { name: 'one axis', inputs: [f(2, 3)], params: { axes: [1], ...reduce } },
  { name: 'all axes', inputs: [f(2, 3)], params: { axes: [0, 1], ...reduce } },
  { name: 'kept axes', inputs: [f(2, 3, 2)], params: { axes: [0, 2], keepDims: true } },
  { name: 'no axis', inputs: [f(2, 2)], params: { axes: [], ...reduce } },
];
const counted = reductions.map((c) => ({ ...c, params: { ...c.params, count: 7 } }));
const extremes = [
  ...reductions.map((c, i) => ({ ...c, inputs: [distinct(c.inputs[0]!.shape, 20 + i)] })),
  {
    name: 'a tie',
    inputs: [given([1, 3], 2, 2, -1)],
    params: { axes: [1], ...reduce },
    ...noSecond,
  },
  {
    name: 'a tie at the bottom',
    inputs: [given([3], -2, 5, -2)],
    params: { axes: [0], ...reduce },
    ...noSecond,
  },
];
const alongAxis = [
  { name: 'last axis', inputs: [f(2, 4)], params: { axis: 1 } },
  { name: 'first axis', inputs: [f(3, 2)], params: { axis: 0 } },
];
const normalizations = [
  { name: 'last axis', inputs: [f(3, 4)], params: { axes: [1], epsilon: 1e-5 } },
  { name: 'batch norm axes', inputs: [f(2, 3, 2, 2)], params: { axes: [0, 2, 3], epsilon: 1e-3 } },
];

export const GRAD_CASES: GradCases = {
  full: [],
  iota: [],
  randomUniform: [],
  floor: [],
  roundFloat16: [],
  finiteOr: [{ name: 'finite', inputs: [f(2, 3)], params: { value: 0 } }],
  sign: [],
  logicalNot: [],
  equal: [],
  notEqual: [],
  less: [],
  lessEqual: [],
  greater: [],
  greaterEqual: [],
  logicalAnd: [],
  logicalOr: [],
  argMax: [],
  oneHot: [],

  cast: [{ name: 'to the same dtype', inputs: [f(3)], params: { dtype: 'float32' } }],
  where: [
    { name: 'same shapes', inputs: [bools([4], 1, 0, 0, 1), f(4), f(4)], params: NONE },
    { name: 'broadcast', inputs: [bools([2, 1], 1, 0), f(3), f(1, 1)], params: NONE },
  ],
  clip: [
    { name: 'inside and outside', inputs: [f(6)], params: { min: -0.4, max: 0.3 } },
    { name: 'one-sided', inputs: [f(6)], params: { min: 0, max: Infinity } },
  ],
  neg: one(f(3)),
  abs: one(f(5)),
  exp: one(f(4)),
  log: one(positive(4)),
  sqrt: one(positive(4)),
  rsqrt: one(positive(4)),
  sin: one(f(4)),
  cos: one(f(4)),
  tanh: one(f(4)),
  sigmoid: one({ shape: [4], range: [-4, 4] }),
  erf: one({ shape: [5], range: [-2, 2] }),
  relu: one(f(6)),
  add: two(f),
  sub: two(f),
  mul: two(f),
  div: two(positive),
  pow: [
    ...two(positive),
    {
      name: 'a zero base',
      inputs: [given([2], 0, 1.5), given([2], 3, 2)],
      params: NONE,
      ...noSecond,
    },
  ],
  maximum: [
    ...two(f),
    {
      name: 'a tie',
      inputs: [given([3], 1, 2, 3), given([3], 1, 5, 0)],
      params: NONE,
      ...noSecond,
    },
  ],
  minimum: [
    ...two(f),
    {
      name: 'a tie',
      inputs: [given([3], 1, 2, 3), given([3], 1, 5, 0)],
      params: NONE,
      ...noSecond,
    },
  ],

  matMul: [
    matMul('2-D', [2, 3], [3, 4]),
    matMul('transposed a', [3, 2], [3, 4], true),
    matMul('transposed b', [2, 3], [4, 3], false, true),
    matMul('both transposed', [3, 2], [4, 3], true, true),
    matMul('batched', [2, 2, 3], [2, 3, 2]),
    matMul('batched, both transposed', [2, 3, 2], [2, 4, 3], true, true),
    matMul('batched, broadcast', [2, 1, 2, 3], [3, 3, 2]),
    matMul('batched a, shared weight', [2, 2, 3], [3, 4]),
    matMul('batched a, shared transposed weight', [2, 2, 2, 3], [4, 3], false, true),
    matMul('batched transposed a, shared weight', [2, 3, 2], [3, 4], true),
    matMul('2-D a, batched b', [2, 3], [2, 3, 2]),
    matMul('extents of 1', [1, 1], [1, 3]),
  ],
  conv2d: convs,
  conv2dGradInput: convs.map((c) => ({
    name: c.name,
    inputs: [{ shape: convResult(c) }, c.inputs[1]!],
    params: { ...c.params, inputSize: c.inputs[0]!.shape.slice(2) },
  })),
  conv2dGradWeight: convs.map((c) => ({
    name: c.name,
    inputs: [c.inputs[0]!, { shape: convResult(c) }],
    params: { ...c.params, kernelSize: c.inputs[1]!.shape.slice(2) },
  })),
  maxPool2d: pools.map((c): GradCase<'maxPool2d'> => ({ ...c, twice: false })),
  maxPool2dGrad: [],
  avgPool2d: pools,
  avgPool2dGrad: pools.map((c) => ({
    name: c.name,
    inputs: [{ shape: poolResult(c) }],
    params: { ...c.params, inputSize: c.inputs[0]!.shape.slice(2) },
  })),

  sum: reductions,
  mean: counted,
  variance: counted,
  reduceMax: extremes,
  reduceMin: extremes,
  cumsum: [
    { name: 'plain', inputs: [f(2, 4)], params: { axis: 1, exclusive: false, reverse: false } },
    { name: 'exclusive', inputs: [f(3, 2)], params: { axis: 0, exclusive: true, reverse: false } },
    { name: 'reverse', inputs: [f(4)], params: { axis: 0, exclusive: false, reverse: true } },
    { name: 'both', inputs: [f(4)], params: { axis: 0, exclusive: true, reverse: true } },
  ],
  softmax: alongAxis,
  logSoftmax: alongAxis,
  normalize: normalizations.map((c): GradCase<'normalize'> => ({ ...c, twice: false })),
  normalizeGrad: [],

  reshape: [{ name: 'regrouped', inputs: [f(2, 6)], params: { shape: [3, 4] } }],
  transpose: [{ name: 'a cycle', inputs: [f(2, 3, 4)], params: { perm: [2, 0, 1] } }],
  broadcastTo: [
    { name: 'new axis', inputs: [f(3)], params: { shape: [2, 3] } },
    { name: 'inner axis', inputs: [f(2, 1, 2)], params: { shape: [2, 3, 2] } },
    { name: 'a scalar', inputs: [f()], params: { shape: [2, 2] } },
  ],
  concat: [
    { name: 'three inputs', inputs: [f(2, 1), f(2, 3), f(2, 2)], params: { axis: 1 } },
    { name: 'one input', inputs: [f(2, 2)], params: { axis: 0 } },
  ],
  slice: [
    {
      name: 'a block',
      inputs: [f(4, 5)],
      params: { begin: [1, 0], end: [3, 4], step: [1, 1] },
    },
    {
      name: 'steps that leave a rest',
      inputs: [f(7, 5)],
      params: { begin: [1, 0], end: [7, 5], step: [3, 2] },
    },
    { name: 'a step past the end', inputs: [f(5)], params: { begin: [1], end: [5], step: [3] } },
  ],
  pad: [
    {
      name: 'both sides',
      inputs: [f(2, 3)],
      params: { before: [1, 0], after: [0, 2], value: 5 },
    },
  ],
  tile: [
    { name: 'two axes', inputs: [f(2, 3)], params: { repeats: [3, 2] } },
    { name: 'one axis', inputs: [f(2, 1, 2)], params: { repeats: [1, 4, 1] } },
  ],
  reverse: [{ name: 'two axes', inputs: [f(2, 3, 2)], params: { axes: [0, 2] } }],
  gather: [
    { name: 'rows, repeated', inputs: [f(4, 2), ints([3], 1, 1, 3)], params: { axis: 0 } },
    { name: 'inner axis', inputs: [f(2, 4, 3), ints([2], 3, 0)], params: { axis: 1 } },
    { name: 'last axis', inputs: [f(2, 3), ints([2, 2], 0, 2, 2, 0)], params: { axis: 1 } },
    { name: 'matrix of indices', inputs: [f(3, 2), ints([2, 2], 0, 2, 2, 2)], params: { axis: 0 } },
    { name: 'outside', inputs: [f(3, 2), ints([2], 5, -1)], params: { axis: 0 } },
    { name: 'one index', inputs: [f(3, 2), ints([], 1)], params: { axis: 0 } },
  ],
  scatterAdd: [
    { name: 'repeated', inputs: [ints([3], 0, 2, 0), f(3, 2)], params: { size: 3 } },
    {
      name: 'matrix of indices',
      inputs: [ints([2, 2], 0, 1, 1, 9), f(2, 2, 2)],
      params: { size: 2 },
    },
  ],
};

/** Inputs that have a gradient op of their own but cannot be drawn at random; tested by name. */
export const TESTED_BY_NAME: readonly OpName[] = ['roundFloat16', 'maxPool2dGrad', 'normalizeGrad'];
