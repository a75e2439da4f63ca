/** @file ONNX Runtime's own code, for this machine's processor or an NVIDIA card: the runtimes of onnx-cpu and onnx-cuda. */
import type { Program } from '@ravenlab/protocol';
import { deviceModel } from '../../machineInfo.js';
import type { Backend, BackendOptions } from '../backend.js';
import { ORT_VERSION, OrtTensor, createNativeSession } from './binding.js';
import { ONNX_FOLD_RULES } from './foldBits.js';
import { PLAIN_KERNELS } from './modelBuilder.js';
import { processorKernels } from './processorKernels.js';
import type { OnnxRuntime } from './runtime.js';

const LOG_FATAL = 4;
/** Raised when programs become other models, with other bits; workers of both kinds are then two bit classes. */
const EMISSION = 4;

/**
 * Threads wait awake from one op of a run to the next: to wake three sleepers takes longer than many an op, and on a virtual machine one
 * that was asleep may be woken on the core of who woke it, where both then stay for tens of milliseconds. Between runs they
 * sleep, always: threads that spin on take the cores from the engine and from whatever else the machine is for.
 */
const SPINNING = {
  intra_op: { allow_spinning: '1', spin_duration_us: '1000' },
  force_spinning_stop: '1',
};

type NativeName = 'onnx-cpu' | 'onnx-cuda';

const PROVIDER = { 'onnx-cpu': 'cpu', 'onnx-cuda': 'cuda' } as const;

export function nativeRuntime(
  name: NativeName,
  { threads }: BackendOptions,
): OnnxRuntime<OrtTensor> {
  return {
    name,
    version: `onnxruntime ${ORT_VERSION} emission ${EMISSION}`,
    kernels: name === 'onnx-cpu' ? processorKernels() : PLAIN_KERNELS,
    deviceName: name === 'onnx-cpu' ? deviceModel() : 'CUDA device 0',
    // A card's kernels choose their blocks by the whole shape.
    ...(name === 'onnx-cpu' ? { foldRules: ONNX_FOLD_RULES } : {}),
    tensor: ({ dtype, shape }, data) => new OrtTensor(dtype, data as never, shape),
    createSession: ({ bytes, safeThreads }) =>
      createNativeSession(bytes, {
        executionProviders: [PROVIDER[name]],
        graphOptimizationLevel: 'all',
        executionMode: 'sequential',
        // Workers with more and with fewer threads are one bit class.
        intraOpNumThreads: Math.min(threads, safeThreads),
        interOpNumThreads: 1,
        extra: { session: SPINNING },
        // Errors come back as exceptions; a library that also prints them would tear the terminal view.
        logSeverityLevel: LOG_FATAL,
      }),
  };
}

/** Runs next to nothing. @throws RavenError when the provider's libraries do not load. */
export function tryProvider(backend: Backend): void {
  const type = { dtype: 'float32', shape: [1] } as const;
  const nodes = [{ op: 'exp', inputs: [0], params: {}, type }] as const;
  const program: Program = { inputs: [type], nodes, outputs: [1] };
  const executable = backend.compile(program);
  executable.run([new Float32Array(1)]);
  executable.dispose();
}
