/** @file Gradients by way of a scaled loss: the same where nothing is lost, more of them in float16, and a count where they overflow. */
import { backward } from '../../../../kernel/src/core/autograd/backward.js';
import { guarded, scaledBackward } from '../../../../kernel/src/core/autograd/lossScaling.js';
import { GraphBuilder } from '../../../../kernel/src/core/graph/build.js';
import type { GraphNode } from '../../../../kernel/src/core/graph/node.js';
import { applyOp, isOp, postOrder } from '../../../../kernel/src/core/graph/node.js';
import { plan } from '../../../../kernel/src/core/plan/plan.js';
import { evaluate, expectClose, floatLeaf, floats } from '../lib/oracle.js';

const g = new GraphBuilder();
const round = (x: GraphNode): GraphNode => applyOp('roundFloat16', [x], {});
const scaleOf = (scale: number): GraphNode => floatLeaf([2], [scale, 0]);
const valueOf = (node: GraphNode | null | undefined): number[] => [...(evaluate([node!])[0] ?? [])];

/** The sum of x·w times `factor`, of rounded operands if `isRounded`. */
function lossOf(x: GraphNode, w: GraphNode, factor: number, isRounded = true): GraphNode {
  const product = isRounded ? g.matMul(round(x), round(w)) : g.matMul(x, w);
  return g.scale(g.sum(product, [0, 1]), factor);
}

test('without float16 a scale changes nothing', () => {
  const [x, w] = [floatLeaf([4, 3], floats([4, 3], 1)), floatLeaf([3, 2], floats([3, 2], 2))];
  const loss = lossOf(x, w, 0.7, false);
  const [plain] = backward(loss, [w]);
  const [scaled] = scaledBackward(loss, [w], scaleOf(2 ** 16));
  expectClose(valueOf(scaled), valueOf(plain));
});

test('the gradients of a product of rounded operands are such products', () => {
  const [x, w] = [floatLeaf([4, 3], floats([4, 3], 1)), floatLeaf([3, 2], floats([3, 2], 2))];
  const products = (loss: GraphNode): GraphNode[] =>
    postOrder(backward(loss, [x, w]).flatMap((each) => each ?? [])).filter((node) =>
      isOp(node, 'matMul'),
    );
  const isRounded = (node: GraphNode): boolean => isOp(node, 'roundFloat16');
  const rounded = products(lossOf(x, w, 1));
  expect(rounded).toHaveLength(2);
  expect(rounded.every(({ inputs }) => inputs.every(isRounded))).toBe(true);
  const plain = products(lossOf(x, w, 1, false));
  expect(plain.some(({ inputs }) => inputs.some(isRounded))).toBe(false);
});

test('so are those of a convolution', () => {
  const x = floatLeaf([1, 1, 4, 4], floats([1, 1, 4, 4], 1));
  const w = floatLeaf([2, 1, 2, 2], floats([2, 1, 2, 2], 2));
  const params = { stride: [1, 1], dilation: [1, 1], padding: [0, 0, 0, 0], groups: 1 };
  const loss = g.sum(applyOp('conv2d', [round(x), round(w)], params), [0, 1, 2, 3]);
  const nodes = postOrder(backward(loss, [x, w]).flatMap((each) => each ?? []));
  for (const op of ['conv2dGradInput', 'conv2dGradWeight'] as const) {
    const found = nodes.filter((node) => isOp(node, op));
    expect(found).toHaveLength(1);
    expect(found[0]?.inputs.every((input) => isOp(input, 'roundFloat16'))).toBe(true);
  }
});

test('a gradient below the smallest float16 is lost without a scale, and not with one', () => {
  const [x, w] = [floatLeaf([2, 1], [1, 2]), floatLeaf([1, 1], [1])];
  const loss = lossOf(x, w, 2 ** -30);
  expect(valueOf(backward(loss, [w])[0])).toEqual([0]);
  expect(valueOf(scaledBackward(loss, [w], scaleOf(2 ** 16))[0])).toEqual([3 * 2 ** -30]);
});

test('what overflows is 0 and counted, what does not is as it was', () => {
  const gradients = [floatLeaf([3], [1, NaN, -Infinity]), floatLeaf([2], [Infinity, 5])];
  const fine = [floatLeaf([2, 1], [3, 4]), floatLeaf([], [-0.5])];
  const { gradients: all, overflows } = guarded([...gradients, ...fine]);
  expect(all.map(valueOf)).toEqual([[1, 0, 0], [0, 5], [3, 4], [-0.5]]);
  expect(valueOf(overflows)).toEqual([2, 2]);
  expect(valueOf(guarded(fine).overflows)).toEqual([0, 0]);
});

test('a guarded step is cut into micro-shards as any other, and each of them rounds and counts its own part', () => {
  const x = floatLeaf([8, 3], floats([8, 3], 1), 0);
  const w = floatLeaf([3, 2], floats([3, 2], 2));
  const loss = lossOf(x, w, 1);
  const [gradient] = scaledBackward(loss, [w], scaleOf(2));
  const { gradients, overflows } = guarded([gradient!]);
  const { outputs, shards, note } = plan([loss, ...gradients, overflows], { microShard: 2 });
  expect(note).toBeNull();
  expect(shards).toHaveLength(4);
  expect(outputs.map(({ combine }) => combine)).toEqual(['sum', 'sum', 'sum']);
});

test('a product with a gradient that is still to be summed is no reason not to cut', () => {
  // y = x·(a·b): the gradient of a·b is a sum over rows, and an operand of the gradients of a and b.
  const x = floatLeaf([8, 3], floats([8, 3], 1), 0);
  const [a, b] = [floatLeaf([3, 2], floats([3, 2], 2)), floatLeaf([2, 3], floats([2, 3], 3))];
  const inner = g.matMul(round(a), round(b));
  const loss = g.sum(g.matMul(round(x), round(inner)), [0, 1]);
  const gradients = backward(loss, [a, b]).flatMap((each) => each ?? []);
  expect(plan(gradients, { microShard: 2 }).note).toBeNull();
});
