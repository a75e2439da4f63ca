/** @file Shape arithmetic shared by every op table: sizes, strides, broadcasting, axes. */
import type { DType } from './dtype.js';
import { DTYPE_BYTES } from './dtype.js';
import { ShapeError } from './errors.js';

export type Shape = readonly number[];

export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Number of elements of a tensor of this shape; 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const extent of shape) size *= extent;
  return size;
}

export function byteSizeOf(type: TensorType): number {
  return sizeOf(type.shape) * DTYPE_BYTES[type.dtype];
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis] ?? 1;
  }
  return strides;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/**
 * Shape that `a` and `b` broadcast to, aligned at the last axis (NumPy rules).
 * @throws ShapeError naming `op` and both shapes when an axis differs and neither side is 1.
 */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const x = a[a.length - i] ?? 1;
    const y = b[b.length - i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(
        `${op}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast: axis -${String(i)} has ${String(x)} and ${String(y)}; ` +
          'extents must be equal or 1',
        { op, a, b },
      );
    }
    out[rank - i] = x === 1 ? y : x;
  }
  return out;
}

/**
 * Axis in `0 … rank - 1` of a possibly negative axis.
 * @throws ShapeError when it is out of range or not an integer.
 */
export function normalizeAxis(op: string, axis: number, rank: number): number {
  const normalized = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || normalized < 0 || normalized >= rank) {
    throw new ShapeError(
      `${op}: axis ${String(axis)} is not an axis of a tensor of rank ${String(rank)}; expected ${String(-rank)} … ${String(rank - 1)}`,
      { op, axis, rank },
    );
  }
  return normalized;
}

/** Shape after reducing `axes` (sorted, unique, non-negative). */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  const reduced = new Set(axes);
  if (keepDims) return shape.map((extent, axis) => (reduced.has(axis) ? 1 : extent));
  return shape.filter((_, axis) => !reduced.has(axis));
}
