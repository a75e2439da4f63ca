/**
 * @file Freivalds' check against real float32 results: every conformance case of the ops that it reads, on every backend,
 * as the backend made them and with one value changed.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import type { TensorData } from '@ravenlab/protocol';
import { inferOp } from '@ravenlab/protocol';
import { checkProduct, drawWeights, sketchOf } from '../../kernel/src/core/verify/freivalds.js';
import { checkUnit } from '../../kernel/src/core/verify/checkUnit.js';
import type { CheckedOp } from '../../kernel/src/core/verify/products.js';
import { CHECKED_OPS, productsOf } from '../../kernel/src/core/verify/products.js';
import { proofOf } from '../../kernel/src/core/verify/provable.js';
import type { Backend } from '../../worker/src/compute/backend.js';
import { GRAD_CASES } from '../unit/core/lib/gradCases.js';
import { floats } from '../unit/core/lib/oracle.js';
import { ProgramBuilder, randomOf } from '../unit/core/verify/lib.js';
import { BACKENDS_UNDER_TEST, inputData, open, programOf, runOnce } from './lib/backends.js';
import type { ForwardCase } from './lib/caseInputs.js';
import { FORWARD_CASES } from './lib/cases.js';

/** The cases of one op; those of its gradient are cases of it as well. */
function casesOf(op: CheckedOp): readonly ForwardCase<CheckedOp>[] {
  const own = FORWARD_CASES[op] as readonly ForwardCase<CheckedOp>[];
  const ofGradients = GRAD_CASES[op].map(({ name, inputs, params }) => ({
    name: `${name} (gradient case)`,
    inputs: inputs.map(({ shape }) => ({ dtype: 'float32' as const, shape })),
    params,
  }));
  return [...own, ...(ofGradients as ForwardCase<CheckedOp>[])];
}

/** Says of results of one case whether they are accepted. What is drawn and multiplied for the check is so once a case. */
function judgeOf(
  op: CheckedOp,
  { inputs, params }: ForwardCase<CheckedOp>,
  data: readonly TensorData[],
): (result: TensorData) => boolean {
  const types = inputs.map(({ dtype, shape }) => ({ dtype, shape }));
  const type = inferOp(op, types, params as never);
  const productsWith = (result: TensorData) =>
    productsOf(op, {
      params: params,
      inputs: types.map((each, index) => ({ type: each, data: data[index]! })),
      output: { type, data: result },
    });
  const random = randomOf(1);
  let sketches: ReturnType<typeof sketchOf>[] | null = null;
  return (result) => {
    const products = productsWith(result);
    sketches ??= products.map((each) => sketchOf(each, drawWeights(each.columns, random)));
    return products.every((each, at) => checkProduct(each, sketches![at]!).opinion === 'right');
  };
}

describe.each(BACKENDS_UNDER_TEST)('%s', (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await open(name);
  });
  afterAll(() => backend.dispose());

  test.each(CHECKED_OPS)('%s: results are accepted, and refused with one value changed', (op) => {
    const problems: string[] = [];
    for (const test of casesOf(op)) {
      const data = test.inputs.map((input, index) => inputData(input, index + 1));
      const types = test.inputs.map(({ dtype, shape }) => ({ dtype, shape }));
      const [result] = runOnce(backend, programOf(op, types, test.params as never), data);
      const isAccepted = judgeOf(op, test, data);
      if (!isAccepted(result!)) problems.push(`${test.name}: an honest result is refused`);
      for (let at = 0; at < result!.length; at += Math.ceil(result!.length / 8)) {
        const wrong = result!.slice();
        wrong[at] = wrong[at]! + 1;
        if (isAccepted(wrong)) problems.push(`${test.name}: value ${at} is off by one`);
      }
    }
    expect(problems).toEqual([]);
  });

  test('a layer with its bias: what a group of units answers is accepted, and refused with one value changed', () => {
    const b = new ProgramBuilder();
    const [x, w, bias] = [b.input([96, 120]), b.input([104, 120]), b.input([104])];
    const scale = b.op('full', [], { shape: [], dtype: 'float32', value: 0.3 });
    const scaled = b.op('mul', [b.op('relu', [x]), scale]);
    const program = b.program(b.op('add', [b.product(scaled, w, false, true), bias]));
    const proof = proofOf(program)!;
    const inputs = program.inputs.map(({ shape }, index) => floats(shape, index + 1));
    const [honest] = runOnce(backend, program, inputs) as [Float32Array];
    const opinionOf = (data: Float32Array, count: number) => {
      const shards = Array.from({ length: count }, () => inputs);
      const answers = [{ data, isSum: count > 1 }];
      return checkUnit({ program, proof, shards, answers }, randomOf(2)).opinion;
    };
    expect(opinionOf(honest, 1)).toBe('right');
    const sum = honest.map((value) => value + value);
    expect(opinionOf(sum, 2)).toBe('right');
    sum[700] = sum[700]! * 1.001;
    expect(opinionOf(sum, 2)).toBe('wrong');
  });
});
