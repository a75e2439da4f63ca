/**
 * @file What losses of a float16 run are multiplied by, so that small gradients do not vanish: how it goes on from step to step.
 * As torch.amp.GradScaler does it. The rule only; the engine carries it out, between the sum of a step and its update.
 */
import type { TensorType } from './shape.js';

/** state ← the scale after this step; its value says how many gradients of the step overflowed. */
export interface LossScaleRule {
  readonly name: 'lossScale';
}

/** Of a state with this rule, and of the value for it: float32 [scale, good steps since the scale was changed]. */
export const LOSS_SCALE_TYPE: TensorType = { dtype: 'float32', shape: [2] };

/** Powers of two all, so that scaling back loses nothing. */
export const LOSS_SCALE = {
  first: 2 ** 16,
  /** Good steps in a row before the scale is raised. */
  growthSteps: 2_000,
  growth: 2,
  backoff: 0.5,
  /** What overflows here is not too large for float16 because it was scaled. */
  min: 2 ** -24,
  max: 2 ** 24,
} as const;

/** A scale and how many steps in a row were good with it. */
export type LossScale = readonly [scale: number, goodSteps: number];

/** The scale of a new run. */
export const FIRST_LOSS_SCALE: LossScale = [LOSS_SCALE.first, 0];

/**
 * The scale of the next step.
 * @param overflowed whether a gradient of this step is NaN or infinite, so that its weights stay as they are
 * @returns null when the scale cannot be smaller: then it was not to blame.
 */
export function nextLossScale(
  [scale, goodSteps]: LossScale,
  overflowed: boolean,
): LossScale | null {
  const { growthSteps, growth, backoff, min, max } = LOSS_SCALE;
  if (overflowed) return scale <= min ? null : [scale * backoff, 0];
  if (goodSteps + 1 < growthSteps) return [scale, goodSteps + 1];
  return [Math.min(max, scale * growth), 0];
}

/** @returns null when `values` are no scale: not a power of two within bounds, or no count of steps. */
export function readLossScale(values: ArrayLike<number>): LossScale | null {
  const [scale = NaN, goodSteps = NaN] = Array.from(values);
  const { min, max, growthSteps } = LOSS_SCALE;
  const isScale = scale >= min && scale <= max && Number.isInteger(Math.log2(scale));
  const isCount = Number.isInteger(goodSteps) && goodSteps >= 0 && goodSteps < growthSteps;
  return values.length === 2 && isScale && isCount ? [scale, goodSteps] : null;
}
