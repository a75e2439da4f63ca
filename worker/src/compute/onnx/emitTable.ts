/** @file The emission table: one row per op. Exhaustive: an op without a row does not compile. */
import type { OpName } from '@ravenlab/protocol';
import { EMIT_CONV } from './emitConv.js';
import { EMIT_ELEMENTWISE } from './emitElementwise.js';
import { EMIT_LAYOUT } from './emitLayout.js';
import { emitMatMul } from './emitMatMul.js';
import { EMIT_POOL } from './emitPool.js';
import { EMIT_REDUCTION } from './emitReduction.js';
import type { Emit, EmitRows } from './emitRow.js';

const ONNX_EMIT: EmitRows<OpName> = {
  ...EMIT_ELEMENTWISE,
  ...EMIT_LAYOUT,
  ...EMIT_REDUCTION,
  ...EMIT_CONV,
  ...EMIT_POOL,
  matMul: emitMatMul,
};

/** The row of `op` with its parameter types erased, for code that walks programs. */
export function emitRow(op: OpName): Emit<OpName> {
  return ONNX_EMIT[op] as Emit<OpName>;
}
