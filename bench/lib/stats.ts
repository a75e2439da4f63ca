/** @file Order statistics of timing samples; pure arithmetic, no clock. */

/** What a bench says about one set of samples; all times in nanoseconds. */
export interface Summary {
  readonly count: number;
  readonly meanNs: number;
  readonly minNs: number;
  readonly p50Ns: number;
  readonly p95Ns: number;
  readonly p99Ns: number;
  readonly maxNs: number;
}

/**
 * The value below which a share of the samples lies, linear between neighbours (R's type 7).
 * @param sorted ascending, at least one value
 * @param share in [0, 1]
 */
export function quantile(sorted: readonly number[], share: number): number {
  const last = sorted.length - 1;
  if (last < 0) throw new RangeError('quantile: expected at least one sample, got none');
  if (!(share >= 0 && share <= 1)) {
    throw new RangeError(`quantile: expected a share in [0, 1], got ${share}`);
  }
  const position = share * last;
  const below = Math.floor(position);
  const low = sorted[below];
  const high = sorted[Math.min(below + 1, last)];
  if (low === undefined || high === undefined) throw new RangeError('quantile: index out of range');
  return low + (high - low) * (position - below);
}

/** Summary of samples in any order. */
export function summarise(samplesNs: readonly number[]): Summary {
  const sorted = [...samplesNs].sort((a, b) => a - b);
  const total = sorted.reduce((sum, value) => sum + value, 0);
  return {
    count: sorted.length,
    meanNs: total / sorted.length,
    minNs: quantile(sorted, 0),
    p50Ns: quantile(sorted, 0.5),
    p95Ns: quantile(sorted, 0.95),
    p99Ns: quantile(sorted, 0.99),
    maxNs: quantile(sorted, 1),
  };
}

/**
 * How much y grows from the first x to the last, by the line of least squares.
 * @param points at least two, with different x
 */
export function growth(points: readonly (readonly [x: number, y: number])[]): number {
  const count = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count;
  let xy = 0;
  let xx = 0;
  for (const [x, y] of points) {
    xy += (x - meanX) * (y - meanY);
    xx += (x - meanX) ** 2;
  }
  const xs = points.map(([x]) => x);
  if (!(xx > 0)) throw new RangeError('growth: expected points at two places at least');
  return (xy / xx) * (Math.max(...xs) - Math.min(...xs));
}
