/** @file How much memory one run of a program takes: intermediate values while they are needed, and outputs. An estimate from above. */
import type { OpName, Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { byteSizeOf, valueType } from '@ravenlab/protocol';

/** Bytes that a kernel needs besides its operands and result. */
const SCRATCH: Partial<
  Readonly<Record<OpName, (inputs: readonly TensorType[], node: ProgramNode) => number>>
> = {
  // One column of the input per kernel position.
  conv2d: (inputs) => columnBytes(inputs[0], inputs[1]?.shape.slice(2)),
  conv2dGradInput: (inputs, node) => columnBytes(node.type, inputs[1]?.shape.slice(2)),
  conv2dGradWeight: (inputs, node) => columnBytes(inputs[0], node.type.shape.slice(2)),
  // Flat indices, one a value.
  scatterAdd: (inputs) => 3 * byteSizeOf(inputs[1] ?? { dtype: 'float32', shape: [0] }),
  maxPool2dGrad: (inputs) => 2 * byteSizeOf(inputs[1] ?? { dtype: 'float32', shape: [0] }),
  normalize: (inputs) => 2 * byteSizeOf(inputs[0] ?? { dtype: 'float32', shape: [0] }),
  normalizeGrad: (inputs) => 4 * byteSizeOf(inputs[0] ?? { dtype: 'float32', shape: [0] }),
};

function columnBytes(input: TensorType | undefined, kernel: readonly number[] | undefined): number {
  if (input === undefined || kernel === undefined) return 0;
  return byteSizeOf(input) * kernel.reduce((area, extent) => area * extent, 1);
}

/** Largest sum of live values over the program, in bytes; inputs that the engine sends as states and data are not in it. */
export function peakBytes(program: Program): number {
  const offset = program.inputs.length;
  const lastUse = new Map<number, number>();
  program.nodes.forEach((node, index) => {
    for (const id of node.inputs) lastUse.set(id, index);
  });
  for (const id of program.outputs) lastUse.set(id, program.nodes.length);
  let live = 0;
  let peak = 0;
  const dying = new Map<number, number>();
  program.nodes.forEach((node, index) => {
    const bytes = byteSizeOf(node.type);
    const types = node.inputs.map((id) => valueType(program, id));
    live += bytes;
    peak = Math.max(peak, live + (SCRATCH[node.op]?.(types, node) ?? 0));
    const until = lastUse.get(offset + index) ?? index;
    dying.set(until, (dying.get(until) ?? 0) + bytes);
    live -= dying.get(index) ?? 0;
  });
  // Every output is copied out of the backend's memory once.
  return program.outputs.reduce((sum, id) => sum + byteSizeOf(valueType(program, id)), peak);
}
