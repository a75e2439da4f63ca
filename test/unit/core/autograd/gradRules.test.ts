/**
 * @file Every row of the gradient table against central differences on the float64 oracle, first and second order.
 *
 * L(x) = Σ w∘op(x) with fixed random w. dL/dxᵢ ≈ (L(x + h·eᵢ) - L(x - h·eᵢ)) / 2h.
 */
import type { OpName } from '@ravenlab/protocol';
import { AutogradError, OP_NAMES, sizeOf } from '@ravenlab/protocol';
import { backward } from '../../../../kernel/src/core/autograd/backward.js';
import { GRAD_RULES } from '../../../../kernel/src/core/autograd/gradRules.js';
import { GraphBuilder } from '../../../../kernel/src/core/graph/build.js';
import type { GraphNode, LeafNode } from '../../../../kernel/src/core/graph/node.js';
import { applyOp } from '../../../../kernel/src/core/graph/node.js';
import type { CaseInput, GradCase } from '../lib/gradCases.js';
import { GRAD_CASES, TESTED_BY_NAME } from '../lib/gradCases.js';
import { boolLeaf, evaluate, expectClose, floatLeaf, floats, intLeaf } from '../lib/oracle.js';

const STEP = 1e-5;
const g = new GraphBuilder();

function leafOf(input: CaseInput, seed: number): LeafNode {
  const [low, high] = input.range ?? [-1, 1];
  const data = input.values ?? floats(input.shape, seed, low, high);
  if (input.dtype === 'int32') return intLeaf(input.shape, data);
  if (input.dtype === 'bool') return boolLeaf(input.shape, data);
  return floatLeaf(input.shape, data);
}

/** Σ w∘x with fixed weights in 0.5 … 1.5 of alternating sign, so that no error cancels. */
function weighted(x: GraphNode, seed: number): GraphNode {
  const data = floats(x.type.shape, seed, 0.5, 1.5).map((w, i) => (i % 3 === 0 ? -w : w));
  const product = g.mul(x, floatLeaf(x.type.shape, data));
  return applyOp('sum', [product], { axes: x.type.shape.map((_, i) => i), keepDims: false });
}

function scalarOf(loss: GraphNode, feeds: Map<GraphNode, ArrayLike<number>>): number {
  return evaluate([loss], feeds)[0]![0]!;
}

function centralDifferences(loss: GraphNode, leaf: LeafNode): Float64Array {
  if (leaf.leaf.kind !== 'inline') throw new Error('not an inline leaf');
  const base = Float64Array.from(leaf.leaf.data);
  return base.map((value, i) => {
    const at = (x: number): number => {
      const moved = base.slice();
      moved[i] = x;
      return scalarOf(loss, new Map([[leaf, moved]]));
    };
    return (at(value + STEP) - at(value - STEP)) / (2 * STEP);
  });
}

function checkGradients(loss: GraphNode, leaves: readonly LeafNode[], what: string): GraphNode[] {
  const gradients = backward(loss, leaves);
  return leaves.map((leaf, k) => {
    const gradient = gradients[k] ?? g.full(leaf.type.shape, 0);
    expect(gradient.type).toEqual(leaf.type);
    const [actual] = evaluate([gradient]);
    const expected = centralDifferences(loss, leaf);
    expectClose(actual!, expected, { rtol: 1e-5, atol: 2e-8, what: `${what}, input ${String(k)}` });
    return gradient;
  });
}

function casesOf(op: OpName): readonly GradCase<OpName>[] {
  return GRAD_CASES[op];
}

function differentiable(op: OpName): boolean {
  return GRAD_RULES[op].some((rule) => rule !== null);
}

describe('the gradient table', () => {
  test('has a case for every row that passes a gradient on', () => {
    const missing = OP_NAMES.filter(
      (op) => differentiable(op) && casesOf(op).length === 0 && !TESTED_BY_NAME.includes(op),
    );
    expect(missing).toEqual([]);
  });

  const cases = OP_NAMES.flatMap((op) => casesOf(op).map((c) => [op, c.name, c] as const));
  test.each(cases)('%s: %s equals central differences', (op, name, c) => {
    const inputs = c.inputs.map((input, k) => leafOf(input, 100 + k));
    const leaves = inputs.filter((leaf) => leaf.type.dtype === 'float32');
    const loss = weighted(applyOp(op, inputs, c.params), 7);
    const gradients = checkGradients(loss, leaves, `${op}: ${name}`);
    if (c.twice === false) return;
    const second = gradients
      .map((gradient, k) => weighted(gradient, 40 + k))
      .reduce((sum, term) => g.add(sum, term));
    checkGradients(second, leaves, `${op}: ${name}, second order`);
  });

  const flat = OP_NAMES.filter((op) => !differentiable(op));
  test('stops at exactly the ops that are flat, integer or sources', () => {
    expect([...flat].sort()).toEqual(
      [
        ...['argMax', 'equal', 'floor', 'full', 'greater', 'greaterEqual', 'iota', 'less'],
        ...['lessEqual', 'logicalAnd', 'logicalNot', 'logicalOr', 'notEqual', 'oneHot'],
        ...['randomUniform', 'sign'],
      ].sort(),
    );
  });

  test('passes nothing through floor and sign', () => {
    const x = floatLeaf([3], [0.2, -0.7, 1.4]);
    for (const op of ['floor', 'sign'] as const) {
      expect(backward(weighted(applyOp(op, [x], {}), 3), [x])).toEqual([null]);
    }
  });

  test('roundFloat16 passes its gradient straight through', () => {
    const x = floatLeaf([2], [0.2, 1 + 2 ** -11]);
    const dy = floatLeaf([2], [3, -5]);
    const loss = g.mul(applyOp('roundFloat16', [x], {}), dy);
    const all = applyOp('sum', [loss], { axes: [0], keepDims: false });
    const [gradient] = backward(all, [x]);
    expect([...evaluate([gradient!])[0]!]).toEqual([3, -5]);
  });

  test('finiteOr has no gradient where something stands in', () => {
    const x = floatLeaf([3], [2, NaN, -Infinity]);
    const dy = floatLeaf([3], [3, -5, 7]);
    const loss = g.mul(applyOp('finiteOr', [x], { value: 1 }), dy);
    const all = applyOp('sum', [loss], { axes: [0], keepDims: false });
    const [gradient] = backward(all, [x]);
    expect([...evaluate([gradient!])[0]!]).toEqual([3, 0, 0]);
  });

  test('normalizeGrad is linear in its gradient and refuses its input', () => {
    const x = floatLeaf([2, 3], floats([2, 3], 1));
    const dy = floatLeaf([2, 3], floats([2, 3], 2));
    const params = { axes: [1], epsilon: 1e-3 };
    const loss = weighted(applyOp('normalizeGrad', [x, dy], params), 5);
    checkGradients(loss, [dy], 'normalizeGrad');
    expect(() => backward(loss, [x])).toThrow(AutogradError);
    expect(() => backward(loss, [x])).toThrow(/normalizeGrad cannot be differentiated again/);
  });

  test('maxPool2dGrad says that it has no second derivative', () => {
    const x = floatLeaf([1, 1, 2, 2], [1, 2, 3, 4]);
    const params = { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] };
    const square = applyOp('maxPool2d', [g.mul(x, x)], params);
    const [first] = backward(weighted(square, 1), [x]);
    const loss = weighted(g.mul(first!, first!), 2);
    expect(() => backward(loss, [x])).not.toThrow();
    const dy = floatLeaf([1, 1, 1, 1], [2]);
    const pooled = weighted(applyOp('maxPool2dGrad', [x, dy], params), 3);
    expect(() => backward(pooled, [dy])).toThrow(/maxPool2dGrad cannot be differentiated again/);
  });
});

