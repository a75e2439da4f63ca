/** @file tfjs rows: reductions, softmax, normalisation and running sums. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { EMIT_REDUCTION } from '../onnx/emitReduction.js';
import { cumsum, reduceAxes } from './tfKernels.js';
import type { TfEmit, TfRows } from './tfRow.js';
import { operand } from './tfRow.js';

interface Reduction {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

type Reducer = (x: Tensor, axes: number[], keepDims: boolean) => Tensor;

/** tfjs reads "no axes" as "no change" for some reductions and as "all" for others. */
function reduce(run: Reducer, x: Tensor, { axes, keepDims }: Reduction): Tensor {
  return axes.length === 0 ? tf.clone(x) : reduceAxes(run, x, axes, keepDims);
}

function along<N extends 'sum' | 'reduceMax' | 'reduceMin'>(run: Reducer): TfEmit<N> {
  return (inputs, { params }) => reduce(run, operand(inputs, 0), params);
}

function centered(x: Tensor, axes: readonly number[]): Tensor {
  return tf.sub(x, reduce(tf.mean, x, { axes, keepDims: true }));
}

function normalized(
  x: Tensor,
  { axes, epsilon }: { readonly axes: readonly number[]; readonly epsilon: number },
): { readonly xHat: Tensor; readonly r: Tensor } {
  const deviation = centered(x, axes);
  const spread = reduce(tf.mean, tf.square(deviation), { axes, keepDims: true });
  const r = tf.rsqrt(tf.add(spread, epsilon));
  return { xHat: tf.mul(deviation, r), r };
}

/** Moves `axis` last, where tfjs has its softmax, and back. */
function lastAxis(run: (x: Tensor) => Tensor, x: Tensor, axis: number): Tensor {
  const perm = [...x.shape.keys()];
  [perm[axis], perm[x.rank - 1]] = [x.rank - 1, axis];
  return tf.transpose(run(tf.transpose(x, perm)), perm);
}

export const TF_REDUCTION: TfRows<keyof typeof EMIT_REDUCTION> = {
  sum: along(tf.sum),
  mean: (inputs, { params }) => tf.div(reduce(tf.sum, operand(inputs, 0), params), params.count),
  variance: (inputs, { params }) => {
    const squares = tf.square(centered(operand(inputs, 0), params.axes));
    const total =
      params.axes.length === 0 ? tf.zerosLike(squares) : reduce(tf.sum, squares, params);
    return tf.div(total, params.count);
  },
  reduceMax: along(tf.max),
  reduceMin: along(tf.min),
  argMax: (inputs, { params }) => tf.argMax(operand(inputs, 0), params.axis),
  cumsum: (inputs, { params }) =>
    cumsum(operand(inputs, 0), params.axis, params.exclusive, params.reverse),
  softmax: (inputs, { params }) => lastAxis((x) => tf.softmax(x), operand(inputs, 0), params.axis),
  logSoftmax: (inputs, { params }) =>
    lastAxis((x) => tf.logSoftmax(x), operand(inputs, 0), params.axis),
  normalize: (inputs, { params }) => normalized(operand(inputs, 0), params).xHat,
  // dL/dx = r · (dy - mean(dy) - x̂ · mean(dy · x̂))
  normalizeGrad: (inputs, { params }) => {
    const dy = operand(inputs, 1);
    const { xHat, r } = normalized(operand(inputs, 0), params);
    const { axes } = params;
    const projection = reduce(tf.mean, tf.mul(dy, xHat), { axes, keepDims: true });
    return tf.mul(tf.sub(centered(dy, axes), tf.mul(xHat, projection)), r);
  },
};
