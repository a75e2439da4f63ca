/** @file Activation functions that are not primitive ops. */
import type { GraphNode } from '../../core/graph/node.js';
import { add, constant, emit, mul, scale, sub } from '../emit.js';

export const relu = (x: GraphNode): GraphNode => emit('relu', [x], {});
export const sigmoid = (x: GraphNode): GraphNode => emit('sigmoid', [x], {});
export const tanh = (x: GraphNode): GraphNode => emit('tanh', [x], {});
const exp = (x: GraphNode): GraphNode => emit('exp', [x], {});
const log = (x: GraphNode): GraphNode => emit('log', [x], {});

/** x · σ(x). */
export const silu = (x: GraphNode): GraphNode => mul(x, sigmoid(x));

/** x · Φ(x) with the exact normal distribution function, as PyTorch's default. */
export function gelu(x: GraphNode): GraphNode {
  const erf = emit('erf', [scale(x, Math.SQRT1_2)], {});
  return mul(scale(x, 0.5), add(erf, constant(1)));
}

export function leakyRelu(x: GraphNode, slope: number): GraphNode {
  return sub(relu(x), scale(relu(emit('neg', [x], {})), slope));
}

/** log(1 + eˣ) = max(x, 0) + log(1 + e^-|x|): no overflow for large x. */
export function softplus(x: GraphNode): GraphNode {
  const decay = exp(emit('neg', [emit('abs', [x], {})], {}));
  return add(relu(x), log(add(decay, constant(1))));
}
