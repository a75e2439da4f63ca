/** @file Arrays of the notebook as tensor data and back. */
import type { DType, Shape, TensorData } from '@ravenlab/protocol';
import { allocate, formatShape, LIMITS, ShapeError, sizeOf } from '@ravenlab/protocol';

/** A scalar or nested arrays of one depth and equal lengths. */
export type Nested = number | boolean | readonly Nested[];

/** What `tensor()` takes: a scalar, nested arrays, or a flat typed array. */
export type ArrayLike1 = Nested | TensorData | Float64Array | Uint8ClampedArray;

/** Host values with their type. */
export interface HostArray {
  readonly data: TensorData;
  readonly dtype: DType;
  readonly shape: Shape;
}

function shapeOf(values: Nested): number[] {
  const shape: number[] = [];
  let level: Nested | undefined = values;
  while (Array.isArray(level)) {
    const list = level as readonly Nested[];
    shape.push(list.length);
    level = list[0];
  }
  return shape;
}

function fill(values: Nested, depth: number, shape: Shape, out: (number | boolean)[]): void {
  if (!Array.isArray(values)) {
    if (depth !== shape.length) ragged(shape, depth);
    out.push(values as number | boolean);
    return;
  }
  const list = values as readonly Nested[];
  if (list.length !== shape[depth]) ragged(shape, depth);
  for (const value of list) fill(value, depth + 1, shape, out);
}

function ragged(shape: Shape, depth: number): never {
  throw new ShapeError(
    `tensor: ragged array: at depth ${String(depth)} an element does not fit the shape ${formatShape(shape)} of the first one; ` +
      'all rows must have equal lengths',
    { shape, depth },
  );
}

/** The dtype that holds these values without loss where PyTorch users expect it: booleans are bool, the rest float32. */
function inferDType(values: readonly (number | boolean)[]): DType {
  return values.length > 0 && values.every((value) => typeof value === 'boolean')
    ? 'bool'
    : 'float32';
}

function typedDType(values: TensorData | Float64Array | Uint8ClampedArray): DType {
  return values instanceof Int32Array ? 'int32' : 'float32';
}

function isTyped(values: ArrayLike1): values is TensorData | Float64Array | Uint8ClampedArray {
  return ArrayBuffer.isView(values);
}

/** @throws ShapeError when the array is ragged, too large, or does not fill `shape`. */
export function toHost(values: ArrayLike1, dtype?: DType, shape?: Shape): HostArray {
  if (isTyped(values)) {
    return checked(
      convert(values, dtype ?? typedDType(values)),
      dtype ?? typedDType(values),
      shape ?? [values.length],
    );
  }
  const inner = shapeOf(values);
  const flat: (number | boolean)[] = [];
  fill(values, 0, inner, flat);
  const type = dtype ?? inferDType(flat);
  return checked(convert(flat.map(Number), type), type, shape ?? inner);
}

function checked(data: TensorData, dtype: DType, shape: Shape): HostArray {
  if (shape.length > LIMITS.tensorRank) {
    throw new ShapeError(
      `tensor: rank ${String(shape.length)} is above the limit of ${String(LIMITS.tensorRank)}`,
      { shape },
    );
  }
  if (sizeOf(shape) !== data.length) {
    throw new ShapeError(
      `tensor: ${String(data.length)} values do not fill shape ${formatShape(shape)}, which has ${String(sizeOf(shape))} elements`,
      { shape, length: data.length },
    );
  }
  return { data, dtype, shape };
}

/** A copy in the host array of `dtype`; int32 takes whole numbers of its range only. */
export function convert(values: ArrayLike<number>, dtype: DType): TensorData {
  const out = allocate(dtype, values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? 0;
    if (dtype === 'int32' && (value | 0) !== value) {
      throw new ShapeError(
        `tensor: int32 cannot hold ${String(value)} (element ${String(i)}); use float32 or round first`,
        { value, index: i },
      );
    }
    out[i] = dtype === 'bool' ? Number(value !== 0) : value;
  }
  return out;
}

/** Nested arrays of `shape`; the value itself for a scalar. */
export function nest(data: TensorData, shape: Shape, dtype: DType): Nested {
  let offset = 0;
  const build = (axis: number): Nested => {
    if (axis === shape.length) {
      const value = data[offset++] ?? 0;
      return dtype === 'bool' ? value !== 0 : value;
    }
    return Array.from({ length: shape[axis] ?? 0 }, () => build(axis + 1));
  };
  return build(0);
}

/** Rows `indices` (axis 0) of a host array, in that order. */
export function takeRows(
  data: TensorData,
  shape: Shape,
  dtype: DType,
  indices: Int32Array,
): TensorData {
  const stride = sizeOf(shape.slice(1));
  const out = allocate(dtype, stride * indices.length);
  indices.forEach((row, i) => {
    out.set(data.subarray(row * stride, (row + 1) * stride), i * stride);
  });
  return out;
}
