/** @file The backends as people meet them: which are tried first, what each may hold, what makes one available. */
import type { BackendName } from '@ravenlab/protocol';

const GIB = 2 ** 30;

export interface BackendRow {
  /** True when it computes on a device of its own: `auto` prefers it, when there is one. */
  readonly isAccelerator: boolean;
  /** What it can address, bytes; null where the machine's memory is the bound. */
  readonly addressableBytes: number | null;
  /** Settings of its libraries, where the owner has not made others. They are read when a library is loaded. */
  readonly environment: Readonly<Record<string, string>>;
  /** What to do when it does not start; completes "to make it available: ". */
  readonly remedy: string;
}

/** TF32 gives a thousandth where float32 gives a millionth. */
const FULL_FLOAT32 = { NVIDIA_TF32_OVERRIDE: '0' };
/** TensorFlow tells its life on the terminal; errors come back as exceptions. */
const QUIET = { TF_CPP_MIN_LOG_LEVEL: '2' };
/**
 * ONNX Runtime's builds for Linux and macOS tell their maker about the machine and every model, over the network and through files in the
 * home folder, unless this is set. They do so since 1.29; on Windows the system has a setting for it.
 */
export const SILENT = { ORT_DISABLE_TELEMETRY: '1' } as const;
const LINK = 'npm run link:tensorflow';

/** In the order in which `auto` tries them. */
export const BACKEND_TABLE: Readonly<Record<BackendName, BackendRow>> = {
  'tfjs-node-gpu': {
    environment: { ...QUIET, ...FULL_FLOAT32, TF_FORCE_GPU_ALLOW_GROWTH: 'true' },
    isAccelerator: true,
    addressableBytes: null,
    remedy: `${LINK} -- --gpu, on a machine with an NVIDIA card and its driver`,
  },
  'onnx-cuda': {
    environment: { ...SILENT, ...FULL_FLOAT32 },
    isAccelerator: true,
    addressableBytes: null,
    remedy:
      'put libonnxruntime_providers_shared.so and libonnxruntime_providers_cuda.so of the same version (PyPI: ' +
      'onnxruntime-gpu) beside libonnxruntime.so.1 of onnxruntime-node, and CUDA and cuDNN on LD_LIBRARY_PATH',
  },
  'tfjs-webgpu': {
    environment: {},
    isAccelerator: true,
    addressableBytes: null,
    remedy:
      "install the Vulkan loader (Debian: libvulkan1) and your card's Vulkan driver; for a software adapter, " +
      'chromium-common, and VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json',
  },
  'onnx-cpu': {
    environment: SILENT,
    isAccelerator: false,
    addressableBytes: null,
    remedy: 'npm install, on Linux, macOS or Windows with x64 or arm64',
  },
  'tfjs-node': { environment: QUIET, isAccelerator: false, addressableBytes: null, remedy: LINK },
  'onnx-wasm': {
    environment: {},
    isAccelerator: false,
    addressableBytes: 4 * GIB,
    remedy: 'npm install',
  },
  'tfjs-cpu': {
    environment: {},
    isAccelerator: false,
    addressableBytes: null,
    remedy: 'npm install',
  },
};

export const PREFERRED: readonly BackendName[] = Object.keys(BACKEND_TABLE) as BackendName[];

/** Makes the settings of a backend's libraries. On the main thread, before any other: they read the process' own. */
export function prepareEnvironment(name: BackendName): void {
  for (const [key, value] of Object.entries(BACKEND_TABLE[name].environment)) {
    process.env[key] ??= value;
  }
}
