/** @file The tfjs-node backends: op by op by TensorFlow, on the processor or on an NVIDIA card. */
import type { Program } from '@ravenlab/protocol';
import { deviceModel } from '../../machineInfo.js';
import type { AsyncBackend, AsyncExecutable } from '../hosted/asyncBackend.js';
import { TensorProgram } from './tensorProgram.js';
import { TfjsExecutable } from './tfjsExecutable.js';
import { openTensorflow } from './tensorflowDevice.js';

export function openTensorflowBackend(name: 'tfjs-node' | 'tfjs-node-gpu'): AsyncBackend {
  const { version, isGpu } = openTensorflow(name === 'tfjs-node-gpu');
  return {
    version,
    deviceName: isGpu ? 'CUDA device 0' : deviceModel(),
    isSoftware: false,
    compile: (program: Program): AsyncExecutable => {
      const executable = new TfjsExecutable(name, new TensorProgram(program));
      return {
        run: (inputs) => Promise.resolve(executable.run(inputs)),
        dispose: () => executable.dispose(),
      };
    },
    dispose: () => undefined,
  };
}
