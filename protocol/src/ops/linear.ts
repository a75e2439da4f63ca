/** @file Op rows: matrix product, convolution, pooling, with the ops their gradients need. */
import { broadcastShapes, formatShape, sizeOf } from '../shape.js';
import type { Shape, TensorType } from '../shape.js';
import type { OpRow, Types } from './row.js';
import { at, fail, outputSize, requireDType, requireInts, requireRank } from './row.js';
import { windowOutput } from './window.js';

const matMul: OpRow<{ readonly transposeA: 'bool'; readonly transposeB: 'bool' }> = {
  arity: 2,
  params: { transposeA: 'bool', transposeB: 'bool' },
  /** [..., M, K] × [..., K, N] → [..., M, N]; leading axes broadcast; a transpose swaps the last two axes. */
  infer(inputs, { transposeA, transposeB }) {
    const a = at(inputs, 0);
    const b = at(inputs, 1);
    requireDType('matMul', a, 'float32');
    requireDType('matMul', b, 'float32');
    if (a.shape.length < 2 || b.shape.length < 2) {
      fail(
        'matMul',
        `both inputs need rank ≥ 2, got ${formatShape(a.shape)} and ${formatShape(b.shape)}`,
      );
    }
    const [m, k] = lastTwo(a.shape, transposeA);
    const [kb, n] = lastTwo(b.shape, transposeB);
    if (k !== kb) {
      fail(
        'matMul',
        `inner sizes differ: ${formatShape(a.shape)}${transposeA ? 'ᵀ' : ''} × ${formatShape(b.shape)}${transposeB ? 'ᵀ' : ''} ` +
          `(${String(k)} and ${String(kb)}); transpose or reshape one of them`,
      );
    }
    const batch = broadcastShapes('matMul', a.shape.slice(0, -2), b.shape.slice(0, -2));
    return { dtype: 'float32', shape: [...batch, m, n] };
  },
  flops(inputs, output, { transposeA }) {
    const [, k] = lastTwo(at(inputs, 0).shape, transposeA);
    return 2 * k * sizeOf(output.shape);
  },
};

function lastTwo(shape: Shape, transposed: boolean): [number, number] {
  const rows = shape[shape.length - 2] ?? 1;
  const columns = shape[shape.length - 1] ?? 1;
  return transposed ? [columns, rows] : [rows, columns];
}

const CONV_PARAMS = {
  stride: 'ints',
  padding: 'ints',
  dilation: 'ints',
  groups: 'int',
} as const;

/** Shape of convolving x `[B, C, H, W]` with w `[O, C/groups, kh, kw]`; checks every size. */
function convOutput(
  op: string,
  x: Shape,
  w: Shape,
  params: {
    readonly stride: readonly number[];
    readonly padding: readonly number[];
    readonly dilation: readonly number[];
    readonly groups: number;
  },
): number[] {
  const [batch = 0, channels = 0, ...spatial] = x;
  const [outChannels = 0, groupChannels = 0, ...kernel] = w;
  const { groups } = params;
  requireInts(op, 'groups', [groups], 1);
  if (channels !== groupChannels * groups || outChannels % groups !== 0) {
    fail(
      op,
      `input ${formatShape(x)} and weight ${formatShape(w)} do not fit with groups ${String(groups)}: expected ` +
        `input channels = weight.shape[1] · groups and weight.shape[0] divisible by groups`,
    );
  }
  const [outH, outW] = windowOutput(op, spatial, { ...params, kernel });
  return [batch, outChannels, outH, outW];
}

/** Multiply-adds of a convolution are those of its forward form, whichever operand is being solved for. */
function convFlops(output: Shape, weight: Shape): number {
  return 2 * sizeOf(output) * sizeOf(weight.slice(1));
}

function requireFloat(op: string, inputs: Types): void {
  for (const input of inputs) requireDType(op, input, 'float32');
}

function requireSize(op: string, name: string, size: readonly number[]): void {
  if (size.length !== 2) fail(op, `${name} must be two integers, got ${formatShape(size)}`);
  requireInts(op, name, size, 1);
}

/** x `[B, C, H, W]`, w `[O, C/groups, kh, kw]` → `[B, O, H', W']`; padding [top, left, bottom, right]. */
const conv2d: OpRow<typeof CONV_PARAMS> = {
  arity: 2,
  params: CONV_PARAMS,
  infer(inputs, params) {
    const x = at(inputs, 0);
    const w = at(inputs, 1);
    requireFloat('conv2d', inputs);
    requireRank('conv2d', 'input [B, C, H, W]', x, 4);
    requireRank('conv2d', 'weight [O, C/groups, kh, kw]', w, 4);
    return { dtype: 'float32', shape: convOutput('conv2d', x.shape, w.shape, params) };
  },
  flops: (inputs, output) => convFlops(output.shape, at(inputs, 1).shape),
};

