/** @file What an op gives when an operand has no elements but the result has some. ONNX kernels disagree; we do not. */
import type { OpName, ProgramNode, TensorType } from '@ravenlab/protocol';
import { RavenError, formatShape, sizeOf } from '@ravenlab/protocol';

/** Sums over nothing are zero, and so is what is gathered from nothing. */
const ZERO_OPS: ReadonlySet<OpName> = new Set<OpName>([
  'sum',
  'mean',
  'variance',
  'matMul',
  'conv2d',
  'conv2dGradInput',
  'conv2dGradWeight',
  'gather',
  'scatterAdd',
]);

export type EmptyResult =
  /** Every element has this value. */
  | { readonly kind: 'constant'; readonly value: number }
  /** The op applied to the operands that do have elements. */
  | { readonly kind: 'others' };

/** @throws RavenError 'program' for ops that have no value over nothing, like a maximum. */
export function emptyResult(node: ProgramNode, inputs: readonly TensorType[]): EmptyResult {
  if (sizeOf(node.type.shape) === 0) return { kind: 'constant', value: 0 };
  if (ZERO_OPS.has(node.op)) return { kind: 'constant', value: 0 };
  if (node.op === 'concat') return { kind: 'others' };
  if (node.op === 'pad') {
    return { kind: 'constant', value: Number(node.params['value'] ?? 0) };
  }
  throw new RavenError(
    'program',
    `${node.op} of ${inputs.map((input) => formatShape(input.shape)).join(', ')}: no elements, so no value; ` +
      'give every axis at least one element',
  );
}
