/** @file Philox4x32-10 against the vectors published with Random123, and `uniform` as op `randomUniform` defines it. */
import { philox4x32, uniform } from '@ravenlab/protocol';

/** Random123, tests/kat_vectors, lines "philox4x32 10": counter, key, result. */
const VECTORS = [
  [
    '00000000 00000000 00000000 00000000',
    '00000000 00000000',
    '6627e8d5 e169c58d bc57ac4c 9b00dbd8',
  ],
  [
    'ffffffff ffffffff ffffffff ffffffff',
    'ffffffff ffffffff',
    '408f276d 41c83b0e a20bc7c6 6d5451fd',
  ],
  [
    '243f6a88 85a308d3 13198a2e 03707344',
    'a4093822 299f31d0',
    'd16cfe09 94fdcceb 5001e420 24126ea1',
  ],
] as const;

const words = (text: string): number[] => text.split(' ').map((word) => parseInt(word, 16) | 0);
const hex = (values: Int32Array): string =>
  Array.from(values, (value) => (value >>> 0).toString(16).padStart(8, '0')).join(' ');

test.each(VECTORS)('counter %s, key %s gives the published words', (counter, key, expected) => {
  const c = words(counter) as [number, number, number, number];
  expect(hex(philox4x32(c, words(key) as [number, number]))).toBe(expected);
});

const KEY = Int32Array.of(-123456789, 987654321, 42, 7);

test('element i is lane i mod 4 of block i / 4 with counter (block, stream, step, shard)', () => {
  const drawn = uniform(KEY, -3, 11);
  for (let i = 0; i < drawn.length; i++) {
    const block = philox4x32([Math.floor(i / 4), -3, 42, 7], [-123456789, 987654321]);
    expect(drawn[i]).toBe((block[i % 4]! >>> 8) / 2 ** 24);
  }
});

test('a longer draw starts with the shorter one, whatever the length', () => {
  const long = uniform(KEY, 1, 64);
  for (const length of [0, 1, 2, 3, 4, 5, 31, 63]) {
    expect(uniform(KEY, 1, length)).toEqual(long.slice(0, length));
  }
});

test('each word of the key and the stream changes the draw', () => {
  const base = uniform(KEY, 1, 8);
  for (let word = 0; word < 4; word++) {
    const other = KEY.slice();
    other[word]! += 1;
    expect(uniform(other, 1, 8)).not.toEqual(base);
  }
  expect(uniform(KEY, 2, 8)).not.toEqual(base);
});

test('values are in [0, 1) with mean 1/2, variance 1/12 and flat deciles', () => {
  const n = 400_000;
  const drawn = uniform(KEY, 0, n);
  const deciles = new Array<number>(10).fill(0);
  let sum = 0;
  let squares = 0;
  let low = 1;
  let high = 0;
  for (const x of drawn) {
    low = Math.min(low, x);
    high = Math.max(high, x);
    sum += x;
    squares += x * x;
    deciles[Math.floor(x * 10)]! += 1;
  }
  expect(low).toBeGreaterThanOrEqual(0);
  expect(high).toBeLessThan(1);
  // Five standard errors of each figure.
  expect(Math.abs(sum / n - 0.5)).toBeLessThan((5 * Math.sqrt(1 / 12)) / Math.sqrt(n));
  expect(Math.abs(squares / n - sum ** 2 / n ** 2 - 1 / 12)).toBeLessThan(
    (5 * 0.0745) / Math.sqrt(n),
  );
  for (const count of deciles) {
    expect(Math.abs(count - n / 10)).toBeLessThan(5 * Math.sqrt(n * 0.1 * 0.9));
  }
});

test('it fills what it is given, from the start, and no more', () => {
  const out = new Float32Array(10).fill(-1);
  expect(uniform(KEY, 0, 6, out.subarray(2))).toHaveLength(8);
  expect(Array.from(out.subarray(2, 8))).toEqual(Array.from(uniform(KEY, 0, 6)));
  expect([out[0], out[1], out[8], out[9]]).toEqual([-1, -1, -1, -1]);
});

test("a caller's mistake is named", () => {
  expect(() => uniform(new Int32Array(3), 0, 1)).toThrow('a key has 4 words, got 3');
  expect(() => uniform(new Int32Array(5), 0, 1)).toThrow('a key has 4 words, got 5');
  expect(() => uniform(KEY, 0, 5, new Float32Array(4))).toThrow('out holds 4 values, 5 are asked');
});
