/**
 * @file Answers held against the inputs of their unit: lies that have to be found, honest ones that must not be refused.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import type { Program } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { CheckVerdict, ShardInputs } from '../../../../kernel/src/core/verify/checkUnit.js';
import { checkUnit } from '../../../../kernel/src/core/verify/checkUnit.js';
import { proofOf } from '../../../../kernel/src/core/verify/provable.js';
import type { Family } from './lib.js';
import { FAMILIES, ProgramBuilder, answerOf, randomOf, spread } from './lib.js';

function linear(): Program {
  const b = new ProgramBuilder();
  const [x, w, bias] = [b.input([96, 120]), b.input([104, 120]), b.input([104])];
  const half = b.op('full', [], { shape: [], dtype: 'float32', value: 0.3 });
  const scaled = b.op('mul', [b.op('relu', [x]), half]);
  return b.program(b.op('add', [b.product(scaled, w, false, true), bias]));
}

function conv(): Program {
  const b = new ProgramBuilder();
  const [x, w, bias] = [b.input([4, 24, 6, 6]), b.input([32, 24, 3, 3]), b.input([32, 1, 1])];
  const window = { stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1 };
  return b.program(b.op('add', [b.op('conv2d', [x, w], window), bias]));
}

/** The gradient of a weight: summed over micro-shards, so it is one product with a longer inner axis. */
function gradient(): Program {
  const b = new ProgramBuilder();
  const [x, dy] = [b.input([80, 72]), b.input([80, 88])];
  return b.program(b.product(x, dy, true));
}

function inputsOf(program: Program, family: Family, random: () => number): Float32Array[] {
  return program.inputs.map(({ shape }) => {
    const width = shape.at(-1) ?? 1;
    const row = (at: number): number => Math.floor(at / width);
    return Float32Array.from({ length: sizeOf(shape) }, (_none, at) => family(random, row(at)));
  });
}

function check(
  program: Program,
  shards: readonly ShardInputs[],
  data: Float32Array,
  isSum = false,
): CheckVerdict {
  const proof = proofOf(program);
  if (proof === null) throw new Error('nothing can be checked');
  return checkUnit({ program, proof, shards, answers: [{ data, isSum }] }, randomOf(7));
}

/** As the drill's liars lie. */
const LIES: Readonly<Record<string, (honest: Float32Array, other: Float32Array) => void>> = {
  zeros: (honest) => honest.fill(0),
  'what another unit gives': (honest, other) => {
    honest.set(other);
  },
  'the sign is flipped': (honest) => {
    honest.forEach((value, at) => (honest[at] = -value));
  },
  'scaled by 1.01': (honest) => {
    honest.forEach((value, at) => (honest[at] = 1.01 * value));
  },
  'one value in a hundred is off': (honest) => {
    for (let at = 0; at < honest.length; at += 100) honest[at]! += 0.05 * spread(honest);
  },
  'a single value is off': (honest) => {
    honest[honest.length >> 1]! += 0.05 * spread(honest);
  },
};

describe.each([
  ['a linear layer', linear],
  ['a convolution with a bias', conv],
])('%s', (_name, make) => {
  const program = make();

  test.each(Object.keys(LIES))('a lie is found: %s', (lie) => {
    const random = randomOf(lie.length);
    const [inputs, others] = [0, 1].map(() => inputsOf(program, FAMILIES['gaussian']!, random));
    const answer = answerOf(program, inputs!)[0]!;
    LIES[lie]!(answer, answerOf(program, others!)[0]!);
    expect(check(program, [inputs!], answer)).toMatchObject({ opinion: 'wrong', output: 0 });
  });

  test.each(Object.keys(FAMILIES))('an honest answer is never refused: %s', (family) => {
    const random = randomOf(family.length);
    for (let times = 0; times < 3; times++) {
      const inputs = inputsOf(program, FAMILIES[family]!, random);
      const { opinion } = check(program, [inputs], answerOf(program, inputs)[0]!);
      expect(opinion).not.toBe('wrong');
    }
  });
});

describe('a sum over micro-shards', () => {
  const program = gradient();
  const random = randomOf(3);
  const shards = [0, 1, 2].map(() => inputsOf(program, FAMILIES['heavy tails']!, random));
  const parts = shards.map((inputs) => answerOf(program, inputs)[0]!);

  /** Added up in float32, as a worker does. */
  function sumOf(some: readonly Float32Array[]): Float32Array {
    return some.reduce((sum, part) => sum.map((value, at) => value + part[at]!));
  }

  test('is right when all of them are in it', () => {
    expect(check(program, shards, sumOf(parts), true).opinion).not.toBe('wrong');
  });

  test('is wrong when one is left out, or counted twice', () => {
    expect(check(program, shards, sumOf(parts.slice(1)), true).opinion).toBe('wrong');
    expect(check(program, shards, sumOf([...parts, parts[0]!]), true).opinion).toBe('wrong');
  });
});

test('who stays just within the bound everywhere is repeated: the check does not become as dear as the product', () => {
  const program = gradient();
  const inputs = inputsOf(program, FAMILIES['positive']!, randomOf(5));
  const answer = answerOf(program, inputs)[0]!;
  // Thirty roundings on every value: no single row is beyond what 64 additions may do.
  const bent = answer.map((value) => value * (1 + 30 * 2 ** -24));
  expect(check(program, [inputs], bent).opinion).toBe('unclear');
});

test('what is not checked is not looked at', () => {
  const program = linear();
  const inputs = inputsOf(program, FAMILIES['gaussian']!, randomOf(1));
  const proof = proofOf(program)!;
  const shards = [inputs];
  expect(checkUnit({ program, proof, shards, answers: [null] }, randomOf(1)).opinion).toBe('right');
});
