/** @file Units run one by one and summed, against the same units as one program. */
import type { Program, ProgramNode, TensorData, TensorType } from '@ravenlab/protocol';
import { allocate, inferOp, sizeOf, uniform, valueType, verifyProgram } from '@ravenlab/protocol';
import type { Backend } from '../../../worker/src/compute/backend.js';
import type { GroupProgram } from '../../../worker/src/compute/group/groupProgram.js';
import { groupProgram } from '../../../worker/src/compute/group/groupProgram.js';
import { GroupSum } from '../../../worker/src/compute/merge.js';
import { ONNX_FOLD_RULES } from '../../../worker/src/compute/onnx/foldBits.js';

export interface Units {
  readonly program: Program;
  /** By input of the program: one value, or one a unit. */
  readonly values: readonly (readonly TensorData[])[];
  readonly units: number;
}

/** Bool outputs cannot be summed: they are cast. */
export function summable({ inputs, nodes, outputs }: Program): Program {
  const added: ProgramNode[] = [];
  const cast = outputs.map((id) => {
    const type = valueType({ inputs, nodes, outputs }, id);
    if (type.dtype !== 'bool') return id;
    const params = { dtype: 'float32' } as const;
    added.push({ op: 'cast', inputs: [id], params, type: inferOp('cast', [type], params) });
    return inputs.length + nodes.length + added.length - 1;
  });
  return { inputs, nodes: [...nodes, ...added], outputs: cast };
}

/** Null when the units cannot be one program. */
export function groupOf({ program, values, units }: Units): GroupProgram | null {
  const perUnit = values.map((own) => own.length > 1);
  const summed = program.outputs.map(() => true);
  const group = groupProgram(program, { units, perUnit, summed }, ONNX_FOLD_RULES);
  if (group !== null) verifyProgram(group.program);
  return group;
}

export function runOneByOne(backend: Backend, { program, values, units }: Units): TensorData[] {
  const executable = backend.compile(program);
  const sum = new GroupSum(program.outputs.map(() => 'float32'));
  for (let unit = 0; unit < units; unit++) {
    sum.add(executable.run(values.map((own) => own[unit] ?? own[0]!)));
  }
  executable.dispose();
  return [...sum.take()];
}

export function runTogether(
  backend: Backend,
  { program, inputs }: GroupProgram,
  { values, units }: Units,
): TensorData[] {
  const executable = backend.compile(program);
  const data = inputs.map(({ index, unit }, input) => {
    const own = values[index]!;
    if (unit === 'shared') return own[0]!;
    if (unit !== 'all') return own[unit]!;
    const { dtype, shape } = program.inputs[input]!;
    const whole = allocate(dtype, sizeOf(shape));
    for (let u = 0; u < units; u++) whole.set(own[u]!, (u * whole.length) / units);
    return whole;
  });
  const outputs = executable.run(data);
  executable.dispose();
  return outputs;
}

/** Null when all bits are the same; else the first output that differs, and by how much. */
export function difference(
  expected: readonly TensorData[],
  actual: readonly TensorData[],
): string | null {
  for (const [index, output] of expected.entries()) {
    const other = actual[index]!;
    if (Buffer.compare(bytesOf(output), bytesOf(other)) === 0) continue;
    const count = output.filter((value, i) => !Object.is(value, other[i])).length;
    return `output ${String(index)}: ${String(count)} of ${String(output.length)} differ`;
  }
  return null;
}

function bytesOf({ buffer, byteOffset, byteLength }: TensorData): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Deterministic values of a type: floats in -1 … 1, small indices, truth values. */
export function valuesOf({ dtype, shape }: TensorType, seed: number): TensorData {
  const data = allocate(dtype, sizeOf(shape));
  const drawn = new Float32Array(data.length);
  uniform(Int32Array.of(seed, 17, 5, 0), 0, data.length, drawn);
  for (let i = 0; i < data.length; i++) {
    const value = drawn[i]!;
    data[i] = dtype === 'float32' ? value * 2 - 1 : Math.floor(value * (dtype === 'bool' ? 2 : 10));
  }
  return data;
}
