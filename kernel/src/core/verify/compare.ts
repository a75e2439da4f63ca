/**
 * @file Whether two answers to the same unit are the same: to the bit within a bit class, within what rounding explains across
 * two of them. Bytes only; who is right when they differ is decided elsewhere.
 */
import type { DType } from '@ravenlab/protocol';

/**
 * Across bit classes: how far two float32 arrays may be apart. Held against the gradients of whole models by
 * test/conformance/across.test.ts; not calibrated on GPUs.
 */
const ACROSS_CLASSES = {
  /** Root of the sum of squares, relative to that of the values. */
  l2: 1e-3,
  /** Largest single difference, relative to the largest value. */
  largest: 1e-2,
  /**
   * Of the largest value in the whole answer: below it is rounding noise. The bias before a normalisation has no gradient
   * but that, and no two classes agree on it.
   */
  noise: 1e-6,
} as const;

/**
 * What travelled narrow: values that two classes round apart by a millionth may be a whole step apart, though seldom; and a sum
 * of two such values again.
 */
const NARROW_STEPS = { l2: 0.5, largest: 4 } as const;

export interface Part {
  readonly dtype: DType;
  readonly bytes: Uint8Array;
  /** Share of a value by which its rounding may have moved it; left out: that of float32. */
  readonly step?: number;
}

/** Whether all parts are the same to the bit. */
export function isSame(a: readonly Part[], b: readonly Part[]): boolean {
  return a.length === b.length && a.every((part, index) => sameBytes(part.bytes, b[index]?.bytes));
}

/** Whether rounding can explain all differences. Anything but float32 has none. */
export function isClose(a: readonly Part[], b: readonly Part[]): boolean {
  if (a.length !== b.length) return false;
  const noise = ACROSS_CLASSES.noise * Math.min(largestOf(a), largestOf(b));
  return a.every((part, index) => {
    const other = b[index]?.bytes;
    if (part.dtype !== 'float32' || other === undefined) return sameBytes(part.bytes, other);
    return closeFloats(floatsOf(part.bytes), floatsOf(other), boundsOf(noise, part.step ?? 0));
  });
}

/** Largest size of a float32 value in an answer. */
function largestOf(parts: readonly Part[]): number {
  let largest = 0;
  for (const { dtype, bytes } of parts) {
    if (dtype !== 'float32') continue;
    for (const value of floatsOf(bytes)) largest = Math.max(largest, Math.abs(value));
  }
  return largest;
}

function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  if (b?.byteLength !== a.byteLength) return false;
  for (let at = 0; at < a.byteLength; at++) if (a[at] !== b[at]) return false;
  return true;
}

interface Bounds {
  readonly l2: number;
  readonly largest: number;
  /** What a single difference may always be. */
  readonly noise: number;
}

function boundsOf(noise: number, step: number): Bounds {
  return {
    l2: ACROSS_CLASSES.l2 + NARROW_STEPS.l2 * step,
    largest: Math.max(ACROSS_CLASSES.largest, NARROW_STEPS.largest * step),
    noise,
  };
}

/** @param a, b finite everywhere: what is not was refused before */
function closeFloats(
  a: Float32Array,
  b: Float32Array,
  { l2, largest: most, noise }: Bounds,
): boolean {
  if (a.length !== b.length) return false;
  let squares = 0;
  let scale = 0;
  let largest = 0;
  let largestValue = 0;
  for (let at = 0; at < a.length; at++) {
    const [left, right] = [a[at] ?? 0, b[at] ?? 0];
    const difference = Math.abs(left - right);
    const value = Math.max(Math.abs(left), Math.abs(right));
    squares += difference * difference;
    scale += value * value;
    largest = Math.max(largest, difference);
    largestValue = Math.max(largestValue, value);
  }
  return (
    Math.sqrt(squares) <= l2 * Math.sqrt(scale) + noise * Math.sqrt(a.length) &&
    largest <= most * largestValue + noise
  );
}

/** A view, or a copy where the bytes are not aligned. */
function floatsOf(bytes: Uint8Array): Float32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 2);
}

/** First value of a float32 part that is not finite, as the index of its part; -1 for none. */
export function firstNotFinite(parts: readonly Part[]): number {
  return parts.findIndex(({ dtype, bytes }) => {
    if (dtype !== 'float32') return false;
    return floatsOf(bytes).some((value) => !Number.isFinite(value));
  });
}
