/**
 * @file tfjs calls that do not work alike on every backend, made to: what tfjs's WebGPU kernels (4.22) refuse or get wrong.
 * Their shaders index no more than four axes where they pad or slice, do not transpose integers, and keep a reversed
 * running sum of one length for all lengths. The integers that they compute with pass through float32: exact to 2^24.
 * Where threads add to one place, they add in whichever order they come, with other bits every time.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { DType } from '@ravenlab/protocol';

/** Axes that a WebGPU kernel can index. */
const MAX_RANK = 4;

export const isWebgpu = (): boolean => tf.getBackend() === 'webgpu';

/** Terms from which tfjs divides a product's sums, if it is not among others, has more results than these, and tiles no more. */
const SPLIT_DEPTH = 2_000;
const SPLIT_RESULTS = 128;
const SPLIT_TILES = 32;
/** Rows and columns of a tile. */
const TILE = 32;
/** tfjs's number for the product whose threads each make whole sums, and for the choice being its own. */
const WHOLE_SUMS = 2;
const ANY_PRODUCT = -1;

/**
 * Products of [b, m, k] and [b, k, n], either one transposed. tfjs divides the sums of deep products with few results: their
 * bits differ from run to run, and with b transposed and n a multiple of 4 they are wrong (matmul_splitK_webgpu).
 */
export function matMul(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  const [batch = 1, first = 1, second = 1] = a.shape;
  const [rows, depth] = transposeA ? [second, first] : [first, second];
  const columns = b.shape[transposeB ? 1 : 2] ?? 1;
  const tiles = Math.ceil(rows / TILE) * Math.ceil(columns / TILE);
  const isFew = rows * columns > SPLIT_RESULTS && tiles <= SPLIT_TILES;
  const isSplit = batch === 1 && depth >= SPLIT_DEPTH && isFew;
  if (!isSplit || !isWebgpu()) return tf.matMul(a, b, transposeA, transposeB);
  tf.env().set('WEBGPU_MATMUL_PROGRAM_TYPE', WHOLE_SUMS);
  try {
    return tf.matMul(a, b, transposeA, transposeB);
  } finally {
    tf.env().set('WEBGPU_MATMUL_PROGRAM_TYPE', ANY_PRODUCT);
  }
}

export function transpose(x: Tensor, perm: readonly number[]): Tensor {
  if (!isWebgpu() || x.dtype === 'float32') return tf.transpose(x, [...perm]);
  return tf.cast(tf.transpose(cast(x, 'float32'), [...perm]), x.dtype);
}

/** A WebGPU tensor that is cast from integers to floats keeps its integers, which not every kernel reads as floats. */
export function cast(x: Tensor, dtype: DType): Tensor {
  const changed = tf.cast(x, dtype);
  const isMade = isWebgpu() && dtype === 'float32' && x.dtype !== 'float32';
  return isMade ? tf.add(changed, 0) : changed;
}

type Reducer = (x: Tensor, axes: number[], keepDims: boolean) => Tensor;

/** `run` over `axes`, at least one. */
export function reduceAxes(
  run: Reducer,
  x: Tensor,
  axes: readonly number[],
  keepDims: boolean,
): Tensor {
  if (!isWebgpu() || x.dtype === 'float32') return run(x, [...axes], keepDims);
  // Kernels transpose what they reduce until its axes are last; so that they need not, it is done before.
  const kept = [...x.shape.keys()].filter((axis) => !axes.includes(axis));
  const last = axes.map((_, index) => kept.length + index);
  const reduced = run(transpose(x, [...kept, ...axes]), last, false);
  const shape = x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
  return keepDims ? tf.reshape(reduced, shape) : reduced;
}

export function cumsum(x: Tensor, axis: number, isExclusive: boolean, isReverse: boolean): Tensor {
  if (!isReverse || !isWebgpu()) return tf.cumsum(x, axis, isExclusive, isReverse);
  return tf.reverse(tf.cumsum(tf.reverse(x, axis), axis, isExclusive), axis);
}

/** Axis by axis, each seen as the middle one of three, where there are too many to index. */
function byAxis(x: Tensor, run: (line: Tensor, axis: number) => Tensor | null): Tensor {
  let value = x;
  for (let axis = 0; axis < x.rank; axis++) {
    const size = (extents: readonly number[]): number => extents.reduce((a, b) => a * b, 1);
    const [before, after] = [value.shape.slice(0, axis), value.shape.slice(axis + 1)];
    const line = tf.reshape(value, [size(before), value.shape[axis] ?? 1, size(after)]);
    const changed = run(line, axis);
    if (changed !== null) value = tf.reshape(changed, [...before, changed.shape[1] ?? 1, ...after]);
  }
  return value;
}

export function pad(
  x: Tensor,
  paddings: readonly (readonly [number, number])[],
  value: number,
): Tensor {
  if (!isWebgpu() || x.rank <= MAX_RANK) {
    return tf.pad(
      x,
      paddings.map(([before, after]): [number, number] => [before, after]),
      value,
    );
  }
  return byAxis(x, (line, axis) => {
    const [before, after] = paddings[axis] ?? [0, 0];
    if (before + after === 0) return null;
    return tf.pad(
      line,
      [
        [0, 0],
        [before, after],
        [0, 0],
      ],
      value,
    );
  });
}

interface Steps {
  readonly begin: readonly number[];
  readonly end: readonly number[];
  readonly step: readonly number[];
}

export function stridedSlice(x: Tensor, { begin, end, step }: Steps): Tensor {
  if (!isWebgpu() || x.rank <= MAX_RANK) {
    return tf.stridedSlice(x, [...begin], [...end], [...step]);
  }
  return byAxis(x, (line, axis) => {
    const [rows = 1, extent = 1, columns = 1] = line.shape;
    const [from = 0, to = extent, by = 1] = [begin[axis], end[axis], step[axis]];
    if (from === 0 && to === extent && by === 1) return null;
    return tf.stridedSlice(line, [0, from, 0], [rows, to, columns], [1, by, 1]);
  });
}
