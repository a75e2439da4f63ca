/** @file What one row of the oracle table is. */
import type { OpName, OpParams, TensorType } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import type { Value, Values } from './arrays.js';

/** Values of the result of one op; `out` is its inferred type. */
export type OracleRow<N extends OpName> = (
  inputs: readonly Value[],
  params: OpParams[N],
  out: TensorType,
) => Values;
export type OracleRows = { readonly [N in OpName]: OracleRow<N> };

export function arg(inputs: readonly Value[], index: number): Value {
  const value = inputs[index];
  if (value === undefined) throw new RavenError('internal', `oracle: no input ${String(index)}`);
  return value;
}
