/** @file The tfjs-cpu backend: op by op in plain JavaScript. Slow, everywhere, and a second opinion on every op. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { BackendName, Program } from '@ravenlab/protocol';
import { deviceModel } from '../../machineInfo.js';
import type { Backend, Executable } from '../backend.js';
import { TensorProgram } from './tensorProgram.js';
import { TfjsExecutable } from './tfjsExecutable.js';

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
