/** @file What a row of the tfjs table is: one op of ours by tfjs calls. Tensors are tidied by the caller. */
import type { Tensor } from '@tensorflow/tfjs-core';
import type { OpName, OpParams, TensorType } from '@ravenlab/protocol';

export interface TfSite<N extends OpName> {
  readonly params: OpParams[N];
  /** Type of the result. */
  readonly type: TensorType;
}

/** Operands and result have at least one element; the backend settles emptiness before. */
export type TfEmit<N extends OpName> = (inputs: readonly Tensor[], site: TfSite<N>) => Tensor;

/** Exhaustive over a part of the op set: a missing row does not compile. */
export type TfRows<N extends OpName> = { readonly [Name in N]: TfEmit<Name> };

export function operand(inputs: readonly Tensor[], index: number): Tensor {
  const input = inputs[index];
  if (input === undefined)
    throw new Error(`operand ${index} is missing; verifyProgram lets none through`);
  return input;
}

export function unary<N extends OpName>(run: (x: Tensor) => Tensor): TfEmit<N> {
  return (inputs) => run(operand(inputs, 0));
}

export function binary<N extends OpName>(run: (a: Tensor, b: Tensor) => Tensor): TfEmit<N> {
  return (inputs) => run(operand(inputs, 0), operand(inputs, 1));
}
