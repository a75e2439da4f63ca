/** @file Gradient rows of reductions, softmax, running sums and normalisation. */
import { reducedShape } from '@ravenlab/protocol';
import type { GraphBuilder } from '../graph/build.js';
import type { GraphNode, OpNode } from '../graph/node.js';
import { inputOf } from '../graph/node.js';
import type { GradRules } from './gradRule.js';
import { once, zero } from './gradRule.js';

type Reduction = OpNode<'sum'> | OpNode<'mean'> | OpNode<'variance'> | OpNode<Extreme>;
type Extreme = 'reduceMax' | 'reduceMin';

/** A reduced value with its axes back at extent 1, so that it broadcasts against the input. */
function restored(g: GraphBuilder, value: GraphNode, node: Reduction): GraphNode {
  return g.reshape(value, reducedShape(inputOf(node, 0).type.shape, node.params.axes, true));
}

/** The gradient of a sum: every element gets dy. */
function spread(g: GraphBuilder, dy: GraphNode, node: Reduction): GraphNode {
  return g.broadcastTo(restored(g, dy, node), inputOf(node, 0).type.shape);
}

/** Elements that equal the extreme share dy evenly. */
function extreme(g: GraphBuilder, dy: GraphNode, node: OpNode<Extreme>): GraphNode {
  const isExtreme = g.binary('equal', inputOf(node, 0), restored(g, node, node));
  const mask = g.apply('cast', [isExtreme], { dtype: 'float32' });
  const share = g.div(restored(g, dy, node), g.sum(mask, node.params.axes, true));
  return g.mul(mask, share);
}

export const REDUCTION_GRADS = {
  argMax: zero,
  sum: [spread],
  mean: [(g, dy, node) => spread(g, g.scale(dy, 1 / node.params.count), node)],
  // Σ(x - m)² / count: the path through m vanishes, as Σ(x - m) = 0. dx = 2·(x - m)·dy / count
  variance: [
    (g, dy, node) => {
      const x = inputOf(node, 0);
      const { axes, count } = node.params;
      const elements = axes.reduce((size, axis) => size * (x.type.shape[axis] ?? 1), 1);
      const mean = g.scale(g.sum(x, axes, true), 1 / elements);
      return g.mul(g.sub(x, mean), g.scale(restored(g, dy, node), 2 / count));
    },
  ],
  reduceMax: [extreme],
  reduceMin: [extreme],
  // The adjoint of a running sum runs from the other end.
  cumsum: [
    (g, dy, node) => g.apply('cumsum', [dy], { ...node.params, reverse: !node.params.reverse }),
  ],
  // y ∘ (dy - Σ dy∘y)
  softmax: [
    (g, dy, y) => {
      const total = g.sum(g.mul(dy, y), [y.params.axis], true);
      return g.mul(g.sub(dy, total), y);
    },
  ],
  // dy - softmax·Σ dy, and softmax = eʸ
  logSoftmax: [
    (g, dy, y) => {
      const total = g.sum(dy, [y.params.axis], true);
      return g.sub(dy, g.mul(g.unary('exp', y), total));
    },
  ],
  normalize: [(g, dy, y) => g.apply('normalizeGrad', [inputOf(y, 0), dy], y.params)],
  // Linear in dy with the symmetric matrix (I - 1/n - x̂x̂ᵀ/n)/σ, hence its own adjoint.
  normalizeGrad: [
    once('normalizeGrad'),
    (g, dx, node) => g.apply('normalizeGrad', [inputOf(node, 0), dx], node.params),
  ],
} satisfies Partial<GradRules>;
