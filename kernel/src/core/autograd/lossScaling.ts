/**
 * @file Gradients of a loss that is multiplied by a scale, so that they do not vanish in float16, and what tells whether one of
 * them overflowed instead. Graph → graph; which scale comes next is protocol/src/lossScale.ts.
 */
import { GraphBuilder } from '../graph/build.js';
import type { GraphNode } from '../graph/node.js';
import { accumulate } from './accumulate.js';
import { backward } from './backward.js';

/**
 * As `backward`, by way of a scaled loss: what is small on the way is not lost, what comes out is of the size that it was.
 * @param scale float32 [2] with the scale first: a power of two, so that no digit changes but where float16 ends.
 */
export function scaledBackward(
  loss: GraphNode,
  wrt: readonly GraphNode[],
  scale: GraphNode,
): (GraphNode | null)[] {
  const g = new GraphBuilder(loss.origin);
  const seed = g.reshape(g.sliceAxis(scale, 0, 0, 1), loss.type.shape);
  const inverse = g.div(g.scalar(1), g.reshape(seed, []));
  return backward(loss, wrt, seed).map((gradient) =>
    gradient === null ? null : g.mul(gradient, inverse),
  );
}

/** Gradients that can be summed whatever happened. */
export interface GuardedGradients {
  /** In their order; 0 where they are NaN or infinite. */
  readonly gradients: readonly GraphNode[];
  /** float32 [2], both the same: how many of them are. Of every micro-shard, so that their sum is above 0 if that of any is. */
  readonly overflows: GraphNode;
}

/** Of at least one gradient. */
export function guarded(gradients: readonly GraphNode[]): GuardedGradients {
  const g = new GraphBuilder(gradients[0]?.origin);
  const zero = g.scalar(0);
  const counts = gradients.map((gradient) => {
    // Whatever is added to NaN or infinity, the sum is not finite; and 0·x is 0 for every finite x, NaN otherwise.
    const sum = g.sum(gradient, [...gradient.type.shape.keys()]);
    return g.apply('finiteOr', [g.mul(sum, zero)], { value: 1 });
  });
  return {
    gradients: gradients.map((gradient) => g.apply('finiteOr', [gradient], { value: 0 })),
    overflows: g.broadcastTo(accumulate(g, counts), [2]),
  };
}
