/** @file Order statistics against values worked out by hand. */
import { growth, quantile, summarise } from '../../../bench/lib/stats.js';

describe('quantile', () => {
  it('interpolates between neighbours', () => {
    expect(quantile([10, 20, 30, 40], 0.5)).toBe(25);
    expect(quantile([10, 20, 30, 40], 1 / 3)).toBeCloseTo(20, 12);
  });

  it('is the smallest and the largest value at the ends', () => {
    expect(quantile([3, 5, 9], 0)).toBe(3);
    expect(quantile([3, 5, 9], 1)).toBe(9);
  });

  it('refuses an empty list and a share outside 0 to 1', () => {
    expect(() => quantile([], 0.5)).toThrow(/at least one sample/);
    expect(() => quantile([1], 1.5)).toThrow(/share in \[0, 1\], got 1.5/);
    expect(() => quantile([1], Number.NaN)).toThrow(/got NaN/);
  });
});

describe('summarise', () => {
  it('sorts as numbers and does not touch its input', () => {
    const samples = [100, 9, 20];
    expect(summarise(samples)).toMatchObject({
      count: 3,
      minNs: 9,
      p50Ns: 20,
      maxNs: 100,
      meanNs: 43,
    });
    expect(samples).toEqual([100, 9, 20]);
  });
});

describe('growth', () => {
  it('is that of the line through noise', () => {
    const points = [0, 10, 20, 30, 40].map(
      (x) => [x, 5 + x / 10 + (x % 20 === 0 ? 0.1 : -0.1)] as const,
    );
    expect(growth(points)).toBeCloseTo(4, 6);
    expect(growth([...points].reverse())).toBeCloseTo(4, 6);
  });

  it('needs two places', () => {
    expect(() => growth([[1, 2]])).toThrow('two places');
  });
});
