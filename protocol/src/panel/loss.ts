/** @file The loss curve of a whole run in bounded memory: neighbours merge pairwise when it is full. Not a metrics store. */
import { PANEL_LIMITS } from '../limits.js';
import type { LossPoint, LossSeries } from './state.js';

/** Halves the resolution: points 2i and 2i+1 become their mean. */
function halve(series: LossSeries): LossSeries {
  const { points, stride, lastCount } = series;
  const merged: LossPoint[] = [];
  let left: LossPoint | undefined;
  points.forEach((point, index) => {
    if (left === undefined) {
      left = point;
      return;
    }
    const weight = index === points.length - 1 ? lastCount : stride;
    merged.push([left[0], (left[1] * stride + point[1] * weight) / (stride + weight)]);
    left = undefined;
  });
  if (left !== undefined) merged.push(left);
  const mergedCount = left === undefined ? stride + lastCount : lastCount;
  return { stride: stride * 2, lastCount: mergedCount, points: merged };
}

/** Adds the loss of one step; a loss that is not finite is left out, as a curve cannot show it. */
export function appendLoss(
  series: LossSeries,
  step: number,
  loss: number,
  maxPoints: number = PANEL_LIMITS.lossPoints,
): LossSeries {
  if (!Number.isFinite(loss)) return series;
  const { stride, lastCount, points } = series;
  const last = points[points.length - 1];
  if (last !== undefined && lastCount < stride) {
    const mean = last[1] + (loss - last[1]) / (lastCount + 1);
    return { stride, lastCount: lastCount + 1, points: [...points.slice(0, -1), [last[0], mean]] };
  }
  if (points.length >= maxPoints) return appendLoss(halve(series), step, loss, maxPoints);
  return { stride, lastCount: 1, points: [...points, [step, loss]] };
}
