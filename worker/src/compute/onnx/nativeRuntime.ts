/** @file ONNX Runtime's own code for this machine's processor: the runtime of onnx-cpu. */
import { cpus } from 'node:os';
import type { BackendOptions } from '../backend.js';
import { ORT_VERSION, OrtTensor, createNativeSession } from './binding.js';
import type { OnnxRuntime } from './runtime.js';

const LOG_FATAL = 4;

export function nativeRuntime({ threads }: BackendOptions): OnnxRuntime<OrtTensor> {
  return {
    name: 'onnx-cpu',
    version: `onnxruntime ${ORT_VERSION}`,
    deviceName: cpus()[0]?.model.trim() ?? 'CPU',
    tensor: ({ dtype, shape }, data) => new OrtTensor(dtype, data as never, shape),
    createSession: ({ bytes, safeThreads }) =>
      createNativeSession(bytes, {
        executionProviders: ['cpu'],
        graphOptimizationLevel: 'all',
        executionMode: 'sequential',
        // Workers with more and with fewer threads are one bit class.
        intraOpNumThreads: Math.min(threads, safeThreads),
        interOpNumThreads: 1,
        // Threads that wait sleep: spinning ones take the cores from the engine and from whatever else the machine is for.
        extra: { session: { intra_op: { allow_spinning: '0' } } },
        // Errors come back as exceptions; a library that also prints them would tear the terminal view.
        logSeverityLevel: LOG_FATAL,
      }),
  };
}
