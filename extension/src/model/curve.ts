/** @file Geometry of the loss curve: smoothing, scale, SVG path, nearest point; pure. Not a plotting library. */
import type { LossPoint } from '@ravenlab/protocol';

export interface Box {
  readonly width: number;
  readonly height: number;
}

/** Maps data to pixels of a box; y grows downwards. */
export interface CurveScale {
  readonly minStep: number;
  readonly maxStep: number;
  readonly minLoss: number;
  readonly maxLoss: number;
  x(step: number): number;
  y(loss: number): number;
}

/** Exponential moving average with bias correction, so that the first points are not pulled to zero. */
export function smooth(points: readonly LossPoint[], weight: number): readonly LossPoint[] {
  let mean = 0;
  let correction = 1;
  return points.map(([step, loss]) => {
    mean = mean * weight + loss * (1 - weight);
    correction *= weight;
    return [step, mean / (1 - correction)] as const;
  });
}

/** Scale over all points; null when there is none. */
export function scaleOf(points: readonly LossPoint[], box: Box): CurveScale | null {
  const first = points[0];
  const last = points[points.length - 1];
  if (first === undefined || last === undefined) return null;
  let minLoss = Infinity;
  let maxLoss = -Infinity;
  for (const [, loss] of points) {
    minLoss = Math.min(minLoss, loss);
    maxLoss = Math.max(maxLoss, loss);
  }
  const [minStep] = first;
  const [maxStep] = last;
  const stepSpan = maxStep - minStep || 1;
  const lossSpan = maxLoss - minLoss || Math.abs(maxLoss) || 1;
  return {
    minStep,
    maxStep,
    minLoss,
    maxLoss,
    x: (step) => ((step - minStep) / stepSpan) * box.width,
    y: (loss) => (1 - (loss - minLoss) / lossSpan) * box.height,
  };
}

/** SVG path data at a tenth of a pixel; empty for no points. */
export function pathOf(points: readonly LossPoint[], scale: CurveScale): string {
  return points
    .map(([step, loss], index) => {
      const command = index === 0 ? 'M' : 'L';
      return `${command}${scale.x(step).toFixed(1)} ${scale.y(loss).toFixed(1)}`;
    })
    .join('');
}

/** The same curve closed along the bottom edge, for the fill. */
export function areaOf(points: readonly LossPoint[], scale: CurveScale, box: Box): string {
  const first = points[0];
  const last = points[points.length - 1];
  if (first === undefined || last === undefined) return '';
  const bottom = box.height.toFixed(1);
  const right = scale.x(last[0]).toFixed(1);
  const left = scale.x(first[0]).toFixed(1);
  return `${pathOf(points, scale)}L${right} ${bottom}L${left} ${bottom}Z`;
}

/** Index of the point nearest to pixel `x`, by binary search; -1 for no points. */
export function nearestIndex(points: readonly LossPoint[], scale: CurveScale, x: number): number {
  let low = 0;
  let high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const point = points[middle];
    if (point !== undefined && scale.x(point[0]) <= x) low = middle;
    else high = middle;
  }
  const left = points[low];
  const right = points[high];
  if (left === undefined || right === undefined) return -1;
  return Math.abs(scale.x(left[0]) - x) <= Math.abs(scale.x(right[0]) - x) ? low : high;
}
