/** @file The float64 oracle: runs a program by naive loops. The judge of every backend; never a backend itself. */
import type { OpName, Program, TensorType } from '@ravenlab/protocol';
import { RavenError, formatShape, sizeOf } from '@ravenlab/protocol';
import type { Value, Values } from './arrays.js';
import { makeValues } from './arrays.js';
import { ELEMENTWISE_ORACLE } from './elementwise.js';
import { LAYOUT_ORACLE } from './layout.js';
import { LINEAR_ORACLE } from './linear.js';
import type { OracleRow, OracleRows } from './oracleRow.js';
import { REDUCTION_ORACLE } from './reduction.js';

/** One row per op; a missing row does not compile. */
const ORACLE: OracleRows = {
  ...ELEMENTWISE_ORACLE,
  ...LINEAR_ORACLE,
  ...REDUCTION_ORACLE,
  ...LAYOUT_ORACLE,
};

/**
 * Outputs of `program`, in order. float32 is computed and returned in float64; give Float64Array inputs for central
 * differences. Inputs are not changed and outputs never alias them.
 * @throws RavenError `program` when the inputs do not fit.
 */
export function runReference(program: Program, inputs: readonly ArrayLike<number>[]): Values[] {
  if (inputs.length !== program.inputs.length) {
    throw new RavenError(
      'program',
      `oracle: the program takes ${String(program.inputs.length)} inputs, got ${String(inputs.length)}`,
    );
  }
  const values: Value[] = program.inputs.map((type, index) =>
    inputValue(type, inputs[index] ?? [], index),
  );
  for (const node of program.nodes) {
    const args = node.inputs.map((id) => pick(values, id));
    values.push({ type: node.type, data: evaluate(node.op, args, node.params, node.type) });
  }
  return program.outputs.map((id) => pick(values, id).data.slice());
}

function evaluate(op: OpName, args: readonly Value[], params: object, type: TensorType): Values {
  // The row belongs to this op by construction of the table; TypeScript cannot follow the correlation.
  const row = ORACLE[op] as OracleRow<OpName>;
  return row(args, params, type);
}

function inputValue(type: TensorType, data: ArrayLike<number>, index: number): Value {
  if (data.length !== sizeOf(type.shape)) {
    throw new RavenError(
      'program',
      `oracle: input ${String(index)} has ${String(data.length)} values, expected ${type.dtype} ${formatShape(type.shape)}`,
    );
  }
  const copy = makeValues(type.dtype, data.length);
  copy.set(data);
  return { type, data: copy };
}

function pick(values: readonly Value[], id: number): Value {
  const value = values[id];
  if (value === undefined) {
    throw new RavenError('program', `oracle: value ${String(id)} is not defined`);
  }
  return value;
}