/** dL/dx of conv2d: (dy `[B, O, H', W']`, w) → `[B, C, ...inputSize]`. */
const conv2dGradInput: OpRow<typeof CONV_PARAMS & { readonly inputSize: 'ints' }> = {
  arity: 2,
  params: { ...CONV_PARAMS, inputSize: 'ints' },
  infer(inputs, params) {
    const op = 'conv2dGradInput';
    const dy = at(inputs, 0);
    const w = at(inputs, 1);
    requireFloat(op, inputs);
    requireRank(op, 'output gradient', dy, 4);
    requireRank(op, 'weight', w, 4);
    requireSize(op, 'inputSize', params.inputSize);
    const shape = [dy.shape[0] ?? 0, (w.shape[1] ?? 0) * params.groups, ...params.inputSize];
    requireForward(op, convOutput(op, shape, w.shape, params), dy);
    return { dtype: 'float32', shape };
  },
  flops: (inputs) => convFlops(at(inputs, 0).shape, at(inputs, 1).shape),
};

/** dL/dw of conv2d: (x, dy) → `[O, C/groups, ...kernelSize]`. */
const conv2dGradWeight: OpRow<typeof CONV_PARAMS & { readonly kernelSize: 'ints' }> = {
  arity: 2,
  params: { ...CONV_PARAMS, kernelSize: 'ints' },
  infer(inputs, params) {
    const op = 'conv2dGradWeight';
    const x = at(inputs, 0);
    const dy = at(inputs, 1);
    requireFloat(op, inputs);
    requireRank(op, 'input', x, 4);
    requireRank(op, 'output gradient', dy, 4);
    requireSize(op, 'kernelSize', params.kernelSize);
    // An input that the groups do not divide is refused below, as it would be in the forward op.
    const channels = Math.floor((x.shape[1] ?? 0) / params.groups);
    const shape = [dy.shape[1] ?? 0, channels, ...params.kernelSize];
    requireForward(op, convOutput(op, x.shape, shape, params), dy);
    return { dtype: 'float32', shape };
  },
  flops: (inputs, output) => convFlops(at(inputs, 1).shape, output.shape),
};

function requireForward(op: string, expected: Shape, dy: TensorType): void {
  if (formatShape(expected) !== formatShape(dy.shape)) {
    fail(
      op,
      `output gradient has shape ${formatShape(dy.shape)}, the forward op gives ${formatShape(expected)}`,
    );
  }
}

const POOL_PARAMS = { kernel: 'ints', stride: 'ints', padding: 'ints' } as const;
const NO_DILATION = [1, 1] as const;

function poolOutput(
  op: string,
  x: TensorType,
  params: {
    readonly kernel: readonly number[];
    readonly stride: readonly number[];
    readonly padding: readonly number[];
  },
): TensorType {
  requireDType(op, x, 'float32');
  requireRank(op, 'input [B, C, H, W]', x, 4);
  // A window wholly inside the padding would have no element to take the maximum of.
  if (params.padding.some((pad, side) => pad * 2 > (params.kernel[side % 2] ?? 0))) {
    fail(
      op,
      `padding [${params.padding.join(', ')}] is more than half of kernel [${params.kernel.join(', ')}]`,
    );
  }
  const out = windowOutput(op, x.shape.slice(2), { ...params, dilation: NO_DILATION });
  return { dtype: 'float32', shape: [...x.shape.slice(0, 2), ...out] };
}

function pool(op: string): OpRow<typeof POOL_PARAMS> {
  return {
    arity: 1,
    params: POOL_PARAMS,
    infer: (inputs, params) => poolOutput(op, at(inputs, 0), params),
    flops: (_inputs, output, { kernel }) => sizeOf(output.shape) * sizeOf(kernel),
  };
}

/** dL/dx of maxPool2d: (x, dy) → x.shape; among equal maxima of a window the first in row-major order takes all. */
const maxPool2dGrad: OpRow<typeof POOL_PARAMS> = {
  arity: 2,
  params: POOL_PARAMS,
  infer(inputs, params) {
    const x = at(inputs, 0);
    requireFloat('maxPool2dGrad', inputs);
    requireForward('maxPool2dGrad', poolOutput('maxPool2dGrad', x, params).shape, at(inputs, 1));
    return x;
  },
  flops: (inputs, _output, { kernel }) => sizeOf(at(inputs, 1).shape) * sizeOf(kernel),
};

/** dL/dx of avgPool2d: dy → `[B, C, ...inputSize]`. */
const avgPool2dGrad: OpRow<typeof POOL_PARAMS & { readonly inputSize: 'ints' }> = {
  arity: 1,
  params: { ...POOL_PARAMS, inputSize: 'ints' },
  infer(inputs, params) {
    const op = 'avgPool2dGrad';
    const dy = at(inputs, 0);
    requireFloat(op, inputs);
    requireRank(op, 'output gradient', dy, 4);
    requireSize(op, 'inputSize', params.inputSize);
    const x: TensorType = {
      dtype: 'float32',
      shape: [...dy.shape.slice(0, 2), ...params.inputSize],
    };
    requireForward(op, poolOutput(op, x, params).shape, dy);
    return x;
  },
  flops: (inputs, output, { kernel }) => outputSize(inputs, output) * sizeOf(kernel),
};

export const LINEAR_OPS = {
  matMul,
  conv2d,
  conv2dGradInput,
  conv2dGradWeight,
  maxPool2d: pool('maxPool2d'),
  maxPool2dGrad,
  /** Mean over the full kernel area, padding counted as zeros (PyTorch `count_include_pad=True`). */
  avgPool2d: pool('avgPool2d'),
  avgPool2dGrad,
} as const;
