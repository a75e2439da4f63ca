/** @file The check for NaN and infinity, at every position of its unrolled loop. */
import { firstNonFinite, isFinite32 } from '../../../../worker/src/compute/finite.js';

describe('the check for finite values', () => {
  test.each([0, 1, 7, 8, 9, 16, 31])('accepts %d ordinary values', (length) => {
    const data = Float32Array.from({ length }, (_, i) => (i % 2 === 0 ? 3.4e38 : -1e-45));
    expect(isFinite32(data)).toBe(true);
  });

  test('finds one bad value wherever it is', () => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      for (let at = 0; at < 19; at++) {
        const data = new Float32Array(19).fill(1);
        data[at] = bad;
        expect(isFinite32(data)).toBe(false);
      }
    }
  });

  test('is not fooled by infinities of both signs', () => {
    expect(isFinite32(Float32Array.of(Infinity, -Infinity))).toBe(false);
  });

  test('names the first float output and passes over integers', () => {
    const outputs = [Int32Array.of(1), Float32Array.of(1), Float32Array.of(NaN)];
    expect(firstNonFinite(outputs, [false, true, true])).toBe(2);
    expect(firstNonFinite(outputs.slice(0, 2), [false, true])).toBe(-1);
  });
});
