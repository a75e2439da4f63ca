/** @file What a forward case is, and short ways to write its inputs. */
import type { DType, OpName, OpParams, Shape } from '@ravenlab/protocol';

/** Values given in full, or drawn from `range` by shape. */
export interface ForwardInput {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly values?: readonly number[];
  readonly range?: readonly [number, number];
}

export interface ParamCase<Params> {
  readonly name: string;
  readonly inputs: readonly ForwardInput[];
  readonly params: Params;
  /** Error allowed on top, where float32 itself cannot do better. */
  readonly absolute?: number;
}

/** Equal parameters make equal cases: those of `add` serve `sub`. */
export type ForwardCase<N extends OpName> = ParamCase<OpParams[N]>;

export type ForwardCases = { readonly [N in OpName]: readonly ForwardCase<N>[] };

export const NONE = {};
export const f = (...shape: number[]): ForwardInput => ({ dtype: 'float32', shape });
export const within = (low: number, high: number, ...shape: number[]): ForwardInput => ({
  dtype: 'float32',
  shape,
  range: [low, high],
});
export const floatsOf = (shape: Shape, ...values: number[]): ForwardInput => ({
  dtype: 'float32',
  shape,
  values,
});
export const ints = (shape: Shape, ...values: number[]): ForwardInput => ({
  dtype: 'int32',
  shape,
  values,
});
export const bools = (shape: Shape, ...values: number[]): ForwardInput => ({
  dtype: 'bool',
  shape,
  values,
});
