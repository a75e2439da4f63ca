/** @file The tfjs-cpu backend: op by op in plain JavaScript. Slow, everywhere, and a second opinion on every op. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { BackendName, Program, TensorData } from '@ravenlab/protocol';
import { deviceModel } from '../../machineInfo.js';
import type { Backend, Executable } from '../backend.js';
import { TensorProgram, tfjsFailure } from './tensorProgram.js';

export class TfjsBackend implements Backend {
  readonly name: BackendName = 'tfjs-cpu';
  readonly version = `tfjs ${tf.version_core}`;
  readonly deviceName = deviceModel();

  compile(program: Program): Executable {
    return new TfjsExecutable(this.name, new TensorProgram(program));
  }

  dispose(): void {
    // Tensors live within one run only.
  }
}

class TfjsExecutable implements Executable {
  private readonly backend: string;
  private readonly program: TensorProgram;

  constructor(backend: string, program: TensorProgram) {
    this.backend = backend;
    this.program = program;
  }

  run(inputs: readonly TensorData[]): TensorData[] {
    // Scopes of tfjs are synchronous, and so is this backend: everything made here dies here.
    tf.engine().startScope();
    try {
      // A copy: tfjs may give back the array of an input.
      return this.program.evaluate(inputs).map((output) => output.dataSync<'float32'>().slice());
    } catch (error) {
      throw tfjsFailure(this.backend, error);
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
}
