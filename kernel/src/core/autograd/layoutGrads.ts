/** @file Gradient rows of ops that move elements: each is the adjoint move. */
import type { GraphBuilder } from '../graph/build.js';
import type { GraphNode, OpNode } from '../graph/node.js';
import { inputOf } from '../graph/node.js';
import type { GradRules } from './gradRule.js';
import { zero } from './gradRule.js';

function invert(perm: readonly number[]): number[] {
  const inverse = new Array<number>(perm.length);
  perm.forEach((axis, index) => (inverse[axis] = index));
  return inverse;
}

/** Spreads the elements of one axis `step` apart, zeros between and after: `[…, n, …]` → `[…, n·step, …]`. */
function dilate(g: GraphBuilder, x: GraphNode, axis: number, step: number): GraphNode {
  const { shape } = x.type;
  const split = [...shape.slice(0, axis + 1), 1, ...shape.slice(axis + 1)];
  const after = split.map((_, i) => (i === axis + 1 ? step - 1 : 0));
  const padded = g.padZeros(
    g.reshape(x, split),
    split.map(() => 0),
    after,
  );
  return g.reshape(
    padded,
    shape.map((extent, i) => (i === axis ? extent * step : extent)),
  );
}

/** Puts dy back where the slice took it from, zeros elsewhere. */
function unslice(g: GraphBuilder, dy: GraphNode, node: OpNode<'slice'>): GraphNode {
  const { begin, step } = node.params;
  const { shape } = inputOf(node, 0).type;
  let x = dy;
  step.forEach((stride, axis) => {
    if (stride === 1) return;
    const room = (shape[axis] ?? 0) - (begin[axis] ?? 0);
    x = dilate(g, x, axis, stride);
    x = g.sliceAxis(x, axis, 0, Math.min(x.type.shape[axis] ?? 0, room));
  });
  const after = shape.map((extent, i) => extent - (begin[i] ?? 0) - (x.type.shape[i] ?? 0));
  return g.padZeros(x, begin, after);
}

/** `[…, r·n, …]` → sum over r, one repeated axis after the other: splitting all at once could exceed the rank limit. */
function untile(g: GraphBuilder, dy: GraphNode, node: OpNode<'tile'>): GraphNode {
  let x = dy;
  node.params.repeats.forEach((count, axis) => {
    if (count === 1) return;
    const { shape } = x.type;
    const extent = (shape[axis] ?? 0) / count;
    const split = [...shape.slice(0, axis), count, extent, ...shape.slice(axis + 1)];
    x = g.sum(g.reshape(x, split), [axis]);
  });
  return x;
}

/** dx of gather along `axis`: the index axes go first, as scatterAdd wants them, and the sums come back to `axis`. */
function scatterBack(g: GraphBuilder, dy: GraphNode, node: OpNode<'gather'>): GraphNode {
  const x = inputOf(node, 0).type.shape;
  const indices = inputOf(node, 1);
  const { axis } = node.params;
  const count = indices.type.shape.length;
  const before = Array.from({ length: axis }, (_, i) => i);
  const middle = Array.from({ length: count }, (_, i) => axis + i);
  const after = Array.from({ length: x.length - axis - 1 }, (_, i) => axis + count + i);
  const moved = g.transpose(dy, [...middle, ...before, ...after]);
  const sums = g.apply('scatterAdd', [indices, moved], { size: x[axis] ?? 0 });
  return g.transpose(sums, invert([axis, ...before, ...after.map((i) => i - count + 1)]));
}

export const LAYOUT_GRADS = {
  oneHot: zero,
  reshape: [(g, dy, node) => g.reshape(dy, inputOf(node, 0).type.shape)],
  transpose: [(g, dy, node) => g.transpose(dy, invert(node.params.perm))],
  // backward() sums dy back to the input's shape.
  broadcastTo: [(_g, dy) => dy],
  concat: [
    (g, dy, node, index) => {
      const { axis } = node.params;
      const begin = node.inputs
        .slice(0, index)
        .reduce((offset, input) => offset + (input.type.shape[axis] ?? 0), 0);
      const extent = inputOf(node, index).type.shape[axis] ?? 0;
      return g.sliceAxis(dy, axis, begin, begin + extent);
    },
  ],
  slice: [unslice],
  pad: [
    (g, dy, node) => {
      const { before } = node.params;
      const { shape } = inputOf(node, 0).type;
      return g.apply('slice', [dy], {
        begin: before,
        end: shape.map((extent, axis) => extent + (before[axis] ?? 0)),
        step: shape.map(() => 1),
      });
    },
  ],
  tile: [untile],
  reverse: [(g, dy, node) => g.apply('reverse', [dy], node.params)],
  gather: [scatterBack, null],
  scatterAdd: [null, (g, dy, node) => g.apply('gather', [dy, inputOf(node, 0)], { axis: 0 })],
} satisfies Partial<GradRules>;
