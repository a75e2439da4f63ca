/** @file Whole models, built from raw ops and run on the oracle, against what PyTorch computed for them. */
import { backward } from '../../../../kernel/src/core/autograd/backward.js';
import type { GraphNode, LeafNode } from '../../../../kernel/src/core/graph/node.js';
import { inlineLeaf } from '../../../../kernel/src/core/graph/node.js';
import { MODELS } from '../lib/models.js';
import { evaluate, expectClose } from '../lib/oracle.js';
import type { Vectors } from '../lib/vectors.js';
import { readVectors, vectorOf } from '../lib/vectors.js';

const PARAM = 'param/';

function parameterNames(vectors: Vectors): string[] {
  return [...vectors.tensors.keys()]
    .filter((name) => name.startsWith(PARAM))
    .map((name) => name.slice(PARAM.length));
}

function leafFor(vectors: Vectors, name: string): LeafNode {
  const { type, data } = vectorOf(vectors, name);
  return inlineLeaf(data, type);
}

interface Built {
  readonly names: readonly string[];
  readonly leaves: readonly LeafNode[];
  readonly logits: GraphNode;
  readonly loss: GraphNode;
  readonly gradients: readonly GraphNode[];
}

function build(model: string, vectors: Vectors): Built {
  const names = parameterNames(vectors);
  const leaves = names.map((name) => leafFor(vectors, `${PARAM}${name}`));
  const tensors = Object.fromEntries(names.map((name, k) => [name, leaves[k]!]));
  tensors['x'] = leafFor(vectors, 'x');
  tensors['target'] = leafFor(vectors, 'target');
  const { logits, loss } = MODELS[model]!(tensors);
  const gradients = backward(loss, leaves).map((gradient, k) => {
    if (gradient === null) throw new Error(`the loss does not depend on ${names[k]!}`);
    return gradient;
  });
  return { names, leaves, logits, loss, gradients };
}

/** Adam as published (Kingma & Ba 2015, algorithm 1), in float64. */
function trainWithAdam(built: Built, steps: number, lr: number): number[] {
  const [beta1, beta2, epsilon] = [0.9, 0.999, 1e-8];
  const weights = new Map<GraphNode, Float64Array>();
  for (const leaf of built.leaves) {
    if (leaf.leaf.kind === 'inline') weights.set(leaf, Float64Array.from(leaf.leaf.data));
  }
  const zeros = (): Float64Array[] =>
    built.leaves.map((leaf) => new Float64Array(weights.get(leaf)!.length));
  const [m, v] = [zeros(), zeros()];
  const losses: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const [loss, ...gradients] = evaluate([built.loss, ...built.gradients], weights);
    losses.push(loss![0]!);
    gradients.forEach((gradient, k) => {
      const weight = weights.get(built.leaves[k]!)!;
      for (let i = 0; i < weight.length; i++) {
        m[k]![i] = beta1 * m[k]![i]! + (1 - beta1) * gradient[i]!;
        v[k]![i] = beta2 * v[k]![i]! + (1 - beta2) * gradient[i]! ** 2;
        const meanHat = m[k]![i]! / (1 - beta1 ** step);
        const squareHat = v[k]![i]! / (1 - beta2 ** step);
        weight[i] = weight[i]! - (lr * meanHat) / (Math.sqrt(squareHat) + epsilon);
      }
    });
  }
  losses.push(evaluate([built.loss], weights)[0]![0]!);
  return losses;
}

describe.each(Object.keys(MODELS))('%s', (model) => {
  const vectors = readVectors(model);
  const built = build(model, vectors);

  test('has the loss, the logits and every gradient of PyTorch', () => {
    const [loss, logits, ...gradients] = evaluate([built.loss, built.logits, ...built.gradients]);
    expectClose(loss!, [vectors.loss], { rtol: 1e-9, what: 'loss' });
    const tolerance = { rtol: 1e-4, atol: 1e-7 };
    expectClose(logits!, vectorOf(vectors, 'logits').data, { ...tolerance, what: 'logits' });
    built.names.forEach((name, k) => {
      const expected = vectorOf(vectors, `grad/${name}`);
      expect(built.gradients[k]!.type.shape).toEqual(expected.type.shape);
      expectClose(gradients[k]!, expected.data, { ...tolerance, what: `gradient of ${name}` });
    });
  });

  test('follows the loss of PyTorch over 20 Adam steps', () => {
    const losses = trainWithAdam(built, vectors.adam.steps, vectors.adam.lr);
    expect(losses).toHaveLength(21);
    expectClose(losses, vectors.losses, { rtol: 1e-4, what: 'loss' });
    expect(losses[20]!).toBeLessThan(losses[0]! / 2);
  });
});
