/** @file A program on a backend of tfjs that answers at once. */
import * as tf from '@tensorflow/tfjs-core';
import type { BackendName, TensorData } from '@ravenlab/protocol';
import type { Executable } from '../backend.js';
import type { TensorProgram } from './tensorProgram.js';
import { tfjsFailure } from './tensorProgram.js';

export class TfjsExecutable implements Executable {
  private readonly backend: BackendName;
  private readonly program: TensorProgram;

  constructor(backend: BackendName, program: TensorProgram) {
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
