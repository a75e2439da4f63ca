/**
 * @file Rounding to float16 in float32 arithmetic, for tfjs, which has no such type. Every product is exact, by powers of two
 * from a table, so that the bits are those of narrow.ts on every backend.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** 65520, from where on infinity is nearer than 65504. */
const OVERFLOW = 65_520;
/** Exponents of normal float16s. */
const MIN_EXPONENT = -14;
const MAX_EXPONENT = 15;
const FRACTION_BITS = 10;

const EXPONENTS = Array.from(
  { length: MAX_EXPONENT - MIN_EXPONENT + 1 },
  (_, i) => MIN_EXPONENT + i,
);
/** From one float16 to the next at each exponent, and its inverse. */
const STEPS = EXPONENTS.map((exponent) => 2 ** (exponent - FRACTION_BITS));
const INVERSES = STEPS.map((step) => 1 / step);
/** Where each exponent but the smallest begins. */
const BOUNDS = EXPONENTS.slice(1).map((exponent) => 2 ** exponent);

/** The nearest float16 of each element, ties to even; too large ones become infinity, NaN stays. */
export function roundFloat16(x: Tensor): Tensor {
  const flat: Tensor = tf.reshape(x, [x.size]);
  const fits = tf.less(tf.abs(flat), OVERFLOW);
  const finite = tf.where(fits, flat, tf.zerosLike(flat));
  const place = placeOf(tf.abs(finite));
  // tf.round is to even; below the smallest exponent its steps go on to zero.
  const steps = tf.round(tf.mul(finite, tf.gather(INVERSES, place)));
  const rounded = tf.mul(steps, tf.gather(STEPS, place));
  return tf.reshape(tf.where(fits, rounded, tf.mul(flat, Infinity)), x.shape);
}

/** Index of the exponent of each size: a logarithm finds it but for one, comparisons settle it. */
function placeOf(size: Tensor): Tensor {
  const guess = tf.sub(tf.floor(tf.div(tf.log(size), Math.LN2)), MIN_EXPONENT);
  const near: Tensor = tf.cast(tf.clipByValue(guess, 0, EXPONENTS.length - 1), 'int32');
  const bounds = tf.tensor1d([0, ...BOUNDS, OVERFLOW]);
  const tooHigh = tf.cast(tf.less(size, tf.gather(bounds, near)), 'int32');
  const tooLow = tf.cast(
    tf.greaterEqual(size, tf.gather(bounds, tf.add(near, tf.scalar(1, 'int32')))),
    'int32',
  );
  return tf.add(tf.sub(near, tooHigh), tooLow);
}
