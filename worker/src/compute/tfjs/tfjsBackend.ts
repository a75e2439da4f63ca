/** @file The tfjs-cpu backend: op by op in plain JavaScript. Slow, everywhere, and a second opinion on every op. */
import { cpus } from 'node:os';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { OpParams, Program, ProgramNode, TensorData } from '@ravenlab/protocol';
import { RavenError, sizeOf, uniform, valueType } from '@ravenlab/protocol';
import type { Backend, Executable } from '../backend.js';
import { emptyResult } from '../emptiness.js';
import { tfRow } from './tfTable.js';

// Without it tfjs advertises its native backend on the console, into the terminal view.
tf.enableProdMode();

export class TfjsBackend implements Backend {
  readonly name = 'tfjs-cpu';
  readonly version = `tfjs ${tf.version_core}`;
  readonly deviceName = cpus()[0]?.model.trim() ?? 'CPU';

  compile(program: Program): Executable {
    return new TfjsExecutable(program);
  }

  dispose(): void {
    // Tensors live within one run only.
  }
}

/** Tensors that tfjs holds now; a run leaves as many as it found. */
export function liveTensors(): number {
  return tf.memory().numTensors;
}

class TfjsExecutable implements Executable {
  private readonly program: Program;

  constructor(program: Program) {
    this.program = program;
  }

  run(inputs: readonly TensorData[]): TensorData[] {
    // Scopes of tfjs are synchronous, and so is this backend: everything made here dies here.
    tf.engine().startScope();
    try {
      return this.evaluate(inputs);
    } catch (error) {
      if (error instanceof RavenError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new RavenError('program', `tfjs-cpu failed to run the program: ${reason}`, {
        fault: 'local',
        cause: error,
      });
    } finally {
      tf.engine().endScope();
    }
  }

  release(): void {
    // Nothing outlives a run.
  }

  dispose(): void {
    // Nothing outlives a run.
  }

  private evaluate(inputs: readonly TensorData[]): TensorData[] {
    const { program } = this;
    const values: Tensor[] = program.inputs.map(({ shape, dtype }, index) =>
      tf.tensor(inputs[index] ?? [], [...shape], dtype),
    );
    for (const node of program.nodes) {
      values.push(node.op === 'randomUniform' ? draw(node, inputs) : this.apply(node, values));
    }
    // A copy: tfjs may give back the array of an input.
    return program.outputs.map((id) => tensorAt(values, id).dataSync<'float32'>().slice());
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
    return value.dtype === dtype ? value : tf.cast(value, dtype);
  }
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
