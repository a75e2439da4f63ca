/** @file Arrays of the float64 oracle and the loops its rows share. Slow on purpose: one index at a time. */
import type { DType, Shape, TensorType } from '@ravenlab/protocol';
import { RavenError, sizeOf, stridesOf } from '@ravenlab/protocol';

/** float32 tensors are held as float64, int32 as int32, bool as bytes 0 or 1. */
export type Values = Float64Array | Int32Array | Uint8Array;

/** An oracle tensor: row-major values of one type. */
export interface Value {
  readonly type: TensorType;
  readonly data: Values;
}

export function makeValues(dtype: DType, length: number): Values {
  switch (dtype) {
    case 'float32':
      return new Float64Array(length);
    case 'int32':
      return new Int32Array(length);
    case 'bool':
      return new Uint8Array(length);
  }
}

export function valueAt(data: Values, index: number): number {
  const value = data[index];
  if (value === undefined) {
    throw new RavenError('internal', `oracle: element ${String(index)} of ${String(data.length)}`);
  }
  return value;
}

/** Calls `visit` with every index of `shape` in row-major order. The array is reused: copy it to keep it. */
export function forEachIndex(
  shape: Shape,
  visit: (index: readonly number[], flat: number) => void,
): void {
  const size = sizeOf(shape);
  const index = shape.map(() => 0);
  for (let flat = 0; flat < size; flat++) {
    visit(index, flat);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const next = (index[axis] ?? 0) + 1;
      index[axis] = next < (shape[axis] ?? 1) ? next : 0;
      if (next < (shape[axis] ?? 1)) break;
    }
  }
}

/** Flat position of `index`. */
export function flatten(index: readonly number[], strides: readonly number[]): number {
  return index.reduce((flat, position, axis) => flat + position * (strides[axis] ?? 0), 0);
}

/** Strides that read `shape` as if it were broadcast to rank `rank`: repeated axes have stride 0. */
export function broadcastStrides(shape: Shape, rank: number): number[] {
  const strides = stridesOf(shape).map((stride, axis) => (shape[axis] === 1 ? 0 : stride));
  return [...new Array<number>(rank - shape.length).fill(0), ...strides];
}

/** out[i] = f(inputs broadcast to i). */
export function mapBroadcast(
  out: TensorType,
  inputs: readonly Value[],
  f: (...values: number[]) => number,
): Values {
  const data = makeValues(out.dtype, sizeOf(out.shape));
  const strides = inputs.map((input) => broadcastStrides(input.type.shape, out.shape.length));
  const values = inputs.map(() => 0);
  forEachIndex(out.shape, (index, flat) => {
    inputs.forEach((input, k) => {
      values[k] = valueAt(input.data, flatten(index, strides[k] ?? []));
    });
    data[flat] = f(...values);
  });
  return data;
}

/** out[i] = x[source(i)], or `otherwise` where source(i) is null. */
export function moveElements(
  out: TensorType,
  x: Value,
  source: (index: readonly number[]) => readonly number[] | null,
  otherwise = 0,
): Values {
  const data = makeValues(out.dtype, sizeOf(out.shape));
  const strides = stridesOf(x.type.shape);
  forEachIndex(out.shape, (index, flat) => {
    const from = source(index);
    data[flat] = from === null ? otherwise : valueAt(x.data, flatten(from, strides));
  });
  return data;
}

/** The elements that reduce to each output element, as positions in `x`: one list an output, in row-major order. */
export function reductionGroups(shape: Shape, axes: readonly number[]): number[][] {
  const reduced = new Set(axes);
  const kept = shape.map((extent, axis) => (reduced.has(axis) ? 1 : extent));
  const strides = stridesOf(kept).map((stride, axis) => (reduced.has(axis) ? 0 : stride));
  const groups: number[][] = Array.from({ length: sizeOf(kept) }, () => []);
  forEachIndex(shape, (index, flat) => groups[flatten(index, strides)]?.push(flat));
  return groups;
}

/** Lines along `axis`: positions in `x`, in axis order. */
export function linesAlong(shape: Shape, axis: number): number[][] {
  return reductionGroups(shape, [axis]);
}
