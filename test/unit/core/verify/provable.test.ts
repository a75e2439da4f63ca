/** @file Which outputs can be checked without running the program: what may stand before and behind a product, and what it may cost. */
import { verifyProgram } from '@ravenlab/protocol';
import { proofOf } from '../../../../kernel/src/core/verify/provable.js';
import { ProgramBuilder } from './lib.js';

const [M, K, N] = [96, 128, 112];

/** x [M, K], w [N, K], bias [N] and what `make` makes of them. */
function programOf(make: (b: ProgramBuilder, x: number, w: number, bias: number) => number[]) {
  const b = new ProgramBuilder();
  const [x, w, bias] = [b.input([M, K]), b.input([N, K]), b.input([N])];
  const program = b.program(...make(b, x, w, bias));
  verifyProgram(program);
  return program;
}

const outputsOf = (make: Parameters<typeof programOf>[0]) =>
  (proofOf(programOf(make))?.outputs ?? []).map(({ output }) => output);

test('a linear layer is checked with its bias, at a twentieth of its cost at most', () => {
  const program = programOf((b, x, w, bias) => [b.op('add', [b.product(x, w, false, true), bias])]);
  const proof = proofOf(program);
  expect(proof).toMatchObject({ inputs: [0, 1, 2], nodes: [] });
  expect(proof?.outputs).toEqual([
    { output: 0, node: 0, addends: [{ value: 2, node: 1 }], roundings: 0 },
  ]);
  expect(proof?.flops).toBe(2 * (M * K + K * N + 2 * M * N));
});

test('the sum may stand on either side, and shapes may change behind the product', () => {
  expect(
    outputsOf((b, x, w, bias) => {
      const product = b.product(x, w, false, true);
      return [b.op('reshape', [b.op('add', [bias, product])], { shape: [M * N] })];
    }),
  ).toEqual([0]);
});

test('operands may be moved, selected and rounded once; each product before counts a rounding', () => {
  const program = programOf((b, x, w) => {
    const half = b.op('full', [], { shape: [], dtype: 'float32', value: 0.5 });
    const scaled = b.op('mul', [b.op('relu', [x]), half]);
    return [b.product(scaled, b.op('transpose', [w], { perm: [1, 0] }))];
  });
  expect(proofOf(program)).toMatchObject({
    ...{ inputs: [0, 1], nodes: [0, 1, 2, 3] },
    outputs: [{ output: 0, roundings: 1 }],
  });
});

test('operands in float16 are as good as others', () => {
  const program = programOf((b, x, w) => [
    b.product(b.op('roundFloat16', [x]), b.op('roundFloat16', [w]), false, true),
  ]);
  expect(proofOf(program)).toMatchObject({ nodes: [0, 1], outputs: [{ output: 0, roundings: 0 }] });
});

test.each<readonly [string, Parameters<typeof programOf>[0]]>([
  ['a function of the product', (b, x, w) => [b.op('relu', [b.product(x, w, false, true)])]],
  [
    'a product of what backends round differently',
    (b, x, w) => [b.product(b.op('exp', [x]), w, false, true)],
  ],
  ['a product of a product', (b, x, w) => [b.product(b.product(x, w, false, true), w)]],
  [
    'a sum of two products',
    (b, x, w) => {
      const product = b.product(x, w, false, true);
      return [b.op('add', [product, b.product(b.op('neg', [x]), w, false, true)])];
    },
  ],
  [
    'a product that is spread out',
    (b, x, w) => {
      const row = b.op('slice', [x], { begin: [0, 0], end: [1, K], step: [1, 1] });
      const zeros = b.op('full', [], { shape: [M, N], dtype: 'float32', value: 0 });
      return [b.op('add', [b.product(row, w, false, true), zeros])];
    },
  ],
  ['an input, and what is made of it without a product', (b, x) => [b.op('neg', [x])]],
])('%s is left to audits', (_name, make) => {
  expect(proofOf(programOf(make))).toBeNull();
});

test('a narrow product costs as much to read as to make, and is left to audits', () => {
  const b = new ProgramBuilder();
  const [x, w] = [b.input([64, 784]), b.input([784, 10])];
  expect(proofOf(b.program(b.product(x, w)))).toBeNull();
});

test('of several outputs those are checked that there is room for', () => {
  const b = new ProgramBuilder();
  const [x, w] = [b.input([M, K]), b.input([N, K])];
  const [y, v] = [b.input([2_000, K]), b.input([2, K])];
  const wide = b.product(x, w, false, true);
  const narrow = b.product(y, v, false, true);
  const proof = proofOf(b.program(b.op('exp', [wide]), narrow, wide));
  expect(proof?.outputs.map(({ output }) => output)).toEqual([2]);
});