describe('sizes of gradient graphs', () => {
  test('relu of a linear layer costs no transpose, no ones and no zero-fill', () => {
    const x = floatLeaf([4, 3], floats([4, 3], 1));
    const w = floatLeaf([2, 3], floats([2, 3], 2));
    const b = floatLeaf([2], [0.1, -0.2]);
    const y = applyOp('relu', [g.add(g.matMul(x, w, false, true), b)], {});
    const gradients = backward(g.sum(y, [0, 1]), [w, b]);
    const ops = countOps(gradients as GraphNode[]);
    expect(ops['transpose']).toBeUndefined();
    expect(ops['mul']).toBeUndefined();
    expect(ops['matMul']).toBe(2);
    expect(sizeOf(gradients[0]!.type.shape)).toBe(6);
  });

  test('a weight shared by every time step contracts them in one 2-D matMul', () => {
    const x = floatLeaf([2, 5, 3], floats([2, 5, 3], 1));
    const w = floatLeaf([4, 3], floats([4, 3], 2));
    const h = g.matMul(x, w, false, true);
    const [dw] = backward(weighted(h, 3), [w]);
    expect(countOps([dw!])['sum']).toBeUndefined();
    expect(dw!.type.shape).toEqual([4, 3]);
  });

  test('slices of one sequence come back as one concat', () => {
    const x = floatLeaf([2, 6], floats([2, 6], 1));
    const parts = [0, 2, 4].map((begin) => g.sliceAxis(x, 1, begin, begin + 2));
    const loss = parts
      .map((part, k) => weighted(applyOp('tanh', [part], {}), k))
      .reduce((sum, term) => g.add(sum, term));
    const [dx] = checkGradients(loss, [x], 'slices');
    expect(countOps([dx!])['concat']).toBe(1);
    expect(countOps([dx!])['pad']).toBeUndefined();
  });

  test('slices with gaps and overlaps still give the right gradient', () => {
    const x = floatLeaf([7], floats([7], 1));
    for (const ranges of [
      [
        [1, 3],
        [5, 6],
      ],
      [
        [0, 4],
        [2, 6],
      ],
    ]) {
      const loss = ranges
        .map(([begin, end], k) => weighted(g.unary('exp', g.sliceAxis(x, 0, begin!, end!)), k))
        .reduce((sum, term) => g.add(sum, term));
      checkGradients(loss, [x], JSON.stringify(ranges));
    }
  });

  test('cross entropy from logSoftmax and oneHot stays compact', () => {
    const logits = floatLeaf([4, 3], floats([4, 3], 1));
    const target = applyOp('oneHot', [intLeaf([4], [0, 2, 1, 2])], { depth: 3 });
    const picked = g.mul(applyOp('logSoftmax', [logits], { axis: 1 }), target);
    const loss = applyOp('mean', [g.unary('neg', g.sum(picked, [1]))], {
      axes: [0],
      keepDims: false,
      count: 4,
    });
    const [dx] = checkGradients(loss, [logits], 'cross entropy');
    const total = Object.values(countOps([dx!])).reduce((sum, n) => sum + n, 0);
    // logSoftmax and oneHot of the forward pass, a constant, and five ops of its own.
    expect(total).toBeLessThanOrEqual(8);
  });
});

function countOps(outputs: readonly GraphNode[]): Record<string, number> {
  const counts: Record<string, number> = {};
  const seen = new Set<GraphNode>();
  const visit = (node: GraphNode): void => {
    if (seen.has(node)) return;
    seen.add(node);
    if (node.kind === 'op') counts[node.op] = (counts[node.op] ?? 0) + 1;
    node.inputs.forEach(visit);
  };
  outputs.forEach(visit);
  return counts;
}
