/** @file Opens a backend by name; loads only the one that is asked for. */
import type { BackendName } from '@ravenlab/protocol';
import { BACKENDS, RavenError } from '@ravenlab/protocol';
import { deviceModel } from '../machineInfo.js';
import type { Backend, BackendOptions } from './backend.js';
import { BACKEND_TABLE } from './backendTable.js';
import type { HostedName } from './hosted/hostMessages.js';

type Open = (options: BackendOptions) => Promise<Backend>;

const OPENERS: Readonly<Record<BackendName, Open>> = {
  'onnx-cpu': async (options) => {
    const [{ OnnxBackend }, { nativeRuntime }] = await onnx();
    return new OnnxBackend(nativeRuntime('onnx-cpu', options));
  },
  'onnx-cuda': async (options) => {
    const [{ OnnxBackend }, { nativeRuntime, tryProvider }] = await onnx();
    const backend = new OnnxBackend(nativeRuntime('onnx-cuda', options));
    tryProvider(backend);
    return backend;
  },
  'onnx-wasm': async () => {
    const { OnnxBackend } = await import('./onnx/onnxBackend.js');
    const { wasmRuntime } = await import('./onnx/wasmRuntime.js');
    return new OnnxBackend(await wasmRuntime(deviceModel()));
  },
  'tfjs-webgpu': () => hosted('tfjs-webgpu'),
  'tfjs-node': () => hosted('tfjs-node'),
  'tfjs-node-gpu': () => hosted('tfjs-node-gpu'),
  'tfjs-cpu': async () => {
    const { TfjsBackend } = await import('./tfjs/tfjsBackend.js');
    return new TfjsBackend();
  },
};

async function hosted(name: HostedName): Promise<Backend> {
  const { openHosted } = await import('./hosted/hostedBackend.js');
  return openHosted(name);
}

function onnx() {
  return Promise.all([import('./onnx/onnxBackend.js'), import('./onnx/nativeRuntime.js')]);
}

/** @throws RavenError 'cluster' when there is no such backend or it does not start here: why, and what to do. */
export async function openBackend(name: BackendName, options: BackendOptions): Promise<Backend> {
  // The name may have come from outside.
  if (!BACKENDS.includes(name)) {
    throw new RavenError(
      'cluster',
      `there is no backend ${name}; choose one of ${BACKENDS.join(', ')}`,
    );
  }
  try {
    return await OPENERS[name](options);
  } catch (error) {
    throw new RavenError(
      'cluster',
      `backend ${name} does not start here: ${reasonOf(error)}; to make it available: ${BACKEND_TABLE[name].remedy}`,
      { fault: 'local', cause: error, meta: { reason: reasonOf(error) } },
    );
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
