/** @file The loss curve of a whole run in bounded memory: neighbours merge pairwise when it is full. Not a metrics store. */
import { PANEL_LIMITS } from './limits.js';
import type { LossPoint, LossSeries } from './state.js';

/** Halves the resolution: points 2i and 2i+1 become their mean. */
function halve(series: LossSeries): LossSeries {
  const { points, stride, lastCount } = series;
  const merged: LossPoint[] = [];
  for (let i = 0; i + 1 < points.length; i += 2) {
    const [step, left] = points[i] as LossPoint;
    const [, right] = points[i + 1] as LossPoint;
    const rightWeight = i + 2 === points.length ? lastCount : stride;
    merged.push([step, (left * stride + right * rightWeight) / (stride + rightWeight)]);
  }
  const isOdd = points.length % 2 === 1;
  if (isOdd) merged.push(points[points.length - 1] as LossPoint);
  return { stride: stride * 2, lastCount: isOdd ? lastCount : stride + lastCount, points: merged };
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
