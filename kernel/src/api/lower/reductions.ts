/** @file Reductions a user asks for, in terms of primitive ops. */
import { normalizeAxis, ShapeError, sizeOf } from '@ravenlab/protocol';
import type { GraphNode } from '../../core/graph/node.js';
import { castTo, emit, reshape, scale } from '../emit.js';

/** One axis, several, or all of them when left out; negative axes count from the last. */
export type Axes = number | readonly number[] | undefined;

/** Sorted, unique, non-negative axes. @throws ShapeError on an axis that the tensor lacks. */
export function resolveAxes(op: string, x: GraphNode, axes: Axes): number[] {
  const rank = x.type.shape.length;
  if (axes === undefined) return x.type.shape.map((_, axis) => axis);
  const list = typeof axes === 'number' ? [axes] : axes;
  const resolved = list.map((axis) => normalizeAxis(op, axis, rank)).sort((a, b) => a - b);
  if (new Set(resolved).size !== resolved.length) {
    throw new ShapeError(`${op}: axes [${list.join(', ')}] name an axis twice`, { op, axes: list });
  }
  return resolved;
}

/** Number of elements that one result of a reduction over `axes` stands for. */
function countOver(x: GraphNode, axes: readonly number[]): number {
  return axes.reduce((count, axis) => count * (x.type.shape[axis] ?? 1), 1);
}

function requireElements(op: string, x: GraphNode, count: number): void {
  if (count === 0) {
    throw new ShapeError(
      `${op}: no element to reduce in a tensor of shape [${x.type.shape.join(', ')}]; check the batch or the slice`,
      { op, shape: x.type.shape },
    );
  }
}

/** bool counts as int32. */
export function sum(x: GraphNode, axes: Axes, keepDims: boolean): GraphNode {
  const value = x.type.dtype === 'bool' ? castTo(x, 'int32') : x;
  return emit('sum', [value], { axes: resolveAxes('sum', x, axes), keepDims });
}

/** int32 and bool are averaged as float32. */
export function mean(x: GraphNode, axes: Axes, keepDims: boolean): GraphNode {
  const resolved = resolveAxes('mean', x, axes);
  const count = countOver(x, resolved);
  requireElements('mean', x, count);
  return emit('mean', [castTo(x, 'float32')], { axes: resolved, keepDims, count });
}

/** `correction` 1 (the default of PyTorch) divides by n - 1. */
export function variance(
  x: GraphNode,
  axes: Axes,
  keepDims: boolean,
  correction: number,
): GraphNode {
  const resolved = resolveAxes('var', x, axes);
  const count = countOver(x, resolved) - correction;
  if (count < 1) {
    throw new ShapeError(
      `var: ${String(count + correction)} elements are too few for correction ${String(correction)}; pass { correction: 0 }`,
      { shape: x.type.shape },
    );
  }
  return emit('variance', [castTo(x, 'float32')], { axes: resolved, keepDims, count });
}

export function extremum(
  op: 'reduceMax' | 'reduceMin',
  x: GraphNode,
  axes: Axes,
  keepDims: boolean,
): GraphNode {
  const resolved = resolveAxes(op === 'reduceMax' ? 'max' : 'min', x, axes);
  requireElements(op === 'reduceMax' ? 'max' : 'min', x, countOver(x, resolved));
  return emit(op, [x], { axes: resolved, keepDims });
}

/** Without an axis: the index into the flattened tensor, as PyTorch does. */
export function argMax(x: GraphNode, axis: number | undefined): GraphNode {
  if (axis === undefined) {
    return emit('argMax', [reshape(x, [sizeOf(x.type.shape)])], { axis: 0 });
  }
  return emit('argMax', [x], { axis: normalizeAxis('argMax', axis, x.type.shape.length) });
}

export function norm(x: GraphNode): GraphNode {
  const squares = emit('mul', [x, x], {});
  return emit('sqrt', [sum(squares, undefined, false)], {});
}

/** log Σ exp(x) along an axis, shifted by the maximum so that it cannot overflow. */
export function logSumExp(x: GraphNode, axis: number, keepDims: boolean): GraphNode {
  const resolved = normalizeAxis('logSumExp', axis, x.type.shape.length);
  // logSumExp(x) = x_i - logSoftmax(x)_i for every i; the mean over i keeps the gradient exact: softmax(x).
  const difference = emit('sub', [x, emit('logSoftmax', [x], { axis: resolved })], {});
  return mean(difference, resolved, keepDims);
}

/** Mean of squares, scaled: shared by losses that take a `reduction`. */
export function reduceLoss(
  x: GraphNode,
  reduction: 'mean' | 'sum' | 'none',
  factor = 1,
): GraphNode {
  const scaled = factor === 1 ? x : scale(x, factor);
  if (reduction === 'none') return scaled;
  return reduction === 'sum' ? sum(scaled, undefined, false) : mean(scaled, undefined, false);
}
