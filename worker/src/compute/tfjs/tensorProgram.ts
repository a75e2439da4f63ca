/** @file A program by tfjs calls, op by op, on whatever backend tfjs has: each value lives until its last use. Reads nothing back. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { OpParams, Program, ProgramNode, TensorData } from '@ravenlab/protocol';
import { RavenError, sizeOf, uniform, valueType } from '@ravenlab/protocol';
import { emptyResult } from '../emptiness.js';
import { cast } from './tfKernels.js';
import { tfRow } from './tfTable.js';

// Without it tfjs advertises its native backend on the console, into the terminal view.
tf.enableProdMode();

/** Tensors that tfjs holds now; a run leaves as many as it found. */
export function liveTensors(): number {
  return tf.memory().numTensors;
}

export class TensorProgram {
  private readonly program: Program;
  /** Values that no node needs after the node of this index; outputs are never among them. */
  private readonly dyingAt: readonly (readonly number[])[];

  constructor(program: Program) {
    this.program = program;
    this.dyingAt = dyingValues(program);
  }

  /**
   * Runs once. Call inside a scope of tfjs, which ends after the outputs are read: what an error leaves behind dies there.
   * @returns One tensor per program output.
   */
  evaluate(inputs: readonly TensorData[]): Tensor[] {
    const { program } = this;
    const values: Tensor[] = program.inputs.map(({ shape, dtype }, index) =>
      tf.tensor(inputs[index] ?? [], [...shape], dtype),
    );
    program.nodes.forEach((node, index) => {
      const value =
        node.op === 'randomUniform' ? draw(node, inputs) : tf.tidy(() => this.apply(node, values));
      values.push(value);
      for (const id of this.dyingAt[index] ?? []) tensorAt(values, id).dispose();
    });
    return program.outputs.map((id) => tensorAt(values, id));
  }

  private apply(node: ProgramNode, values: readonly Tensor[]): Tensor {
    const types = node.inputs.map((id) => valueType(this.program, id));
    let operands = node.inputs.map((id) => tensorAt(values, id));
    const { shape, dtype } = node.type;
    if ([node.type, ...types].some((type) => sizeOf(type.shape) === 0)) {
      const result = emptyResult(node, types);
      if (result.kind === 'constant') return tf.fill([...shape], result.value, dtype);
      operands = operands.filter(({ size }) => size > 0);
    }
    const value = tfRow(node.op)(operands, { params: node.params, type: node.type });
    // Some kernels answer in float32 whatever they are given.
    if (value.dtype !== dtype) return cast(value, dtype);
    // A value of its own, which may die at another time than the operand.
    return operands.includes(value) ? tf.clone(value) : value;
  }
}

function dyingValues(program: Program): number[][] {
  const lastUse = new Map<number, number>();
  program.nodes.forEach((node, index) => {
    // One that nobody reads dies where it is made.
    lastUse.set(program.inputs.length + index, index);
    for (const id of node.inputs) lastUse.set(id, index);
  });
  for (const id of program.outputs) lastUse.delete(id);
  const dying = program.nodes.map((): number[] => []);
  for (const [id, index] of lastUse) dying[index]?.push(id);
  return dying;
}

function tensorAt(values: readonly Tensor[], id: number): Tensor {
  const value = values[id];
  if (value === undefined) throw new Error(`value ${id} was not computed`);
  return value;
}

function draw(node: ProgramNode, inputs: readonly TensorData[]): Tensor {
  const { shape, stream } = node.params as OpParams['randomUniform'];
  const key = inputs[node.inputs[0] ?? 0];
  return tf.tensor(uniform(key as Int32Array, stream, sizeOf(shape)), [...shape], 'float32');
}

/** What tfjs said, as an error of ours; too little memory is not the program's fault. */
export function tfjsFailure(backend: string, error: unknown): RavenError {
  if (error instanceof RavenError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  const isMemory = /out of memory|allocat|OOM|exceeds the max/i.test(reason);
  return new RavenError(
    isMemory ? 'limit' : 'program',
    `${backend} failed to run the program: ${reason}`,
    { fault: 'local', retryable: isMemory, cause: error },
  );
}
