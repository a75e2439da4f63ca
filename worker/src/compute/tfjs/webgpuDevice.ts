/** @file A WebGPU device for tfjs in Node: Dawn from npm, over Vulkan, Metal or Direct3D. Ops are not its business. */
import * as tf from '@tensorflow/tfjs-core';
import { create, globals } from 'webgpu';

/** What a device reports only to those who listen. */
const FILTERS = ['internal', 'validation', 'out-of-memory'] as const;

/** The part of a GPUDevice that is used. */
interface Device {
  pushErrorScope(filter: 'validation' | 'out-of-memory' | 'internal'): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
}

export interface WebgpuDevice {
  /** As people know it. */
  readonly name: string;
  /** What its bits may depend on: driver and version where the adapter tells. */
  readonly version: string;
  /** A driver that computes on the processor, like SwiftShader or lavapipe. */
  readonly isSoftware: boolean;
  /** Rejects when the device refused a part of the work: it goes on with whatever its memory held. */
  checked<T>(work: () => Promise<T>): Promise<T>;
}

/** Raised when programs become other calls, with other bits. */
const EMISSION = 2;

/** Names of drivers that do not say of themselves that they are a fallback. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|basic render/i;

/**
 * Makes tfjs of this thread compute on the first adapter.
 * @throws Error when no adapter is found
 */
export async function openWebgpu(): Promise<WebgpuDevice> {
  const gpu = create([]);
  // tfjs looks for what a browser has.
  Object.assign(globalThis, globals);
  Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) throw new Error('no WebGPU adapter was found: no usable Vulkan driver');
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
  // It registers itself when it is loaded, if it finds a GPU then.
  await import('@tensorflow/tfjs-backend-webgpu');
  // One path for all sizes: small tensors would else be computed on the processor, with other bits.
  tf.env().set('WEBGPU_CPU_FORWARD', false);
  if (!(await tf.setBackend('webgpu'))) throw new Error('tfjs found no device on the adapter');
  await tf.ready();
  const name = [device, description, vendor, architecture].find((text) => text !== '') ?? 'GPU';
  return {
    name,
    version: `tfjs ${tf.version_core} emission ${EMISSION} dawn ${[vendor, architecture, description].filter(Boolean).join(' ')}`,
    isSoftware: isFallbackAdapter || SOFTWARE.test(`${name} ${description}`),
    checked: (work) => checked(deviceOf(tf.backend()), work),
  };
}

function deviceOf(backend: object): Device {
  if (!('device' in backend)) throw new Error('tfjs keeps its device elsewhere than it did');
  // Of the backend whose registration just succeeded.
  return backend.device as Device;
}

async function checked<T>(device: Device, work: () => Promise<T>): Promise<T> {
  for (const filter of FILTERS) device.pushErrorScope(filter);
  const closeScopes = () => Promise.all(FILTERS.map(() => device.popErrorScope()));
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await closeScopes();
    throw error;
  }
  for (const error of await closeScopes()) if (error !== null) throw new Error(error.message);
  return result;
}
