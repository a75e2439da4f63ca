/** @file The fold table: one row per op. Exhaustive: an op without a row does not compile. */
import type { OpName, ProgramNode } from '@ravenlab/protocol';
import { FOLD_LAYOUT } from './foldLayout.js';
import { FOLD_LINEAR } from './foldLinear.js';
import type { FoldRow, FoldRows } from './foldRow.js';
import { aligned } from './foldRow.js';

/** Without operands: the same for all units. Random numbers are drawn unit by unit (groupProgram.ts). */
const never: FoldRow<OpName> = () => null;

const FOLD_TABLE: FoldRows<OpName> = {
  full: never,
  iota: never,
  randomUniform: never,
  cast: aligned,
  where: aligned,
  clip: aligned,
  neg: aligned,
  abs: aligned,
  sign: aligned,
  floor: aligned,
  exp: aligned,
  log: aligned,
  sqrt: aligned,
  rsqrt: aligned,
  sin: aligned,
  cos: aligned,
  tanh: aligned,
  sigmoid: aligned,
  erf: aligned,
  relu: aligned,
  roundFloat16: aligned,
  finiteOr: aligned,
  logicalNot: aligned,
  add: aligned,
  sub: aligned,
  mul: aligned,
  div: aligned,
  pow: aligned,
  maximum: aligned,
  minimum: aligned,
  equal: aligned,
  notEqual: aligned,
  less: aligned,
  lessEqual: aligned,
  greater: aligned,
  greaterEqual: aligned,
  logicalAnd: aligned,
  logicalOr: aligned,
  ...FOLD_LINEAR,
  ...FOLD_LAYOUT,
};

/** The row of `op` with its parameter types erased, for code that walks programs. */
export function foldRow(op: ProgramNode['op']): FoldRow<OpName> {
  return FOLD_TABLE[op] as FoldRow<OpName>;
}
