/** @file Random numbers as graph nodes: every draw has its own key, so equal seeds give equal bits on any crowd. */
import type { Shape } from '@ravenlab/protocol';
import { ShapeError } from '@ravenlab/protocol';
import type { GraphNode } from '../../core/graph/node.js';
import { add, castTo, constant, emit, mul, scale, sub } from '../emit.js';
import { currentRuntime } from '../runtime.js';

/** Uniform float32 in [0, 1). */
export function uniform(shape: Shape): GraphNode {
  return emit('randomUniform', [currentRuntime().nextKey()], { shape, stream: 0 });
}

/** Standard normal by Box and Muller: √(-2 ln(1 - u)) · cos 2πv. */
export function normal(shape: Shape): GraphNode {
  const key = currentRuntime().nextKey();
  const u = emit('randomUniform', [key], { shape, stream: 0 });
  const v = emit('randomUniform', [key], { shape, stream: 1 });
  const radius = emit('sqrt', [scale(emit('log', [sub(constant(1), u)], {}), -2)], {});
  return mul(radius, emit('cos', [scale(v, 2 * Math.PI)], {}));
}

/** Whole numbers `low … high - 1` as int32. */
export function integers(low: number, high: number, shape: Shape): GraphNode {
  if (!Number.isInteger(low) || !Number.isInteger(high) || high <= low) {
    throw new ShapeError(
      `randint: expected integers low < high, got ${String(low)} and ${String(high)}`,
    );
  }
  const offset = emit('floor', [scale(uniform(shape), high - low)], {});
  return add(castTo(offset, 'int32'), constant(low, 'int32'));
}

/** Zeroes elements with probability `p`, scales the rest by 1 / (1 - p). */
export function dropout(x: GraphNode, p: number): GraphNode {
  if (!(p >= 0 && p < 1)) {
    throw new ShapeError(`dropout: p must be in [0, 1), got ${String(p)}`);
  }
  const kept = emit('greaterEqual', [uniform(x.type.shape), constant(p)], {});
  return scale(mul(x, castTo(kept, 'float32')), 1 / (1 - p));
}
