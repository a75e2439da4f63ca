/** @file tfjs rows: sources, elementwise arithmetic, comparison and selection. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { EMIT_ELEMENTWISE } from '../onnx/emitElementwise.js';
import { cast } from './tfKernels.js';
import { roundFloat16 } from './tfRound.js';
import type { TfRows } from './tfRow.js';
import { binary, operand, unary } from './tfRow.js';

/** `condition ? a : b` for any type; tfjs selects floats and integers only. */
export function select(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  if (a.dtype !== 'bool') return tf.where(condition, a, b);
  const taken = tf.logicalAnd(condition, a);
  return tf.logicalOr(taken, tf.logicalAnd(tf.logicalNot(condition), b));
}

/** int32 0 … n-1. */
export function indexRange(length: number): Tensor {
  return tf.range(0, length, 1, 'int32');
}

export const TF_ELEMENTWISE: TfRows<keyof typeof EMIT_ELEMENTWISE> = {
  full: (_inputs, { params, type }) => tf.fill([...type.shape], params.value, params.dtype),
  iota: (_inputs, { params, type }) => {
    const extent = type.shape[params.axis] ?? 1;
    const aligned = type.shape.map((_, axis) => (axis === params.axis ? extent : 1));
    return tf.broadcastTo(tf.reshape(indexRange(extent), aligned), [...type.shape]);
  },
  randomUniform: () => {
    throw new Error('randomUniform is drawn on the host; the backend never asks for its row');
  },
  cast: (inputs, { params }) => {
    const x = operand(inputs, 0);
    return params.dtype === 'bool' && x.dtype !== 'bool'
      ? tf.notEqual(x, tf.zerosLike(x))
      : cast(x, params.dtype);
  },
  where: (inputs, { type }) => {
    const shape = [...type.shape];
    const [condition, a, b] = [0, 1, 2].map((i) => tf.broadcastTo(operand(inputs, i), shape));
    return select(condition as Tensor, a as Tensor, b as Tensor);
  },
  clip: (inputs, { params }) => tf.clipByValue(operand(inputs, 0), params.min, params.max),
  neg: unary(tf.neg),
  abs: unary(tf.abs),
  sign: unary(tf.sign),
  floor: unary(tf.floor),
  exp: unary(tf.exp),
  log: unary(tf.log),
  sqrt: unary(tf.sqrt),
  rsqrt: unary(tf.rsqrt),
  sin: unary(tf.sin),
  cos: unary(tf.cos),
  tanh: unary(tf.tanh),
  sigmoid: unary(tf.sigmoid),
  erf: unary(tf.erf),
  relu: unary(tf.relu),
  roundFloat16: unary(roundFloat16),
  finiteOr: (inputs, { params }) => {
    const x = operand(inputs, 0);
    return tf.where(tf.isFinite(x), x, tf.fill(x.shape, params.value));
  },
  logicalNot: unary(tf.logicalNot),
  add: binary(tf.add),
  sub: binary(tf.sub),
  mul: binary(tf.mul),
  div: binary(tf.div),
  pow: binary(tf.pow),
  maximum: binary(tf.maximum),
  minimum: binary(tf.minimum),
  equal: binary(tf.equal),
  notEqual: binary(tf.notEqual),
  less: binary(tf.less),
  lessEqual: binary(tf.lessEqual),
  greater: binary(tf.greater),
  greaterEqual: binary(tf.greaterEqual),
  logicalAnd: binary(tf.logicalAnd),
  logicalOr: binary(tf.logicalOr),
};
