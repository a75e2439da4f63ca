/**
 * @file Sums of rows that meet, by tfjs. WebGPU's threads add to one place in whichever order they come, which gives other bits
 * every time. There a sum is a product with what is 1 where a row belongs; so one row that is not finite shows in others too.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { indexRange } from './tfElementwise.js';
import { cast, isWebgpu, matMul } from './tfKernels.js';

/** Comparisons of targets with rows that are held at once. */
const COMPARISONS = 2 ** 22;

/** Adds row i of `updates` [n, width] to row `rows[i]` of zeros [size, width]; `rows` [n], int32 in 0 … size - 1. */
export function scatterRows(rows: Tensor, updates: Tensor, size: number): Tensor {
  const [count = 0, width = 1] = updates.shape;
  if (!isWebgpu()) return scatter(rows, updates, [size, width]);
  if (size <= count) {
    const targets = indexRange(size);
    return byBlocks(size, count, (from, length) =>
      sums(belonging(tf.slice(targets, from, length), rows), updates),
    );
  }
  // A sum stands where the first of its rows stood, and zeros where the others did: added at any time, they change nothing.
  const order: Tensor = tf.range(0, count, 1, 'float32');
  const once = byBlocks(count, count, (from, length) => {
    const belongs = belonging(tf.slice(rows, from, length), rows);
    const first = tf.min(tf.where(belongs, order, tf.scalar(count)), 1);
    const isFirst = tf.reshape(tf.equal(first, tf.slice(order, from, length)), [length, 1]);
    const all = sums(belongs, updates);
    return tf.where(isFirst, all, tf.zerosLike(all));
  });
  return scatter(rows, once, [size, width]);
}

function scatter(rows: Tensor, updates: Tensor, shape: readonly number[]): Tensor {
  return tf.scatterND(tf.reshape(rows, [-1, 1]), updates, [...shape]);
}

/** Results for `length` targets at a time, one below the other. */
function byBlocks(
  targets: number,
  count: number,
  run: (from: number, length: number) => Tensor,
): Tensor {
  const step = Math.max(1, Math.floor(COMPARISONS / count));
  const blocks: Tensor[] = [];
  for (let from = 0; from < targets; from += step) {
    blocks.push(tf.tidy(() => run(from, Math.min(step, targets - from))));
  }
  return tf.concat(blocks, 0);
}

/** bool [targets, rows]: which rows go to which target. */
function belonging(targets: Tensor, rows: Tensor): Tensor {
  return tf.equal(tf.reshape(targets, [-1, 1]), tf.reshape(rows, [1, -1]));
}

function sums(belongs: Tensor, updates: Tensor): Tensor {
  const taken = tf.reshape(cast(belongs, 'float32'), [1, ...belongs.shape]);
  const product = matMul(taken, tf.reshape(updates, [1, ...updates.shape]), false, false);
  return tf.reshape(product, product.shape.slice(1));
}
