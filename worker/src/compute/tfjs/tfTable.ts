/** @file The tfjs table: one row per op. Exhaustive: an op without a row does not compile. */
import type { OpName } from '@ravenlab/protocol';
import { TF_ELEMENTWISE } from './tfElementwise.js';
import { TF_LAYOUT } from './tfLayout.js';
import { TF_LINEAR } from './tfLinear.js';
import { TF_REDUCTION } from './tfReduction.js';
import type { TfEmit, TfRows } from './tfRow.js';

const TFJS_EMIT: TfRows<OpName> = {
  ...TF_ELEMENTWISE,
  ...TF_LAYOUT,
  ...TF_REDUCTION,
  ...TF_LINEAR,
};

/** The row of `op` with its parameter types erased, for code that walks programs. */
export function tfRow(op: OpName): TfEmit<OpName> {
  return TFJS_EMIT[op] as TfEmit<OpName>;
}
