/** @file What one row of the op table is; helpers that rows share. Not the table itself (table.ts). */
import type { DType } from '../dtype.js';
import { ShapeError } from '../errors.js';
import type { Shape, TensorType } from '../shape.js';
import { broadcastShapes, byteSizeOf, formatShape, sizeOf } from '../shape.js';

/** Kinds of op parameters; each has one wire form (program.ts) and one TypeScript type. */
export interface FieldTypes {
  int: number;
  ints: readonly number[];
  /** A finite or infinite float64; NaN is refused. */
  float: number;
  bool: boolean;
  dtype: DType;
}
export type FieldKind = keyof FieldTypes;
export type FieldSchema = Readonly<Record<string, FieldKind>>;
export type ParamsOf<S extends FieldSchema> = { readonly [K in keyof S]: FieldTypes[S[K]] };

export type Types = readonly TensorType[];

/** One op: what it takes, what comes out, what it costs. */
export interface OpRow<S extends FieldSchema> {
  /** Number of inputs, or the least number for ops that take a list. */
  readonly arity: number | { readonly atLeast: number };
  /** Parameters in wire order. */
  readonly params: S;
  /** @throws ShapeError with the op, the shapes and what to do. */
  infer(inputs: Types, params: ParamsOf<S>): TensorType;
  /** Floating point operations of one evaluation; the unit of account for metering. */
  flops(inputs: Types, output: TensorType, params: ParamsOf<S>): number;
}

export const NONE = {} as const;

export function at(inputs: Types, index: number): TensorType {
  const type = inputs[index];
  if (type === undefined) throw new ShapeError(`input ${String(index)} is missing`);
  return type;
}

export function fail(op: string, message: string): never {
  throw new ShapeError(`${op}: ${message}`, { op });
}

export function requireDType(op: string, type: TensorType, ...allowed: readonly DType[]): void {
  if (!allowed.includes(type.dtype)) {
    fail(
      op,
      `expected ${allowed.join(' or ')}, got ${type.dtype} ${formatShape(type.shape)}; cast first`,
    );
  }
}

export function requireRank(op: string, name: string, type: TensorType, rank: number): void {
  if (type.shape.length !== rank) {
    fail(op, `${name} must have rank ${String(rank)}, got ${formatShape(type.shape)}`);
  }
}

export function requireSameDType(op: string, a: TensorType, b: TensorType): void {
  if (a.dtype !== b.dtype) fail(op, `dtypes differ: ${a.dtype} and ${b.dtype}; cast one of them`);
}

/** Parameters that count or place something; the wire carries int32 only. */
export function requireInts(op: string, name: string, values: readonly number[], min = 0): void {
  for (const value of values) {
    if ((value | 0) !== value || value < min) {
      fail(op, `${name} must be integers ≥ ${String(min)}, got ${formatShape(values)}`);
    }
  }
}

/** A scalar parameter that becomes elements of `dtype`. */
export function requireValue(op: string, dtype: DType, value: number): void {
  const fits = {
    float32: !Number.isNaN(value),
    int32: (value | 0) === value,
    bool: value === 0 || value === 1,
  };
  if (!fits[dtype]) fail(op, `${dtype} cannot hold ${String(value)}`);
}

/** A maximum needs something to take it of. */
export function requireNonEmpty(op: string, type: TensorType, axes: readonly number[]): void {
  if (axes.some((axis) => type.shape[axis] === 0)) {
    fail(
      op,
      `axes ${formatShape(axes)} of ${formatShape(type.shape)} hold no elements to choose from`,
    );
  }
}

/** Reduction axes on the wire are sorted, unique, in range: one program has one encoding. */
export function requireAxes(op: string, axes: readonly number[], rank: number): void {
  let previous = -1;
  for (const axis of axes) {
    if (!Number.isInteger(axis) || axis <= previous || axis >= rank) {
      fail(op, `axes ${formatShape(axes)} must be sorted, unique and within rank ${String(rank)}`);
    }
    previous = axis;
  }
}

export function requireShape(op: string, shape: Shape): void {
  for (const extent of shape) {
    if ((extent | 0) !== extent || extent < 0) {
      fail(op, `shape ${formatShape(shape)} has an extent that is not an integer in 0 … 2³¹-1`);
    }
  }
}

export const outputSize = (_inputs: Types, output: TensorType): number => sizeOf(output.shape);
export const inputSize = (inputs: Types): number => sizeOf(at(inputs, 0).shape);
/** Moving data is free in FLOPs; it is accounted in bytes. */
export const noFlops = (): number => 0;

/** Bytes read and written by one evaluation, each operand once. */
export function bytesOf(inputs: Types, output: TensorType): number {
  return inputs.reduce((sum, type) => sum + byteSizeOf(type), byteSizeOf(output));
}

/** Elementwise function of one tensor. `cost` is FLOPs per element by convention of the meter. */
export function unary(
  op: string,
  cost: number,
  dtypes: readonly DType[] = ['float32'],
): OpRow<typeof NONE> {
  return {
    arity: 1,
    params: NONE,
    infer(inputs) {
      const x = at(inputs, 0);
      requireDType(op, x, ...dtypes);
      return x;
    },
    flops: (_inputs, output) => cost * sizeOf(output.shape),
  };
}

/** Elementwise function of two tensors of one dtype that broadcast. */
export function binary(
  op: string,
  cost: number,
  dtypes: readonly DType[],
  result?: DType,
): OpRow<typeof NONE> {
  return {
    arity: 2,
    params: NONE,
    infer(inputs) {
      const a = at(inputs, 0);
      const b = at(inputs, 1);
      requireSameDType(op, a, b);
      requireDType(op, a, ...dtypes);
      return { dtype: result ?? a.dtype, shape: broadcastShapes(op, a.shape, b.shape) };
    },
    flops: (_inputs, output) => cost * sizeOf(output.shape),
  };
}
