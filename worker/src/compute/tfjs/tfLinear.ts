/**
 * @file tfjs rows: matrix product, convolution, pooling and their gradients. Windows are taken apart into strided slices
 * and put together again, because tfjs-cpu lacks groups and takes minutes for the weight gradient of a convolution.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { OpParams, Window2d } from '@ravenlab/protocol';
import { broadcastShapes } from '@ravenlab/protocol';
import { matMul as multiply } from './tfKernels.js';
import type { TfEmit } from './tfRow.js';
import { operand } from './tfRow.js';

const matMul: TfEmit<'matMul'> = (inputs, { params, type }) => {
  const a = operand(inputs, 0);
  const b = operand(inputs, 1);
  const batch = broadcastShapes('matMul', a.shape.slice(0, -2), b.shape.slice(0, -2));
  const stacked = (x: Tensor): Tensor => {
    const matrix = x.shape.slice(-2);
    return tf.reshape(tf.broadcastTo(x, [...batch, ...matrix]), [-1, ...matrix]);
  };
  const product = multiply(stacked(a), stacked(b), params.transposeA, params.transposeB);
  return tf.reshape(product, [...type.shape]);
};

/** For each kernel position, row by row: the elements of x that it meets, [B, C, H', W']. */
function unfold(
  x: Tensor,
  window: Window2d,
  output: readonly number[],
  padValue: number,
): Tensor[] {
  const [top = 0, left = 0, bottom = 0, right = 0] = window.padding;
  const padded = tf.pad(
    x,
    [
      [0, 0],
      [0, 0],
      [top, bottom],
      [left, right],
    ],
    padValue,
  );
  const [batch = 1, channels = 1] = x.shape;
  const [outH = 1, outW = 1] = output;
  const [sh = 1, sw = 1] = window.stride;
  return positions(window).map(([y, x0]) =>
    tf.stridedSlice(
      padded,
      [0, 0, y, x0],
      [batch, channels, y + (outH - 1) * sh + 1, x0 + (outW - 1) * sw + 1],
      [1, 1, sh, sw],
    ),
  );
}

/** Offsets of the kernel positions in the padded input. */
function positions({ kernel, dilation }: Window2d): [number, number][] {
  const [kh = 1, kw = 1] = kernel;
  const [dh = 1, dw = 1] = dilation;
  const list: [number, number][] = [];
  for (let i = 0; i < kh; i++) for (let j = 0; j < kw; j++) list.push([i * dh, j * dw]);
  return list;
}

/** The adjoint of unfold: adds every slice to the elements that it was taken from. */
function fold(slices: readonly Tensor[], window: Window2d, input: readonly number[]): Tensor {
  const [top = 0, left = 0, bottom = 0, right = 0] = window.padding;
  const [height = 1, width = 1] = input;
  const whole = [height + top + bottom, width + left + right] as const;
  const placed = positions(window).map(([y, x], index) =>
    place(operand(slices, index), window.stride, [y, x], whole),
  );
  const sum = placed.reduce((a, b) => tf.add(a, b));
  const [batch = 1, channels = 1] = sum.shape;
  return tf.slice(sum, [0, 0, top, left], [batch, channels, height, width]);
}

/** Spreads a slice by the stride and puts it at its offset in a zero image. */
function place(
  slice: Tensor,
  stride: readonly number[],
  [y, x]: readonly [number, number],
  [height, width]: readonly [number, number],
): Tensor {
  const [batch = 1, channels = 1, outH = 1, outW = 1] = slice.shape;
  const [sh = 1, sw = 1] = stride;
  // Zeros between neighbours, columns first: no step has more than four axes, beyond which a GPU does not pad.
  const wide = tf.pad(tf.reshape(slice, [batch * channels * outH, outW, 1]), [
    [0, 0],
    [0, 0],
    [0, sw - 1],
  ]);
  const tall = tf.pad(tf.reshape(wide, [batch * channels, outH, 1, outW * sw]), [
    [0, 0],
    [0, 0],
    [0, sh - 1],
    [0, 0],
  ]);
  const spread = tf.reshape(tall, [batch, channels, outH * sh, outW * sw]);
  const rows = (outH - 1) * sh + 1;
  const columns = (outW - 1) * sw + 1;
  const exact = tf.slice(spread, [0, 0, 0, 0], [batch, channels, rows, columns]);
  return tf.pad(exact, [
    [0, 0],
    [0, 0],
    [y, height - y - rows],
    [x, width - x - columns],
  ]);
}

function convWindow(params: OpParams['conv2d'], kernel: readonly number[]): Window2d {
  const { stride, padding, dilation } = params;
  return { kernel, stride, padding, dilation };
}

