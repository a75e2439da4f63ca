/** @file The check that keeps NaN and infinity out of sums: fast, over every float output of every unit. */
import type { TensorData } from '@ravenlab/protocol';

const LANES = 8;

/** True when no element is NaN or infinite. */
export function isFinite32(data: Float32Array): boolean {
  // x · 0 is 0 for finite x and NaN otherwise; NaN survives addition. Independent sums keep the pipeline full.
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  const whole = data.length - (data.length % LANES);
  for (let i = 0; i < whole; i += LANES) {
    a += (data[i] ?? 0) * 0 + (data[i + 1] ?? 0) * 0;
    b += (data[i + 2] ?? 0) * 0 + (data[i + 3] ?? 0) * 0;
    c += (data[i + 4] ?? 0) * 0 + (data[i + 5] ?? 0) * 0;
    d += (data[i + 6] ?? 0) * 0 + (data[i + 7] ?? 0) * 0;
  }
  for (let i = whole; i < data.length; i++) a += (data[i] ?? 0) * 0;
  return a + b + c + d === 0;
}

/** Index of the first array that holds NaN or infinity; -1 when all are finite. Integers always are. */
export function firstNonFinite(
  outputs: readonly TensorData[],
  isFloat: readonly boolean[],
): number {
  return outputs.findIndex(
    (data, index) => isFloat[index] === true && !isFinite32(data as Float32Array),
  );
}
