/** @file Oracle rows: matrix product, convolution and pooling, straight from their definitions. */
import type { Shape } from '@ravenlab/protocol';
import { sizeOf, stridesOf } from '@ravenlab/protocol';
import type { Value } from './arrays.js';
import { broadcastStrides, flatten, forEachIndex, valueAt } from './arrays.js';
import type { OracleRows } from './oracleRow.js';
import { arg } from './oracleRow.js';

interface ConvParams {
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
}

/**
 * Every multiply-add of the convolution of `x` `[B, C, H, W]` with `w` `[O, C/groups, kh, kw]` into `y`: positions in
 * the three flat arrays. The forward op and both gradients sum over the same triples.
 */
function forEachTap(
  x: Shape,
  w: Shape,
  y: Shape,
  params: ConvParams,
  visit: (xAt: number, wAt: number, yAt: number) => void,
): void {
  const [xs, ws] = [stridesOf(x), stridesOf(w)];
  const perGroup = (w[0] ?? 0) / params.groups;
  forEachIndex(y, ([b = 0, o = 0, i = 0, j = 0], yAt) => {
    const firstChannel = Math.floor(o / perGroup) * (w[1] ?? 0);
    forEachIndex(w.slice(1), ([c = 0, ki = 0, kj = 0]) => {
      const row = along(params, 0, i, ki);
      const column = along(params, 1, j, kj);
      if (row < 0 || row >= (x[2] ?? 0) || column < 0 || column >= (x[3] ?? 0)) return;
      visit(flatten([b, firstChannel + c, row, column], xs), flatten([o, c, ki, kj], ws), yAt);
    });
  });
}

/** Input coordinate that output `position` reads through kernel tap `tap`. */
function along(params: ConvParams, axis: 0 | 1, position: number, tap: number): number {
  const { stride, padding, dilation } = params;
  return position * (stride[axis] ?? 1) - (padding[axis] ?? 0) + tap * (dilation[axis] ?? 1);
}

interface PoolParams {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
}

/** For every output element of a pool, the input positions in its window, row-major; padding is left out. */
function forEachWindow(
  x: Shape,
  y: Shape,
  params: PoolParams,
  visit: (inputs: readonly number[], yAt: number) => void,
): void {
  const xs = stridesOf(x);
  const window = { ...params, dilation: [1, 1], groups: 1 };
  forEachIndex(y, ([b = 0, c = 0, i = 0, j = 0], yAt) => {
    const inputs: number[] = [];
    forEachIndex(params.kernel, ([ki = 0, kj = 0]) => {
      const row = along(window, 0, i, ki);
      const column = along(window, 1, j, kj);
      if (row < 0 || row >= (x[2] ?? 0) || column < 0 || column >= (x[3] ?? 0)) return;
      inputs.push(flatten([b, c, row, column], xs));
    });
    visit(inputs, yAt);
  });
}

/** Position of the first maximum among `positions`. */
function firstMaximum(x: Value, positions: readonly number[]): number {
  return positions.reduce((best, position) =>
    valueAt(x.data, position) > valueAt(x.data, best) ? position : best,
  );
}

function accumulate(data: Float64Array, index: number, value: number): void {
  data[index] = (data[index] ?? 0) + value;
}

function matrixStrides(shape: Shape, rank: number, transposed: boolean): number[] {
  const strides = broadcastStrides(shape, rank);
  // The matrix axes never broadcast: an extent of 1 there is read at index 0 only.
  if (transposed) strides.push(strides.pop() ?? 0, strides.pop() ?? 0);
  return strides;
}

export const LINEAR_ORACLE = {
  matMul: (inputs, { transposeA, transposeB }, out) => {
    const [a, b] = [arg(inputs, 0), arg(inputs, 1)];
    const rank = out.shape.length;
    const as = matrixStrides(a.type.shape, rank, transposeA);
    const bs = matrixStrides(b.type.shape, rank, transposeB);
    const inner = a.type.shape[a.type.shape.length - (transposeA ? 2 : 1)] ?? 0;
    const data = new Float64Array(sizeOf(out.shape));
    forEachIndex(out.shape, (index, flat) => {
      const row = [...index.slice(0, -1), 0];
      const column = [...index.slice(0, -2), 0, index[rank - 1] ?? 0];
      const [atA, atB] = [flatten(row, as), flatten(column, bs)];
      const [stepA, stepB] = [as[rank - 1] ?? 0, bs[rank - 2] ?? 0];
      let sum = 0;
      for (let k = 0; k < inner; k++) {
        sum += valueAt(a.data, atA + k * stepA) * valueAt(b.data, atB + k * stepB);
      }
      data[flat] = sum;
    });
    return data;
  },
  conv2d: (inputs, params, out) => {
    const [x, w] = [arg(inputs, 0), arg(inputs, 1)];
    const data = new Float64Array(sizeOf(out.shape));
    forEachTap(x.type.shape, w.type.shape, out.shape, params, (xAt, wAt, yAt) => {
      accumulate(data, yAt, valueAt(x.data, xAt) * valueAt(w.data, wAt));
    });
    return data;
  },
  conv2dGradInput: (inputs, params, out) => {
    const [dy, w] = [arg(inputs, 0), arg(inputs, 1)];
    const data = new Float64Array(sizeOf(out.shape));
    forEachTap(out.shape, w.type.shape, dy.type.shape, params, (xAt, wAt, yAt) => {
      accumulate(data, xAt, valueAt(dy.data, yAt) * valueAt(w.data, wAt));
    });
    return data;
  },
  conv2dGradWeight: (inputs, params, out) => {
    const [x, dy] = [arg(inputs, 0), arg(inputs, 1)];
    const data = new Float64Array(sizeOf(out.shape));
    forEachTap(x.type.shape, out.shape, dy.type.shape, params, (xAt, wAt, yAt) => {
      accumulate(data, wAt, valueAt(x.data, xAt) * valueAt(dy.data, yAt));
    });
    return data;
  },
  maxPool2d: (inputs, params, out) => {
    const x = arg(inputs, 0);
    const data = new Float64Array(sizeOf(out.shape));
    forEachWindow(x.type.shape, out.shape, params, (window, yAt) => {
      data[yAt] = valueAt(x.data, firstMaximum(x, window));
    });
    return data;
  },
  maxPool2dGrad: (inputs, params, out) => {
    const [x, dy] = [arg(inputs, 0), arg(inputs, 1)];
    const data = new Float64Array(sizeOf(out.shape));
    forEachWindow(x.type.shape, dy.type.shape, params, (window, yAt) => {
      accumulate(data, firstMaximum(x, window), valueAt(dy.data, yAt));
    });
    return data;
  },
  avgPool2d: (inputs, params, out) => {
    const x = arg(inputs, 0);
    const area = sizeOf(params.kernel);
    const data = new Float64Array(sizeOf(out.shape));
    forEachWindow(x.type.shape, out.shape, params, (window, yAt) => {
      data[yAt] = window.reduce((sum, position) => sum + valueAt(x.data, position), 0) / area;
    });
    return data;
  },
  avgPool2dGrad: (inputs, params, out) => {
    const dy = arg(inputs, 0);
    const area = sizeOf(params.kernel);
    const data = new Float64Array(sizeOf(out.shape));
    forEachWindow(out.shape, dy.type.shape, params, (window, yAt) => {
      for (const position of window) accumulate(data, position, valueAt(dy.data, yAt) / area);
    });
    return data;
  },
} satisfies Partial<OracleRows>;
