/** @file tfjs rows: ops that move, repeat or select elements. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { EMIT_LAYOUT } from '../onnx/emitLayout.js';
import { indexRange, select } from './tfElementwise.js';
import { cast, pad, stridedSlice, transpose } from './tfKernels.js';
import type { TfEmit, TfRows } from './tfRow.js';
import { operand } from './tfRow.js';
import { scatterRows } from './tfScatter.js';

/** bool: inside 0 … size-1. */
function isInRange(indices: Tensor, size: number): Tensor {
  return tf.logicalAnd(
    tf.greaterEqual(indices, tf.scalar(0, 'int32')),
    tf.less(indices, tf.scalar(size, 'int32')),
  );
}

function clamped(indices: Tensor, size: number): Tensor {
  return tf.where(isInRange(indices, size), indices, tf.zerosLike(indices));
}

/** Mask over leading axes, spread over `shape`, where it begins at axis `axis`. */
function spread(mask: Tensor, shape: readonly number[], axis: number): Tensor {
  const aligned = shape.map((extent, i) => (i >= axis && i < axis + mask.rank ? extent : 1));
  return tf.broadcastTo(tf.reshape(mask, aligned), [...shape]);
}

const gather: TfEmit<'gather'> = (inputs, { params, type }) => {
  const x = operand(inputs, 0);
  const indices = operand(inputs, 1);
  const size = x.shape[params.axis] ?? 0;
  const flat = tf.reshape(clamped(indices, size), [-1]);
  const rows = tf.reshape(tf.gather(x, flat as tf.Tensor1D, params.axis), [...type.shape]);
  const mask = spread(isInRange(indices, size), type.shape, params.axis);
  return select(mask, rows, tf.zerosLike(rows));
};

const scatterAdd: TfEmit<'scatterAdd'> = (inputs, { params, type }) => {
  const indices = operand(inputs, 0);
  const updates = operand(inputs, 1);
  const mask = spread(isInRange(indices, params.size), updates.shape, 0);
  const kept = tf.where(mask, updates, tf.zerosLike(updates));
  const rows = tf.reshape(clamped(indices, params.size), [-1]);
  const width = type.shape.slice(1).reduce((size, extent) => size * extent, 1);
  const flat = tf.reshape(kept, [-1, width]);
  return tf.reshape(scatterRows(rows, flat, params.size), [...type.shape]);
};

export const TF_LAYOUT: TfRows<keyof typeof EMIT_LAYOUT> = {
  reshape: (inputs, { params }) => tf.reshape(operand(inputs, 0), [...params.shape]),
  transpose: (inputs, { params }) => transpose(operand(inputs, 0), params.perm),
  broadcastTo: (inputs, { params }) => tf.broadcastTo(operand(inputs, 0), [...params.shape]),
  concat: (inputs, { params }) => tf.concat([...inputs], params.axis),
  slice: (inputs, { params }) => stridedSlice(operand(inputs, 0), params),
  pad: (inputs, { params }) => {
    const paddings = params.before.map((before, axis): [number, number] => [
      before,
      params.after[axis] ?? 0,
    ]);
    return pad(operand(inputs, 0), paddings, params.value);
  },
  tile: (inputs, { params }) => tf.tile(operand(inputs, 0), [...params.repeats]),
  reverse: (inputs, { params }) => tf.reverse(operand(inputs, 0), [...params.axes]),
  gather,
  scatterAdd,
  oneHot: (inputs, { params }) => {
    const column = tf.expandDims(operand(inputs, 0), -1);
    return cast(tf.equal(column, indexRange(params.depth)), 'float32');
  },
};
