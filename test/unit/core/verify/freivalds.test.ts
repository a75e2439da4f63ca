/**
 * @file The two-stage check of products: lies that it has to find, and honest results that it must not refuse.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import {
  FLOAT32,
  checkProduct,
  drawWeights,
  sketchOf,
} from '../../../../kernel/src/core/verify/freivalds.js';
import type { ProductVerdict } from '../../../../kernel/src/core/verify/freivalds.js';
import type { Matrices } from './lib.js';
import {
  FAMILIES,
  ORDERS,
  bfloat16,
  matricesOf,
  multiply,
  productOf,
  randomOf,
  spread,
} from './lib.js';

type Triple = readonly [number, number, number];

function check(matrices: Matrices, c: Float32Array, random: () => number): ProductVerdict {
  const product = productOf(matrices, c);
  return checkProduct(product, sketchOf(product, drawWeights(matrices.n, random)));
}

/** What a liar hands in instead of `c`. Entries are chosen by `random`. */
type Lie = (c: Float32Array, matrices: Matrices, random: () => number) => void;

const anyOf = (length: number, random: () => number): number => Math.floor(random() * length);

const LIES: Readonly<Record<string, Lie>> = {
  zeros: (c) => c.fill(0),
  'a sign that is flipped everywhere': (c) => {
    c.forEach((value, at) => (c[at] = -value));
  },
  'scaled by 1.001': (c) => {
    c.forEach((value, at) => (c[at] = value * 1.001));
  },
  'one entry off by a twentieth of the spread': (c, _matrices, random) => {
    const at = anyOf(c.length, random);
    c[at] = c[at]! + 0.05 * spread(c);
  },
  'a pair that cancels in the sum of its row': (c, { n, m }, random) => {
    const from = anyOf(m, random) * n;
    const first = from + anyOf(n, random);
    const second = from + ((first - from + 1) % n);
    c[first] = c[first]! + 0.2 * spread(c);
    c[second] = c[second]! - 0.2 * spread(c);
  },
  'a row of zeros': (c, { n, m }, random) => {
    const from = anyOf(m, random) * n;
    c.fill(0, from, from + n);
  },
  '1 % of the entries off': (c, _matrices, random) => {
    const by = spread(c);
    const count = Math.max(1, Math.floor(c.length / 100));
    for (let i = 0; i < count; i++) {
      const at = anyOf(c.length, random);
      c[at] = c[at]! + by;
    }
  },
  'inputs rounded to bfloat16': (c, { m, k, n, a, b }) => {
    const rounded = { m, k, n, a: a.map(bfloat16), b: b.map(bfloat16) };
    c.set(multiply(rounded, ORDERS[0]!));
  },
  'not a number': (c, _matrices, random) => {
    c[anyOf(c.length, random)] = NaN;
  },
  'an infinity': (c, _matrices, random) => {
    c[anyOf(c.length, random)] = -Infinity;
  },
};

const SHAPES: readonly Triple[] = [
  [8, 16, 12],
  [32, 40, 10],
  [6, 300, 9],
];

describe.each(Object.keys(LIES))('the lie: %s', (name) => {
  test.each(['gaussian', 'positive'])('is found, inputs %s', (family) => {
    const random = randomOf(name.length);
    let found = 0;
    const tries = 8 * SHAPES.length;
    for (let index = 0; index < tries; index++) {
      const matrices = matricesOf(SHAPES[index % SHAPES.length]!, FAMILIES[family]!, random);
      const c = multiply(matrices, ORDERS[index % 2]!);
      LIES[name]!(c, matrices, random);
      if (check(matrices, c, random).opinion === 'wrong') found++;
    }
    expect(found).toBe(tries);
  });
});

test('nobody honest is accused: 10,000 products of every family, order of addition and odd shape', () => {
  const shapes: readonly Triple[] = [
    [4, 1, 5],
    [1, 30, 7],
    [5, 9, 1],
    [8, 24, 6],
    [3, 120, 4],
  ];
  const families = Object.values(FAMILIES);
  const random = randomOf(1);
  const accused: string[] = [];
  let computed = 0;
  for (let index = 0; index < 10_000; index++) {
    const shape = shapes[index % shapes.length]!;
    const family = families[Math.floor(index / shapes.length) % families.length]!;
    const matrices = matricesOf(shape, family, random);
    const verdict = check(matrices, multiply(matrices, ORDERS[index % 2]!), random);
    computed += verdict.rowsComputed;
    if (verdict.opinion !== 'right') accused.push(`${String(index)}: ${shape.join('×')}`);
  }
  expect(accused).toEqual([]);
  // The second stage is what heavy tails need; were it never reached, the first would judge.
  expect(computed).toBeGreaterThan(0);
});

test('products of nothing but zeros are right, and a value among them is wrong', () => {
  const [m, k, n] = [3, 4, 2];
  const zeros: Matrices = {
    m,
    k,
    n,
    a: new Float32Array(m * k),
    b: new Float32Array(k * n).fill(3),
  };
  const c = new Float32Array(m * n);
  expect(check(zeros, c, randomOf(3)).opinion).toBe('right');
  c[5] = 1e-6;
  expect(check(zeros, c, randomOf(3))).toMatchObject({ opinion: 'wrong', row: 2, column: 1 });
});

test('summands that are flushed to zero accuse nobody', () => {
  const [m, k, n] = [2, 64, 2];
  const small = new Float32Array(m * k).fill(1e-20);
  const matrices: Matrices = { m, k, n, a: small, b: new Float32Array(k * n).fill(1e-20) };
  expect(check(matrices, new Float32Array(m * n), randomOf(4)).opinion).toBe('right');
});

test('a coarser format that is declared is held to its own unit', () => {
  const random = randomOf(5);
  const matrices = matricesOf([16, 64, 8], FAMILIES['gaussian']!, random);
  const { m, k, n, a, b } = matrices;
  const rounded = { m, k, n, a: a.map(bfloat16), b: b.map(bfloat16) };
  const product = productOf(matrices, multiply(rounded, ORDERS[0]!));
  const sketch = sketchOf(product, drawWeights(n, random));
  expect(checkProduct(product, sketch, FLOAT32).opinion).toBe('wrong');
  const coarse = { unit: 2 ** -8, tiny: 2 ** -126 };
  expect(checkProduct(product, sketch, coarse).opinion).toBe('right');
});
