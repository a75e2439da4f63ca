/**
 * @file Gradients as ordinary programs: every case of the gradient table, differentiated by autograd, on every backend
 * against the float64 oracle; whole models against what PyTorch computed; and a whole step in float16.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import type { OpName } from '@ravenlab/protocol';
import { OP_NAMES } from '@ravenlab/protocol';
import { backward } from '../../kernel/src/core/autograd/backward.js';
import { GraphBuilder } from '../../kernel/src/core/graph/build.js';
import type { GraphNode, LeafNode } from '../../kernel/src/core/graph/node.js';
import { applyOp } from '../../kernel/src/core/graph/node.js';
import { runReference } from '../../kernel/src/core/reference/runReference.js';
import type { Backend } from '../../worker/src/compute/backend.js';
import type { CaseInput, GradCase } from '../unit/core/lib/gradCases.js';
import { GRAD_CASES } from '../unit/core/lib/gradCases.js';
import { boolLeaf, floatLeaf, floats, intLeaf } from '../unit/core/lib/oracle.js';
import { readVectors, vectorOf } from '../unit/core/lib/vectors.js';
import { BACKENDS_UNDER_TEST, expectClose, open, runOnce } from './lib/backends.js';
import { MODEL_NAMES, capture, capturedModel } from './lib/captured.js';
import { FLOAT16_TOLERANCE, float16Step } from './lib/float16Step.js';
import { allowedError } from './lib/support.js';

const g = new GraphBuilder();

function leafOf(input: CaseInput, seed: number): LeafNode {
  const [low, high] = input.range ?? [-1, 1];
  const data = input.values ?? floats(input.shape, seed, low, high);
  if (input.dtype === 'int32') return intLeaf(input.shape, data);
  if (input.dtype === 'bool') return boolLeaf(input.shape, data);
  return floatLeaf(input.shape, data);
}

/** Gradients of Σ w∘op(x), with fixed w, for the float inputs that have one. */
function gradientsOf(op: OpName, { inputs, params }: GradCase<OpName>): GraphNode[] {
  const leaves = inputs.map((input, index) => leafOf(input, index + 1));
  const y = applyOp(op, leaves, params as never);
  if (y.type.dtype !== 'float32') return [];
  const axes = y.type.shape.map((_, axis) => axis);
  const weights = floatLeaf(y.type.shape, floats(y.type.shape, 9, 0.5, 1.5));
  const loss = applyOp('sum', [g.mul(y, weights)], { axes, keepDims: false });
  const wanted = leaves.filter(({ type }) => type.dtype === 'float32');
  return backward(loss, wanted).filter((gradient) => gradient !== null);
}

const DIFFERENTIABLE = OP_NAMES.filter((op) => GRAD_CASES[op].length > 0);

test('most ops have a gradient to check', () => {
  expect(DIFFERENTIABLE.length).toBeGreaterThan(40);
});

describe.each(BACKENDS_UNDER_TEST)('%s', (name) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await open(name);
  });
  afterAll(() => backend.dispose());

  test.each(DIFFERENTIABLE)('the gradient of %s agrees with the oracle', (op) => {
    const problems: string[] = [];
    for (const gradCase of GRAD_CASES[op] as readonly GradCase<OpName>[]) {
      const gradients = gradientsOf(op, gradCase);
      if (gradients.length === 0) continue;
      const { program, inputs } = capture(gradients);
      try {
        const actual = runOnce(backend, program, inputs);
        const expected = runReference(program, inputs);
        expected.forEach((values, i) =>
          expectClose(actual[i]!, values, `output ${i}`, allowedError(name, op)),
        );
      } catch (error) {
        problems.push(`${gradCase.name}: ${String(error)}`);
      }
    }
    expect(problems).toEqual([]);
  });

  test.each(MODEL_NAMES)('loss and gradients of the %s are those of PyTorch', (model) => {
    const vectors = readVectors(model);
    const { program, inputs, outputIndex, names } = capturedModel(model);
    const outputs = runOnce(backend, program, inputs);
    outputIndex.forEach((position, index) => {
      const what = names[index]!;
      const expected = what === 'loss' ? [vectors.loss] : vectorOf(vectors, `grad/${what}`).data;
      expectClose(outputs[position]!, expected, `${model}, ${what}`);
    });
  });

  test('a step in float16 gives the loss and the gradients of the oracle', () => {
    const { program, inputs, outputIndex } = float16Step(2 ** 10);
    const [actual, expected] = [runOnce(backend, program, inputs), runReference(program, inputs)];
    expect(outputIndex).toHaveLength(5);
    for (const output of outputIndex) {
      const wanted = expected[output] ?? [];
      const largest = Array.from(wanted).reduce(
        (most, value) => Math.max(most, Math.abs(value)),
        0,
      );
      const off = Array.from(actual[output] ?? [], (value, i) =>
        Math.abs(value - (wanted[i] ?? NaN)),
      );
      expect(off).toHaveLength(wanted.length);
      expect(Math.max(...off)).toBeLessThanOrEqual(FLOAT16_TOLERANCE * largest);
    }
    expect(Array.from(actual[outputIndex[4] ?? -1] ?? [])).toEqual([0, 0]);
  });

  test('a step in float16 says that gradients overflow, in numbers that can be added up', () => {
    const { program, inputs, outputIndex } = float16Step(2 ** 24);
    const outputs = runOnce(backend, program, inputs);
    expect(outputs.every((values) => Array.from(values).every(Number.isFinite))).toBe(true);
    expect(outputs[outputIndex[4] ?? -1]?.[0]).toBeGreaterThan(0);
  });
});
