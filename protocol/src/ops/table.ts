/** @file The closed op set: one row per op. Gradients, placement, oracle and emissions are tables over the same names. */
import type { TensorType } from '../shape.js';
import { ELEMENTWISE_OPS } from './elementwise.js';
import { LAYOUT_OPS } from './layout.js';
import { LINEAR_OPS } from './linear.js';
import { REDUCTION_OPS } from './reduction.js';
import type { FieldSchema, FieldTypes, OpRow, ParamsOf, Types } from './row.js';
import { bytesOf, fail } from './row.js';

export const OPS = {
  ...ELEMENTWISE_OPS,
  ...LINEAR_OPS,
  ...REDUCTION_OPS,
  ...LAYOUT_OPS,
} as const;

export type OpName = keyof typeof OPS;
export type OpParams = { readonly [N in OpName]: ParamsOf<(typeof OPS)[N]['params']> };

/**
 * Names in wire-code order, written out so that moving a row cannot renumber the wire. Appending is compatible; any other
 * change is a new IR version.
 */
const WIRE_ORDER = [
  'full',
  'iota',
  'randomUniform',
  'cast',
  'where',
  'clip',
  'neg',
  'abs',
  'sign',
  'floor',
  'exp',
  'log',
  'sqrt',
  'rsqrt',
  'sin',
  'cos',
  'tanh',
  'sigmoid',
  'erf',
  'relu',
  'logicalNot',
  'add',
  'sub',
  'mul',
  'div',
  'pow',
  'maximum',
  'minimum',
  'equal',
  'notEqual',
  'less',
  'lessEqual',
  'greater',
  'greaterEqual',
  'logicalAnd',
  'logicalOr',
  'matMul',
  'conv2d',
  'conv2dGradInput',
  'conv2dGradWeight',
  'maxPool2d',
  'maxPool2dGrad',
  'avgPool2d',
  'avgPool2dGrad',
  'sum',
  'mean',
  'variance',
  'reduceMax',
  'reduceMin',
  'argMax',
  'cumsum',
  'softmax',
  'logSoftmax',
  'normalize',
  'normalizeGrad',
  'reshape',
  'transpose',
  'broadcastTo',
  'concat',
  'slice',
  'pad',
  'tile',
  'reverse',
  'gather',
  'scatterAdd',
  'oneHot',
  'roundFloat16',
  'finiteOr',
] as const satisfies readonly OpName[];

/** Compiles only while every op has a code. */
type Uncoded = Exclude<OpName, (typeof WIRE_ORDER)[number]>;
export const OP_NAMES: Uncoded extends never ? readonly OpName[] : never = WIRE_ORDER;

/** Parameters of some op, not yet matched with its name. */
export type AnyParams = Readonly<Record<string, FieldTypes[keyof FieldTypes]>>;

/** The row of `op` with its parameter types erased, for code that walks programs. */
export function opRow(op: OpName): OpRow<FieldSchema> {
  return OPS[op];
}

export function isOpName(name: string): name is OpName {
  return Object.hasOwn(OPS, name);
}

/**
 * Type of the result of `op`.
 * @throws ShapeError naming op, shapes and remedy.
 */
export function inferOp<N extends OpName>(op: N, inputs: Types, params: OpParams[N]): TensorType {
  const row = opRow(op);
  const { arity } = row;
  const fits = typeof arity === 'number' ? inputs.length === arity : inputs.length >= arity.atLeast;
  if (!fits) {
    const expected =
      typeof arity === 'number' ? String(arity) : `at least ${String(arity.atLeast)}`;
    fail(op, `takes ${expected} inputs, got ${String(inputs.length)}`);
  }
  return row.infer(inputs, params);
}

export interface OpCost {
  readonly flops: number;
  readonly bytes: number;
}

/** Deterministic cost of one evaluation, equal on both sides of the wire. */
export function opCost<N extends OpName>(
  op: N,
  inputs: Types,
  output: TensorType,
  params: OpParams[N],
): OpCost {
  return {
    flops: opRow(op).flops(inputs, output, params),
    bytes: bytesOf(inputs, output),
  };
}
