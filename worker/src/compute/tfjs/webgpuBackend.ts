/** @file The tfjs-webgpu backend: op by op on any GPU with a driver for Vulkan, Metal or Direct3D. Runs on a thread of its own. */
import * as tf from '@tensorflow/tfjs-core';
import type { Program, TensorData } from '@ravenlab/protocol';
import type { AsyncBackend, AsyncExecutable } from '../hosted/asyncBackend.js';
import { TensorProgram, tfjsFailure } from './tensorProgram.js';
import type { WebgpuDevice } from './webgpuDevice.js';
import { openWebgpu } from './webgpuDevice.js';

export async function openWebgpuBackend(): Promise<AsyncBackend> {
  return new WebgpuBackend(await openWebgpu());
}

class WebgpuBackend implements AsyncBackend {
  readonly deviceName: string;
  readonly version: string;
  readonly isSoftware: boolean;
  private readonly device: WebgpuDevice;

  constructor(device: WebgpuDevice) {
    const { name, version, isSoftware } = device;
    this.device = device;
    this.deviceName = name;
    this.version = version;
    this.isSoftware = isSoftware;
  }

  compile(program: Program): AsyncExecutable {
    const tensors = new TensorProgram(program);
    return {
      run: (inputs) => this.run(tensors, inputs),
      dispose: () => undefined,
    };
  }

  dispose(): void {
    tf.removeBackend('webgpu');
  }

  private async run(program: TensorProgram, inputs: readonly TensorData[]): Promise<TensorData[]> {
    try {
      return await this.device.checked(() => runOnce(program, inputs));
    } catch (error) {
      throw tfjsFailure('tfjs-webgpu', error);
    }
  }
}

async function runOnce(
  program: TensorProgram,
  inputs: readonly TensorData[],
): Promise<TensorData[]> {
  // Scopes nest, so one that waits is safe only because runs come one after another.
  tf.engine().startScope();
  try {
    const outputs = program.evaluate(inputs);
    const read = await Promise.all(outputs.map((output) => output.data<'float32'>()));
    // A copy: tfjs may give back the array of an input, or one array for two outputs.
    return read.map((data) => data.slice());
  } finally {
    tf.engine().endScope();
  }
}
