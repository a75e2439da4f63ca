/** @file The bounded loss curve: never more points than allowed, no step lost from the means, first step kept. */
import fc from 'fast-check';
import { EMPTY_LOSS_SERIES, appendLoss } from '@ravenlab/protocol';

function seriesOf(losses: readonly number[], maxPoints: number) {
  let series = EMPTY_LOSS_SERIES;
  losses.forEach((loss, step) => {
    series = appendLoss(series, step, loss, maxPoints);
  });
  return series;
}

test('every point is the mean of exactly its own steps', () => {
  const finiteLoss = fc.double({ min: -100, max: 100, noNaN: true });
  fc.assert(
    fc.property(
      fc.array(finiteLoss, { maxLength: 300 }),
      fc.integer({ min: 2, max: 9 }),
      (losses, max) => {
        const { points, stride, lastCount } = seriesOf(losses, max);
        expect(points.length).toBeLessThanOrEqual(max);
        points.forEach(([step, mean], index) => {
          const size = index === points.length - 1 ? lastCount : stride;
          const own = losses.slice(step, step + size);
          expect(step).toBe(index * stride);
          expect(own).toHaveLength(size);
          expect(mean).toBeCloseTo(own.reduce((sum, loss) => sum + loss, 0) / size, 6);
        });
        const covered = points.length === 0 ? 0 : (points.length - 1) * stride + lastCount;
        expect(covered).toBe(losses.length);
      },
    ),
  );
});

test('a loss that is not finite leaves the curve as it was', () => {
  const series = seriesOf([1, 2], 8);
  expect(appendLoss(series, 2, Number.NaN)).toBe(series);
  expect(appendLoss(series, 2, Number.POSITIVE_INFINITY)).toBe(series);
});
