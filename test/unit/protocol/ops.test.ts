/** @file The op table: shape rules and FLOPs by hand for every op, and refusals that name op and shapes. */
import type { AnyParams, OpName, TensorType } from '@ravenlab/protocol';
import { inferOp, isOpName, OP_NAMES, opCost, ShapeError } from '@ravenlab/protocol';
import type { OpSample } from './opSamples.js';
import { bool, f32, i32, OP_SAMPLES } from './opSamples.js';

const samples = Object.entries(OP_SAMPLES).flatMap(([op, list]) =>
  (list as readonly OpSample[]).map(
    (sample, i) => [`${op} ${String(i)}`, op as OpName, sample] as const,
  ),
);

test.each(samples)('%s: type and cost are those found by hand', (_title, op, sample) => {
  const params = sample.params as never;
  expect(inferOp(op, sample.inputs, params)).toEqual(sample.type);
  const cost = opCost(op, sample.inputs, sample.type, params);
  expect(cost.flops).toBe(sample.flops);
  const bytes = (type: TensorType) =>
    type.shape.reduce((a, b) => a * b, 1) * (type.dtype === 'bool' ? 1 : 4);
  expect(cost.bytes).toBe([...sample.inputs, sample.type].reduce((sum, t) => sum + bytes(t), 0));
});

test.each(samples)(
  '%s: one operand too few or too many is refused by name',
  (_title, op, sample) => {
    const extra = [...sample.inputs, f32(1)];
    const params = sample.params as never;
    if (op !== 'concat') {
      expect(() => inferOp(op, extra, params)).toThrow(new RegExp(`^${op}: takes \\d inputs, got`));
    }
    if (sample.inputs.length === 0) return;
    const few = op === 'concat' ? [] : sample.inputs.slice(1);
    expect(() => inferOp(op, few, params)).toThrow(new RegExp(`^${op}: takes`));
  },
);

test('the wire codes of ops are as published', () => {
  // Appending is compatible. Any other change of this list needs a new IR_VERSION: old hashes would name other programs.
  expect(OP_NAMES.slice(0, 8)).toEqual([
    'full',
    'iota',
    'randomUniform',
    'cast',
    'where',
    'clip',
    'neg',
    'abs',
  ]);
  expect(OP_NAMES.indexOf('matMul')).toBe(36);
  expect(OP_NAMES.indexOf('normalizeGrad')).toBe(54);
  expect(OP_NAMES.indexOf('oneHot')).toBe(65);
  expect(new Set(OP_NAMES).size).toBe(OP_NAMES.length);
});

test('inherited names are not ops', () => {
  expect(isOpName('constructor')).toBe(false);
  expect(isOpName('matMul')).toBe(true);
});

