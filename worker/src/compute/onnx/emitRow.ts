/** @file What an emission row is: one op of ours as ONNX nodes. Not the table itself (emitTable.ts). */
import type { OpName, OpParams, TensorType } from '@ravenlab/protocol';
import type { ModelBuilder, Operand, ValueName } from './modelBuilder.js';

/** What a row has at hand besides its operands. */
export interface EmitSite<N extends OpName> {
  readonly graph: ModelBuilder;
  readonly params: OpParams[N];
  /** Type of the result. */
  readonly type: TensorType;
}

/**
 * Emits one op. Operands and result have at least one element: emptiness is settled before (lower.ts), because ONNX
 * kernels disagree about it.
 * @returns Name of the result; it may be an operand's name when the op changes nothing.
 */
export type Emit<N extends OpName> = (inputs: readonly Operand[], site: EmitSite<N>) => ValueName;

/** Exhaustive over a part of the op set: a missing row does not compile. */
export type EmitRows<N extends OpName> = { readonly [Name in N]: Emit<Name> };

export function operand(inputs: readonly Operand[], index: number): Operand {
  const input = inputs[index];
  if (input === undefined)
    throw new Error(`operand ${index} is missing; verifyProgram lets none through`);
  return input;
}

/** Row for an op that is one ONNX node over the same operands. */
export function direct<N extends OpName>(onnxOp: string): Emit<N> {
  return (inputs, { graph }) =>
    graph.node(
      onnxOp,
      inputs.map((input) => input.name),
    );
}
