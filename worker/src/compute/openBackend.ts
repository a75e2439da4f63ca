/** @file Opens a backend by name; loads only the one that is asked for. */
import type { BackendName } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import type { Backend, BackendOptions } from './backend.js';
import { INSTALLED_BACKENDS } from './backend.js';
import { OnnxBackend } from './onnx/onnxBackend.js';
import { deviceModel } from '../machineInfo.js';

type InstalledBackend = (typeof INSTALLED_BACKENDS)[number];

const OPENERS: Readonly<Record<InstalledBackend, (options: BackendOptions) => Promise<Backend>>> = {
  'onnx-cpu': async (options) => {
    const { nativeRuntime } = await import('./onnx/nativeRuntime.js');
    return new OnnxBackend(nativeRuntime(options));
  },
  'onnx-wasm': async () => {
    const { wasmRuntime } = await import('./onnx/wasmRuntime.js');
    return new OnnxBackend(await wasmRuntime(deviceModel()));
  },
  'tfjs-cpu': async () => {
    const { TfjsBackend } = await import('./tfjs/tfjsBackend.js');
    return new TfjsBackend();
  },
};

export function isInstalled(name: string): name is InstalledBackend {
  return INSTALLED_BACKENDS.some((installed) => installed === name);
}

/** @throws RavenError 'cluster' when this build has no such backend or its native library does not load. */
export async function openBackend(name: BackendName, options: BackendOptions): Promise<Backend> {
  if (!isInstalled(name)) {
    throw new RavenError(
      'cluster',
      `backend ${name} is not in this build; choose one of ${INSTALLED_BACKENDS.join(', ')}`,
    );
  }
  try {
    return await OPENERS[name](options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RavenError('cluster', `backend ${name} does not start here: ${reason}`, {
      cause: error,
    });
  }
}