describe('bad operands are refused with op, shapes and remedy:', () => {
  const conv = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };
  const pool = { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] };
  const plain = { transposeA: false, transposeB: false };
  const slice = (begin: number, end: number, step: number) => ({
    begin: [begin],
    end: [end],
    step: [step],
  });
  const x4 = f32(2, 3, 8, 8);
  const cases: readonly (readonly [string, OpName, readonly TensorType[], AnyParams, RegExp])[] = [
    [
      'inner sizes',
      'matMul',
      [f32(32, 64), f32(128, 10)],
      plain,
      /matMul: inner sizes differ: \[32, 64\] × \[128, 10\]/,
    ],
    ['a vector', 'matMul', [f32(3), f32(3, 2)], plain, /rank ≥ 2, got \[3\] and \[3, 2\]/],
    [
      'batches',
      'matMul',
      [f32(2, 3, 4), f32(5, 4, 3)],
      plain,
      /matMul: shapes \[2\] and \[5\] do not broadcast/,
    ],
    [
      'int32 factors',
      'matMul',
      [i32(3, 3), f32(3, 3)],
      plain,
      /expected float32, got int32 \[3, 3\]; cast/,
    ],
    [
      'shapes',
      'add',
      [f32(2, 3), f32(4, 3)],
      {},
      /add: shapes \[2, 3\] and \[4, 3\] do not broadcast: axis -2 has 2 and 4/,
    ],
    ['dtypes', 'add', [f32(2), i32(2)], {}, /add: dtypes differ: float32 and int32; cast/],
    ['bool sum', 'add', [bool(2), bool(2)], {}, /add: expected float32 or int32, got bool/],
    ['int division', 'div', [i32(2), i32(2)], {}, /div: expected float32/],
    ['condition', 'where', [f32(2), f32(2), f32(2)], {}, /where: expected bool/],
    ['clip bounds', 'clip', [f32(2)], { min: 2, max: 1 }, /clip: min 2 is not below max 1/],
    ['NaN bound', 'clip', [f32(2)], { min: NaN, max: 1 }, /clip: min NaN/],
    [
      'fraction as int',
      'full',
      [],
      { shape: [1], dtype: 'int32', value: 0.5 },
      /full: int32 cannot hold 0.5/,
    ],
    [
      'too large for int',
      'full',
      [],
      { shape: [1], dtype: 'int32', value: 2 ** 31 },
      /int32 cannot hold 2147483648/,
    ],
    ['two as bool', 'full', [], { shape: [1], dtype: 'bool', value: 2 }, /bool cannot hold 2/],
    [
      'NaN constant',
      'full',
      [],
      { shape: [1], dtype: 'float32', value: NaN },
      /float32 cannot hold NaN/,
    ],
    [
      'negative extent',
      'full',
      [],
      { shape: [-1], dtype: 'float32', value: 0 },
      /full: shape \[-1\]/,
    ],
    ['huge extent', 'full', [], { shape: [2 ** 31], dtype: 'float32', value: 0 }, /full: shape/],
    ['axis of iota', 'iota', [], { shape: [2], axis: 1 }, /iota: axes \[1\].*rank 1/],
    ['half axis', 'softmax', [f32(2, 2)], { axis: 0.5 }, /softmax: axes \[0.5\]/],
    [
      'key',
      'randomUniform',
      [i32(2)],
      { shape: [1], stream: 0 },
      /key must be int32\[4\], got \[2\]/,
    ],
    ['stream', 'randomUniform', [i32(4)], { shape: [1], stream: 0.5 }, /stream must be integers/],
    [
      'channels',
      'conv2d',
      [x4, f32(4, 2, 3, 3)],
      conv,
      /input \[2, 3, 8, 8\] and weight \[4, 2, 3, 3\] do not fit with groups 1/,
    ],
    [
      'groups',
      'conv2d',
      [f32(2, 4, 8, 8), f32(3, 2, 3, 3)],
      { ...conv, groups: 2 },
      /divisible by groups/,
    ],
    [
      'half groups',
      'conv2d',
      [f32(2, 3, 8, 8), f32(3, 2, 3, 3)],
      { ...conv, groups: 1.5 },
      /groups must be integers/,
    ],
    [
      'no groups',
      'conv2d',
      [x4, f32(4, 3, 3, 3)],
      { ...conv, groups: 0 },
      /groups must be integers ≥ 1/,
    ],
    [
      'window',
      'conv2d',
      [f32(1, 1, 2, 2), f32(1, 1, 3, 3)],
      conv,
      /3×3 window .* does not fit an input of 2×2/,
    ],
    [
      'half stride',
      'conv2d',
      [x4, f32(4, 3, 3, 3)],
      { ...conv, stride: [1.5, 1] },
      /stride must be integers ≥ 1/,
    ],
    [
      'zero stride',
      'conv2d',
      [x4, f32(4, 3, 3, 3)],
      { ...conv, stride: [0, 1] },
      /stride must be integers ≥ 1/,
    ],
    [
      'three paddings',
      'conv2d',
      [x4, f32(4, 3, 3, 3)],
      { ...conv, padding: [0, 0, 0] },
      /\[top, left, bottom, right\]/,
    ],
    [
      'negative padding',
      'conv2d',
      [x4, f32(4, 3, 3, 3)],
      { ...conv, padding: [0, -1, 0, 0] },
      /padding must be integers ≥ 0/,
    ],
    [
      'rank',
      'conv2d',
      [f32(3, 8, 8), f32(4, 3, 3, 3)],
      conv,
      /input \[B, C, H, W\] must have rank 4, got \[3, 8, 8\]/,
    ],
    [
      'gradient size',
      'conv2dGradInput',
      [f32(2, 4, 6, 6), f32(4, 3, 3, 3)],
      { ...conv, inputSize: [9, 8] },
      /has shape \[2, 4, 6, 6\], the forward op gives \[2, 4, 7, 6\]/,
    ],
    [
      'channels that groups do not divide',
      'conv2dGradWeight',
      [f32(2, 3, 8, 8), f32(2, 2, 6, 6)],
      { ...conv, groups: 2, kernelSize: [3, 3] },
      /do not fit with groups 2/,
    ],
    [
      'wide padding',
      'maxPool2d',
      [x4],
      { ...pool, padding: [2, 0, 0, 0] },
      /padding \[2, 0, 0, 0\] is more than half of kernel \[2, 2\]/,
    ],
    [
      'gradient dtype',
      'maxPool2dGrad',
      [x4, i32(2, 3, 4, 4)],
      pool,
      /maxPool2dGrad: expected float32, got int32/,
    ],
    [
      'gradient dtype',
      'avgPool2dGrad',
      [i32(2, 3, 4, 4)],
      { ...pool, inputSize: [8, 8] },
      /avgPool2dGrad: expected float32/,
    ],
    [
      'gradient rank',
      'avgPool2dGrad',
      [f32(3, 4, 4)],
      { ...pool, inputSize: [8, 8] },
      /must have rank 4/,
    ],
    [
      'gradient dtype',
      'normalizeGrad',
      [f32(2, 3), bool(2, 3)],
      { axes: [1], epsilon: 1 },
      /normalizeGrad: expected float32/,
    ],
    ['epsilon', 'normalize', [f32(2, 3)], { axes: [1], epsilon: 0 }, /epsilon must be above 0/],
    [
      'unsorted axes',
      'sum',
      [f32(2, 3)],
      { axes: [1, 0], keepDims: false },
      /axes \[1, 0\] must be sorted/,
    ],
    ['axis twice', 'sum', [f32(2, 3)], { axes: [1, 1], keepDims: false }, /must be sorted, unique/],
    [
      'missing count',
      'mean',
      [f32(2, 3)],
      { axes: [1], keepDims: false },
      /mean: count must be integers ≥ 1/,
    ],
    [
      'zero count',
      'mean',
      [f32(2, 3)],
      { axes: [1], keepDims: false, count: 0 },
      /count must be integers ≥ 1/,
    ],
    [
      'empty maximum',
      'reduceMax',
      [f32(2, 0)],
      { axes: [1], keepDims: false },
      /no elements to choose from/,
    ],
    ['empty maximum', 'argMax', [f32(2, 0)], { axis: 1 }, /no elements to choose from/],
    ['elements', 'reshape', [f32(2, 3)], { shape: [7] }, /\[2, 3\] has 6 elements, \[7\] has 7/],
    ['permutation', 'transpose', [f32(2, 3)], { perm: [0, 0] }, /\[0, 0\] is not a permutation/],
    ['half axis', 'transpose', [f32(2, 3)], { perm: [0, 0.5] }, /is not a permutation/],
    ['target', 'broadcastTo', [f32(2, 3)], { shape: [3] }, /\[2, 3\] does not broadcast to \[3\]/],
    [
      'concat',
      'concat',
      [f32(2, 3), f32(3, 3)],
      { axis: 1 },
      /shapes \[2, 3\] and \[3, 3\] differ outside axis 1/,
    ],
    ['slice beyond', 'slice', [f32(4)], slice(0, 5, 1), /slice: 0:5:1 is outside axis 0 of \[4\]/],
    [
      'negative begin',
      'slice',
      [f32(4)],
      slice(-1, 3, 1),
      /slice: begin, end and step must be integers ≥ 0/,
    ],
    ['zero step', 'slice', [f32(4)], slice(0, 3, 0), /step ≥ 1/],
    [
      'negative pad',
      'pad',
      [f32(4)],
      { before: [-1], after: [0], value: 0 },
      /pad: before and after must be integers ≥ 0/,
    ],
    [
      'pad value',
      'pad',
      [i32(4)],
      { before: [1], after: [0], value: 0.5 },
      /pad: int32 cannot hold 0.5/,
    ],
    ['tile', 'tile', [f32(4)], { repeats: [0] }, /repeats must be integers ≥ 1/],
    ['float indices', 'gather', [f32(4), f32(2)], { axis: 0 }, /gather: expected int32/],
    [
      'updates',
      'scatterAdd',
      [i32(2), f32(3, 4)],
      { size: 5 },
      /updates \[3, 4\] must start with the shape of indices \[2\]/,
    ],
    ['depth', 'oneHot', [i32(2)], { depth: 0 }, /depth must be integers ≥ 1/],
  ];
  test.each(cases)('%s of %s', (_what, op, inputs, params, message) => {
    const infer = () => inferOp(op, inputs, params as never);
    expect(infer).toThrow(ShapeError);
    expect(infer).toThrow(message);
    expect(infer).toThrow(new RegExp(`^${op}: `));
  });
});
