/**
 * @file Robust means over the gradients of micro-shards. Of shards, never of workers, and summed in an order of its own, so that
 * the bits are the same for any crowd. Pure; where the numbers lie is the caller's.
 *
 * The gradient of a micro-shard is its part of the whole batch's. Multiplied by how many times it goes into the batch it is a guess
 * of the whole, and those guesses are what the rules compare.
 */
import type { RobustRule } from '@ravenlab/protocol';

/** Gradients of one micro-shard: arrays in the same order and of the same lengths for all of them. */
export type Gradients = readonly Float32Array[];

/** Steps of centered clipping. */
const CLIP_STEPS = 3;

/**
 * The whole batch's gradient. Inputs are not changed.
 * @param shards at least one, all finite.
 * @param scales how many times each micro-shard goes into the batch.
 */
export function aggregate(
  rule: RobustRule,
  shards: readonly Gradients[],
  scales: readonly number[],
): Float32Array[] {
  switch (rule.kind) {
    case 'trimmedMean':
      return meanOfMiddle(shards, scales, Math.floor(rule.trim * shards.length)).map((mean) =>
        Float32Array.from(mean),
      );
    case 'centeredClip':
      return centeredClip(shards, scales, rule.radius).map((center) => Float32Array.from(center));
  }
}

/** Coordinate by coordinate the mean of what is left without the `cut` smallest and the `cut` largest. */
function meanOfMiddle(
  shards: readonly Gradients[],
  scales: readonly number[],
  cut: number,
): Float64Array[] {
  const sorted = new Float64Array(shards.length);
  return (shards[0] ?? []).map((first, tensor) => {
    const arrays = shards.map((own) => own[tensor] ?? first);
    const mean = new Float64Array(first.length);
    for (let at = 0; at < mean.length; at++) {
      for (let shard = 0; shard < sorted.length; shard++) {
        insert(sorted, shard, (arrays[shard]?.[at] ?? 0) * (scales[shard] ?? 0));
      }
      let sum = 0;
      for (let rank = cut; rank < sorted.length - cut; rank++) sum += sorted[rank] ?? 0;
      mean[at] = sum / (sorted.length - 2 * cut);
    }
    return mean;
  });
}

/** Insertion into the first `count` values, which are in order: shards are few, and a sort of each coordinate would cost more. */
function insert(sorted: Float64Array, count: number, value: number): void {
  let at = count;
  while (at > 0 && (sorted[at - 1] ?? 0) > value) {
    sorted[at] = sorted[at - 1] ?? 0;
    at--;
  }
  sorted[at] = value;
}

/** c ← c + 1/n · Σ (xₛ − c) · min(1, radius / ‖xₛ − c‖), from the median on. */
function centeredClip(
  shards: readonly Gradients[],
  scales: readonly number[],
  radius: number,
): Float64Array[] {
  const center = meanOfMiddle(shards, scales, (shards.length - 1) >> 1);
  for (let step = 0; step < CLIP_STEPS; step++) {
    const weights = shards.map((own, shard) => {
      const distance = distanceOf(own, scales[shard] ?? 0, center);
      return distance <= radius ? 1 : radius / distance;
    });
    center.forEach((values, tensor) => {
      const pull = new Float64Array(values.length);
      shards.forEach((own, shard) => {
        const mine = own[tensor] ?? new Float32Array(0);
        const [scale, weight] = [scales[shard] ?? 0, weights[shard] ?? 0];
        for (let at = 0; at < mine.length; at++) {
          pull[at] = (pull[at] ?? 0) + ((mine[at] ?? 0) * scale - (values[at] ?? 0)) * weight;
        }
      });
      for (let at = 0; at < values.length; at++) {
        values[at] = (values[at] ?? 0) + (pull[at] ?? 0) / shards.length;
      }
    });
  }
  return center;
}

/** ‖scale · own − center‖ over all arrays. */
function distanceOf(own: Gradients, scale: number, center: readonly Float64Array[]): number {
  let squares = 0;
  center.forEach((values, tensor) => {
    const mine = own[tensor] ?? new Float32Array(0);
    for (let at = 0; at < mine.length; at++) {
      const difference = (mine[at] ?? 0) * scale - (values[at] ?? 0);
      squares += difference * difference;
    }
  });
  return Math.sqrt(squares);
}
