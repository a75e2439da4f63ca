/** @file Robust means against their formulas in float64, and what they promise: few bad micro-shards do not pull them far. */
import fc from 'fast-check';
import type { RobustRule } from '@ravenlab/protocol';
import { readAggregate } from '@ravenlab/protocol';
import { aggregate } from '../../../../kernel/src/core/aggregate/aggregate.js';
import { floats } from '../lib/oracle.js';

type Shards = Float32Array[][];

/** `count` micro-shards of two arrays. */
const shardsOf = (count: number): Shards =>
  Array.from({ length: count }, (_none, shard) => [
    floats([3, 5], 2 * shard + 1),
    floats([4], 2 * shard + 2),
  ]);

const evenly = (count: number): number[] => new Array<number>(count).fill(count);

/** All values of a shard, as guesses of the whole gradient. */
const guessesOf = (shards: Shards, scales: readonly number[]): number[][] =>
  shards.map((arrays, shard) =>
    arrays.flatMap((array) => [...array].map((x) => x * scales[shard]!)),
  );

const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);
const norm = (values: readonly number[]): number =>
  Math.sqrt(values.reduce((s, x) => s + x * x, 0));
const columnsOf = (rows: readonly number[][]): number[][] =>
  rows[0]!.map((_value, at) => rows.map((row) => row[at]!));

/** The formulas as they are written down. */
function oracle(rule: RobustRule, shards: Shards, scales: readonly number[]): number[] {
  const guesses = guessesOf(shards, scales);
  const middle = (cut: number): number[] =>
    columnsOf(guesses).map((column) => meanOf(sorted(column).slice(cut, column.length - cut)));
  if (rule.kind === 'trimmedMean') return middle(Math.floor(rule.trim * shards.length));
  let center = middle(Math.ceil(shards.length / 2) - 1);
  for (let step = 0; step < 3; step++) {
    const pulls = guesses.map((guess) => {
      const apart = guess.map((value, at) => value - center[at]!);
      const weight = Math.min(1, rule.radius / norm(apart));
      return apart.map((value) => value * weight);
    });
    center = center.map((value, at) => value + meanOf(pulls.map((pull) => pull[at]!)));
  }
  return center;
}

const RULES: readonly RobustRule[] = [
  { kind: 'trimmedMean', trim: 0 },
  { kind: 'trimmedMean', trim: 0.26 },
  { kind: 'trimmedMean', trim: 0.49 },
  { kind: 'centeredClip', radius: 3 },
  { kind: 'centeredClip', radius: 1e6 },
];

test.each(RULES)('%j is its formula, for any number of micro-shards of any size', (rule) => {
  for (const count of [1, 2, 3, 8, 17]) {
    const shards = shardsOf(count);
    const scales = evenly(count);
    // The last one has fewer rows.
    scales[count - 1] = 1.5 * count;
    const actual = aggregate(rule, shards, scales).flatMap((array) => [...array]);
    oracle(rule, shards, scales).forEach((value, at) => {
      expect(Math.abs(actual[at]! - value)).toBeLessThanOrEqual(2 ** -23 * Math.abs(value) + 1e-12);
    });
  }
});

test('without anything to leave out they are the sum of the gradients', () => {
  const shards = shardsOf(6);
  const sums = columnsOf(guessesOf(shards, evenly(6).fill(1))).map((c) => 6 * meanOf(c));
  for (const rule of [RULES[0]!, RULES[4]!]) {
    const actual = aggregate(rule, shards, evenly(6)).flatMap((array) => [...array]);
    sums.forEach((sum, at) => expect(actual[at]).toBeCloseTo(sum, 5));
  }
});

test('a trimmed mean has the same bits in any order of the micro-shards', () => {
  const shards = shardsOf(9);
  const expected = aggregate(RULES[1]!, shards, evenly(9));
  const turned = [...shards.slice(4), ...shards.slice(0, 4)].reverse();
  expect(aggregate(RULES[1]!, turned, evenly(9))).toEqual(expected);
});

const anyLie = fc.float({ min: Math.fround(-1e30), max: Math.fround(1e30), noNaN: true });

test('property: as many liars as are left out stay between honest values', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 4, max: 12 }),
      fc.array(anyLie, { minLength: 3 }),
      (count, lies) => {
        const bad = Math.floor(0.3 * count);
        const shards = shardsOf(count);
        for (let shard = 0; shard < bad; shard++) {
          shards[shard]!.forEach((array) =>
            array.forEach((_x, at) => (array[at] = lies[at % lies.length]!)),
          );
        }
        const actual = aggregate({ kind: 'trimmedMean', trim: 0.3 }, shards, evenly(count));
        const honest = columnsOf(guessesOf(shards.slice(bad), evenly(count)));
        actual
          .flatMap((array) => [...array])
          .forEach((value, at) => {
            expect(value).toBeGreaterThanOrEqual(Math.fround(Math.min(...honest[at]!)));
            expect(value).toBeLessThanOrEqual(Math.fround(Math.max(...honest[at]!)));
          });
      },
    ),
    { numRuns: 100 },
  );
});

test('property: a liar pulls a clipped mean by the radius over the number of micro-shards a step, however loud it is', () => {
  fc.assert(
    fc.property(fc.integer({ min: 5, max: 12 }), anyLie, (count, lie) => {
      const radius = 2;
      // All honest ones agree, so that only the liar pulls.
      const honest = shardsOf(1)[0]!;
      const shards = Array.from({ length: count }, () => honest.map((array) => array.slice()));
      shards[0]!.forEach((array) => array.fill(lie));
      const actual = aggregate({ kind: 'centeredClip', radius }, shards, evenly(count));
      const apart = actual.flatMap((array, i) =>
        [...array].map((x, at) => x - count * honest[i]![at]!),
      );
      expect(norm(apart)).toBeLessThanOrEqual((3 * radius) / count + 1e-4);
    }),
    { numRuns: 100 },
  );
});

test('a rule is read field by field, and what is none is refused', () => {
  expect(readAggregate('sum')).toBe('sum');
  expect(readAggregate({ kind: 'trimmedMean', trim: 0.1, more: 1 })).toEqual({
    ...{ kind: 'trimmedMean', trim: 0.1 },
  });
  expect(readAggregate({ kind: 'centeredClip', radius: 2 })).toEqual({
    ...{ kind: 'centeredClip', radius: 2 },
  });
  const none = [
    ...[null, 3, 'mean', {}, { kind: 'median' }, { kind: 'trimmedMean' }],
    ...[0.5, -0.1, NaN, '0.1'].map((trim) => ({ kind: 'trimmedMean', trim })),
    ...[0, -1, NaN, Infinity].map((radius) => ({ kind: 'centeredClip', radius })),
  ];
  for (const value of none) expect(readAggregate(value)).toBeNull();
});
