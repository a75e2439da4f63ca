/** @file What is promised of each backend, and where it is held to it: for the suite and for docs/backends.md. */
import type { BackendName, OpName } from '@ravenlab/protocol';

/** Error allowed on top of 1e-4, where a device promises no better: WGSL's sine is right to 2^-11. */
const ALLOWED: Partial<Readonly<Record<BackendName, Partial<Readonly<Record<OpName, number>>>>>> = {
  'tfjs-webgpu': { sin: 2 ** -11, cos: 2 ** -11 },
};

/** For the op itself and for its gradient. */
export function allowedError(backend: BackendName, op: OpName): number {
  return ALLOWED[backend]?.[op] ?? 0;
}

export interface Trial {
  /** False: the code is there, and nobody has run it. */
  readonly isTried: boolean;
  /** Where and when the conformance suite runs on it, or why it does not. */
  readonly where: string;
}

const EVERY_RUN: Trial = { isTried: true, where: 'in every run of the suite' };
const NO_CARD: Trial = {
  isTried: false,
  where: 'never run: no NVIDIA card was at hand; the suite runs on it where it starts',
};

export const TRIALS: Readonly<Record<BackendName, Trial>> = {
  'onnx-cpu': EVERY_RUN,
  'onnx-cuda': NO_CARD,
  'onnx-wasm': EVERY_RUN,
  'tfjs-cpu': EVERY_RUN,
  'tfjs-node': { isTried: true, where: 'where `npm run link:tensorflow` has linked it' },
  'tfjs-node-gpu': NO_CARD,
  'tfjs-webgpu': {
    isTried: true,
    where:
      "on the machine's Vulkan driver, else on SwiftShader, which Chromium brings; on no real card so far",
  },
};