/** [B, C, H', W'] slices → [g, C/g · k, B·H'·W'], the matrix that a kernel is multiplied with. */
function columns(slices: readonly Tensor[], groups: number): Tensor {
  const [batch = 1, channels = 1, outH = 1, outW = 1] = operand(slices, 0).shape;
  const stacked = tf.stack([...slices], 2);
  const swapped = tf.transpose(stacked, [1, 2, 0, 3, 4]);
  const depth = (channels / groups) * slices.length;
  return tf.reshape(swapped, [groups, depth, batch * outH * outW]);
}

/** [B, O, H', W'] → [g, O/g, B·H'·W']. */
function channelsFirst(dy: Tensor, groups: number): Tensor {
  const [batch = 1, channels = 1, outH = 1, outW = 1] = dy.shape;
  const swapped = tf.transpose(dy, [1, 0, 2, 3]);
  return tf.reshape(swapped, [groups, channels / groups, batch * outH * outW]);
}

function kernelMatrix(w: Tensor, groups: number): Tensor {
  const [outChannels = 1] = w.shape;
  return tf.reshape(w, [groups, outChannels / groups, -1]);
}

const conv2d: TfEmit<'conv2d'> = (inputs, { params, type }) => {
  const w = operand(inputs, 1);
  const [batch = 1, channels = 1, ...output] = type.shape;
  const window = convWindow(params, w.shape.slice(2));
  const slices = unfold(operand(inputs, 0), window, output, 0);
  const product = multiply(
    kernelMatrix(w, params.groups),
    columns(slices, params.groups),
    false,
    false,
  );
  const image = tf.reshape(product, [channels, batch, ...output]);
  return tf.transpose(image, [1, 0, 2, 3]);
};

const conv2dGradInput: TfEmit<'conv2dGradInput'> = (inputs, { params, type }) => {
  const dy = operand(inputs, 0);
  const w = operand(inputs, 1);
  const { groups } = params;
  const window = convWindow(params, w.shape.slice(2));
  const [batch = 1, channels = 1] = type.shape;
  const [, , outH = 1, outW = 1] = dy.shape;
  const product = multiply(kernelMatrix(w, groups), channelsFirst(dy, groups), true, false);
  const count = positions(window).length;
  const stacked = tf.reshape(product, [channels, count, batch, outH, outW]);
  const slices = tf.unstack(tf.transpose(stacked, [1, 2, 0, 3, 4]));
  return fold(slices, window, params.inputSize);
};

const conv2dGradWeight: TfEmit<'conv2dGradWeight'> = (inputs, { params, type }) => {
  const dy = operand(inputs, 1);
  const window = convWindow(params, params.kernelSize);
  const slices = unfold(operand(inputs, 0), window, dy.shape.slice(2), 0);
  const { groups } = params;
  const product = multiply(channelsFirst(dy, groups), columns(slices, groups), false, true);
  return tf.reshape(product, [...type.shape]);
};

function poolWindow(params: OpParams['maxPool2d']): Window2d {
  return { ...params, dilation: [1, 1] };
}

const maxPool2d: TfEmit<'maxPool2d'> = (inputs, { params, type }) =>
  unfold(operand(inputs, 0), poolWindow(params), type.shape.slice(2), -Infinity).reduce((a, b) =>
    tf.maximum(a, b),
  );

/** dy goes to the first position of a window that holds its maximum. */
const maxPool2dGrad: TfEmit<'maxPool2dGrad'> = (inputs, { params, type }) => {
  const dy = operand(inputs, 1);
  const window = poolWindow(params);
  const slices = unfold(operand(inputs, 0), window, dy.shape.slice(2), -Infinity);
  const maxima = slices.reduce((a, b) => tf.maximum(a, b));
  let isOpen = tf.cast(tf.onesLike(maxima), 'bool');
  const shares = slices.map((slice) => {
    const takes = tf.logicalAnd(isOpen, tf.equal(slice, maxima));
    isOpen = tf.logicalAnd(isOpen, tf.logicalNot(takes));
    return tf.where(takes, dy, tf.zerosLike(dy));
  });
  return fold(shares, window, type.shape.slice(2));
};

const avgPool2d: TfEmit<'avgPool2d'> = (inputs, { params, type }) => {
  const slices = unfold(operand(inputs, 0), poolWindow(params), type.shape.slice(2), 0);
  return tf.div(
    slices.reduce((a, b) => tf.add(a, b)),
    slices.length,
  );
};

const avgPool2dGrad: TfEmit<'avgPool2dGrad'> = (inputs, { params }) => {
  const window = poolWindow(params);
  const count = positions(window).length;
  const share = tf.div(operand(inputs, 0), count);
  return fold(new Array<Tensor>(count).fill(share), window, params.inputSize);
};

export const TF_LINEAR = {
  matMul,
  conv2d,
  conv2dGradInput,
  conv2dGradWeight,
  maxPool2d,
  maxPool2dGrad,
  avgPool2d,
  avgPool2dGrad,
};
