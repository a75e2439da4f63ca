/** @file A whole step in float16: forward, by way of a scaled loss backward, and what tells of an overflow. */
import { guarded, scaledBackward } from '../../../kernel/src/core/autograd/lossScaling.js';
import { GraphBuilder } from '../../../kernel/src/core/graph/build.js';
import type { GraphNode } from '../../../kernel/src/core/graph/node.js';
import { applyOp } from '../../../kernel/src/core/graph/node.js';
import { floatLeaf, floats } from '../../unit/core/lib/oracle.js';
import type { Captured } from './captured.js';
import { capture } from './captured.js';

/**
 * Share of a gradient's largest value that it may be off. What is added up in another order may be rounded to the other side, one
 * float16 of 2^-11 away; with products the oracle's own are in float64.
 */
export const FLOAT16_TOLERANCE = 2 ** -10;
const g = new GraphBuilder();
const rounded = (x: GraphNode): GraphNode => applyOp('roundFloat16', [x], {});

/** A convolution, a ReLU, a linear layer and a squared error; outputs are loss, three gradients, and the count of overflows. */
export function float16Step(scale: number): Captured {
  const leaf = (shape: readonly number[], seed: number) => floatLeaf(shape, floats(shape, seed));
  const [x, y] = [leaf([8, 2, 6, 6], 1), leaf([8, 5], 2)];
  const weights = [leaf([4, 2, 3, 3], 3), leaf([64, 5], 4), leaf([5], 5)] as const;
  const square = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1 };
  const image = applyOp('conv2d', [rounded(x), rounded(weights[0])], square);
  const hidden = g.reshape(applyOp('relu', [image], {}), [8, 64]);
  const off = g.sub(g.add(g.matMul(rounded(hidden), rounded(weights[1])), weights[2]), y);
  const loss = g.scale(g.sum(g.mul(off, off), [0, 1]), 1 / 40);
  const found = scaledBackward(loss, weights, floatLeaf([2], [scale, 0]));
  const { gradients, overflows } = guarded(found.flatMap((each) => each ?? []));
  return capture([loss, ...gradients, overflows]);
}
