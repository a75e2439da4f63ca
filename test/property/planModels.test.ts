/**
 * @file Whole models cut into micro-shards on the oracle equal the uncut model: loss, logits and every gradient.
 */
import * as fc from 'fast-check';
import { backward } from '../../kernel/src/core/autograd/backward.js';
import type { GraphNode } from '../../kernel/src/core/graph/node.js';
import { inlineLeaf } from '../../kernel/src/core/graph/node.js';
import { plan } from '../../kernel/src/core/plan/plan.js';
import type { Model } from '../unit/core/lib/models.js';
import { cnnModel, gru, mlp, transformer } from '../unit/core/lib/models.js';
import {
  evaluate,
  expectClose,
  floatLeaf,
  floats,
  intLeaf,
  prng,
} from '../unit/core/lib/oracle.js';
import { runPlan } from '../unit/core/lib/planRunner.js';
import { readVectors } from '../unit/core/lib/vectors.js';

interface Kind {
  readonly name: string;
  readonly vectors: string;
  readonly model: Model;
  readonly input: (rows: number, seed: number) => GraphNode;
  readonly target: (rows: number, seed: number) => GraphNode;
}

function indices(shape: readonly number[], classes: number, seed: number): GraphNode {
  const random = prng(seed);
  const size = shape.reduce((product, extent) => product * extent, 1);
  return intLeaf(
    shape,
    Array.from({ length: size }, () => Math.floor(random() * classes)),
    0,
  );
}

const image = (rows: number, seed: number): GraphNode =>
  floatLeaf([rows, 1, 12, 12], floats([rows, 1, 12, 12], seed), 0);

const KINDS: readonly Kind[] = [
  {
    name: 'MLP',
    vectors: 'mlp',
    model: mlp,
    input: (rows, seed) => floatLeaf([rows, 20], floats([rows, 20], seed), 0),
    target: (rows, seed) => indices([rows], 5, seed),
  },
  {
    name: 'CNN with group norm',
    vectors: 'cnn',
    model: cnnModel(false),
    input: image,
    target: (rows, seed) => indices([rows], 5, seed),
  },
  {
    name: 'unrolled GRU',
    vectors: 'gru',
    model: gru,
    input: (rows, seed) => indices([rows, 5], 30, seed),
    target: (rows, seed) => indices([rows], 30, seed),
  },
  {
    name: 'attention block',
    vectors: 'transformer',
    model: transformer,
    input: (rows, seed) => indices([rows, 6], 20, seed),
    target: (rows, seed) => indices([rows, 6], 20, seed),
  },
];

const PARAM = 'param/';

function parameters(name: string): Record<string, GraphNode> {
  const entries = [...readVectors(name).tensors]
    .filter(([key]) => key.startsWith(PARAM))
    .map(([key, { type, data }]) => [key.slice(PARAM.length), inlineLeaf(data, type)] as const);
  return Object.fromEntries(entries);
}

function outputsOf(kind: Kind, rows: number, seed: number): GraphNode[] {
  const weights = parameters(kind.vectors);
  const tensors = { ...weights, x: kind.input(rows, seed), target: kind.target(rows, seed + 1) };
  const { loss, logits } = kind.model(tensors);
  const gradients = backward(loss, Object.values(weights));
  expect(gradients).not.toContain(null);
  return [loss, logits, ...(gradients as GraphNode[])];
}

describe.each(KINDS)('$name', (kind) => {
  test('gives the same loss, logits and gradients however it is cut', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 9 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 0, max: 1000 }),
        (rows, microShard, seed) => {
          const outputs = outputsOf(kind, rows, seed);
          const planned = plan(outputs, { microShard });
          expect(planned.note).toBeNull();
          expect(planned.shards).toHaveLength(Math.ceil(rows / microShard));
          const actual = runPlan(planned);
          evaluate(outputs).forEach((expected, k) => {
            expectClose(actual[k]!, expected, { rtol: 1e-9, atol: 1e-11, what: `output ${k}` });
          });
        },
      ),
      { numRuns: 8, seed: 7 },
    );
  });

  test('sends sums of gradients and rows of logits, and gives the same bits in any order', () => {
    const planned = plan(outputsOf(kind, 7, 3), { microShard: 2 });
    const combine = planned.outputIndex.map((index) => planned.outputs[index]!.combine);
    expect(combine[0]).toBe('sum');
    expect(combine[1]).toBe('concat');
    expect(new Set(combine.slice(2))).toEqual(new Set(['sum']));
    expect(runPlan(planned, {}, [3, 1, 0, 2])).toEqual(runPlan(planned));
  });
});
