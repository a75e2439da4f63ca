/** @file How many threads may share a product: the rule alone; conformance holds ONNX Runtime to it. */
import {
  isBetterSwapped,
  safeConvThreads,
  safeThreads,
} from '../../../../worker/src/compute/onnx/threadCut.js';

const of = (rows: number, depth: number, columns: number) => ({ rows, depth, columns });

test.each([
  ['a small product has one thread anyway', of(10, 400, 16), Infinity],
  ['a shallow one is one block, however it is cut', of(32, 128, 4_096), Infinity],
  ['columns of a wide one stay above 64', of(128, 784, 256), 3],
  ['which many columns do for many threads', of(32, 1_024, 1_024), 12],
  ['rows of a tall one are sums of their own', of(784, 128, 256), Infinity],
  ['but for a lone row', of(4, 50_000, 4), 2],
  ['and for a lone column', of(200, 50_000, 1), 1],
])('%s', (_why, product, threads) => {
  expect(safeThreads(product)).toBe(threads);
});

test('a wide product that few threads may share is made as its transpose, whatever the threads', () => {
  expect(isBetterSwapped(of(32, 784, 256))).toBe(true);
  expect(isBetterSwapped(of(32, 784, 1_024))).toBe(false);
  expect(isBetterSwapped(of(32, 100, 256))).toBe(false);
  expect(isBetterSwapped(of(256, 784, 32))).toBe(false);
  expect(isBetterSwapped(of(1, 50_000, 200))).toBe(false);
});

test('the swapped form may be shared by more threads than the wide one', () => {
  for (const rows of [8, 32, 64]) {
    for (const columns of [80, 144, 256]) {
      const wide = of(rows, 3_000, columns);
      const tall = of(columns, 3_000, rows);
      expect(safeThreads(tall)).toBeGreaterThan(safeThreads(wide));
    }
  }
});

test('a convolution of one image leaves each thread a wide piece of it', () => {
  expect(safeConvThreads(of(64, 576, 196))).toBe(2);
  expect(safeConvThreads(of(64, 100, 196))).toBe(Infinity);
});
