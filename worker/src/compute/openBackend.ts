/** @file Opens a backend by name; loads only the one that is asked for. */
import type { BackendName } from '@ravenlab/protocol';
import { BACKENDS, RavenError } from '@ravenlab/protocol';
import { deviceModel } from '../machineInfo.js';
import type { Backend, BackendOptions } from './backend.js';
import { BACKEND_TABLE } from './backendTable.js';

type Open = (options: BackendOptions) => Promise<Backend>;

const OPENERS: Readonly<Partial<Record<BackendName, Open>>> = {
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
  'tfjs-webgpu': async () => {
    const { openHosted } = await import('./hosted/hostedBackend.js');
    return openHosted('tfjs-webgpu');
  },
  'tfjs-cpu': async () => {
    const { TfjsBackend } = await import('./tfjs/tfjsBackend.js');
    return new TfjsBackend();
  },
};

function onnx() {
  return Promise.all([import('./onnx/onnxBackend.js'), import('./onnx/nativeRuntime.js')]);
}

/** Backends of this build; whether they start here is another question. */
export const INSTALLED_BACKENDS: readonly BackendName[] = BACKENDS.filter(
  (name) => OPENERS[name] !== undefined,
);

/** @throws RavenError 'cluster' when this build has no such backend or its native library does not load: why, and what to do. */
export async function openBackend(name: BackendName, options: BackendOptions): Promise<Backend> {
  const open = OPENERS[name];
  if (open === undefined) {
    throw new RavenError(
      'cluster',
      `backend ${name} is not in this build; choose one of ${INSTALLED_BACKENDS.join(', ')}`,
    );
  }
  try {
    return await open(options);
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
