/**
 * @file TensorFlow's own kernels for tfjs: the addon of @tensorflow/tfjs-node, linked by `npm run link:tensorflow` against
 * the wheel in .venv. Its package is not used whole: what it brings besides kernels would be a hundred packages more.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { tensorflowFolder } from './tensorflowFolder.js';

/** What link:tensorflow wrote when the link had passed its test. */
interface Link {
  readonly tensorflow: string;
  readonly isGpu: boolean;
}

export interface TensorflowDevice {
  readonly version: string;
  readonly isGpu: boolean;
}

interface NodeBackend extends tf.KernelBackend {
  readonly isUsingGpuDevice: boolean;
}
type NodeBackendClass = new (binding: unknown, packageName: string) => NodeBackend;

/**
 * Makes tfjs of this thread compute by TensorFlow.
 * @throws Error when nothing is linked, or when a GPU is asked for and TensorFlow sees none
 */
export function openTensorflow(wantsGpu: boolean): TensorflowDevice {
  const folder = tensorflowFolder();
  const manifest = join(folder, 'link.json');
  if (!existsSync(manifest)) throw new Error('TensorFlow is not linked');
  const link = JSON.parse(readFileSync(manifest, 'utf8')) as Link;
  if (wantsGpu && !link.isGpu) throw new Error('TensorFlow is linked for the processor only');
  restoreRemoved();
  const load = createRequire(join(folder, 'package', 'dist', 'index.js'));
  load('./register_all_kernels.js');
  const { NodeJSKernelBackend } = load('./nodejs_kernel_backend.js') as {
    readonly NodeJSKernelBackend: NodeBackendClass;
  };
  const backend = new NodeJSKernelBackend(
    load(join(folder, 'tfjs_binding.node')),
    '@tensorflow/tfjs-node',
  );
  if (wantsGpu && !backend.isUsingGpuDevice) throw new Error('TensorFlow sees no GPU');
  tf.registerBackend('tensorflow', () => backend);
  // Resolved already: the backend is there.
  void tf.setBackend('tensorflow');
  return {
    version: `tfjs ${tf.version_core} tensorflow ${link.tensorflow}`,
    isGpu: backend.isUsingGpuDevice,
  };
}

/** Node 23 dropped functions of `util` that the package still calls; tfjs#8425 mends it in no release. */
function restoreRemoved(): void {
  const util = createRequire(import.meta.url)('node:util') as Record<string, unknown>;
  util['isArray'] ??= Array.isArray;
  util['isNullOrUndefined'] ??= (value: unknown): boolean => value === null || value === undefined;
}
