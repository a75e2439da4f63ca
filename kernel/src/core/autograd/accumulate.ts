/** @file Sum of the gradients that reach one node over several paths. */
import { AutogradError, LIMITS } from '@ravenlab/protocol';
import type { GraphBuilder } from '../graph/build.js';
import type { GraphNode, OpNode } from '../graph/node.js';
import { inputOf, isOp } from '../graph/node.js';

/**
 * Left to right sum of one or more contributions of one shape. Pieces that were sliced from disjoint parts of one axis
 * (time steps of a sequence, gates of a cell) are laid side by side instead: T slices cost one concat, not T
 * full-size additions of mostly zeros.
 */
export function accumulate(g: GraphBuilder, contributions: readonly GraphNode[]): GraphNode {
  const pieces = contributions.map(pieceOf);
  const axis = pieces.find((piece) => piece !== null)?.axis;
  const sameAxis = pieces.filter((piece) => piece !== null && piece.axis === axis) as Piece[];
  const joined = sameAxis.length > 1 ? join(g, sameAxis) : null;
  if (joined === null) return addAll(g, contributions);
  const rest = contributions.filter((_, index) => {
    const piece = pieces[index];
    return piece === null || piece === undefined || piece.axis !== axis;
  });
  return addAll(g, [joined, ...rest]);
}

function addAll(g: GraphBuilder, terms: readonly GraphNode[]): GraphNode {
  const [first, ...rest] = terms;
  if (first === undefined) throw new AutogradError('a node was reached without a gradient');
  return rest.reduce((sum, term) => g.add(sum, term), first);
}

/** A gradient that is zero outside `begin … end` of one axis. */
interface Piece {
  readonly node: OpNode<'pad'>;
  readonly value: GraphNode;
  readonly axis: number;
  readonly begin: number;
  readonly end: number;
}

function pieceOf(node: GraphNode): Piece | null {
  if (!isOp(node, 'pad') || node.params.value !== 0) return null;
  const { before, after } = node.params;
  const padded = before.flatMap((n, axis) => (n > 0 || (after[axis] ?? 0) > 0 ? [axis] : []));
  const [axis] = padded;
  if (axis === undefined || padded.length > 1) return null;
  const value = inputOf(node, 0);
  const begin = before[axis] ?? 0;
  return { node, value, axis, begin, end: begin + (value.type.shape[axis] ?? 0) };
}

/** One concat of disjoint pieces with zeros in the gaps; null when two of them overlap or there are too many. */
function join(g: GraphBuilder, pieces: readonly Piece[]): GraphNode | null {
  const [first] = pieces;
  if (first === undefined) return null;
  const { shape } = first.node.type;
  const { axis } = first;
  const sorted = [...pieces].sort((a, b) => a.begin - b.begin);
  const parts: GraphNode[] = [];
  const gap = (from: number, to: number): void => {
    if (to <= from) return;
    parts.push(
      g.full(
        shape.map((extent, i) => (i === axis ? to - from : extent)),
        0,
      ),
    );
  };
  let end = 0;
  for (const piece of sorted) {
    if (piece.begin < end) return null;
    gap(end, piece.begin);
    parts.push(piece.value);
    end = piece.end;
  }
  gap(end, shape[axis] ?? 0);
  return parts.length > LIMITS.nodeInputs ? null : g.concat(parts, axis);
}
