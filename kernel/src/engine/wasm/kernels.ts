/** @file Loads the reduction and optimizer loops over a shared memory. The loops themselves are in assembly/. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { NarrowFormat } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import type { SharedMemory } from './memory.js';
import { instantiate } from './memory.js';

/** Exports of assembly/kernels.ts; pointers are byte addresses, `n` counts elements. */
export interface Kernels {
  addF32(dst: number, src: number, n: number): void;
  addI32(dst: number, src: number, n: number): void;
  /** 1 when no element is NaN or infinite. */
  allFinite(ptr: number, n: number): number;
  sumSquares(ptr: number, n: number): number;
  roundBfloat16(ptr: number, n: number): void;
  roundFloat16(ptr: number, n: number): void;
  roundInt8(ptr: number, n: number): void;
  ema(dst: number, state: number, value: number, n: number, keep: number, momentum: number): void;
  sgd(
    dst: number,
    w: number,
    g: number,
    n: number,
    gradScale: number,
    limit: number,
    lr: number,
    decay: number,
  ): void;
  sgdMomentum(
    dst: number,
    w: number,
    g: number,
    buf: number,
    n: number,
    gradScale: number,
    limit: number,
    lr: number,
    momentum: number,
    fresh: number,
    decay: number,
    nesterov: number,
    first: number,
  ): void;
  adam(
    dst: number,
    w: number,
    g: number,
    m: number,
    v: number,
    n: number,
    gradScale: number,
    limit: number,
    lr: number,
    beta1: number,
    gain1: number,
    beta2: number,
    gain2: number,
    scaleV: number,
    epsilon: number,
    decay: number,
    shrink: number,
  ): void;
}

/** The loop that rounds to what a format holds; to the bits of NARROW[format].round. */
export const ROUND_LOOPS = {
  bfloat16: 'roundBfloat16',
  float16: 'roundFloat16',
  int8: 'roundInt8',
} as const satisfies Record<NarrowFormat, keyof Kernels>;

/** Where `npm run build` leaves the loops. */
export const KERNELS_FILE = fileURLToPath(new URL('./kernels.wasm', import.meta.url));

/**
 * Instantiates the loops over `memory`; every thread has its own instance over the same memory.
 * @throws RavenError when the file is missing: the project was not built.
 */
export function loadKernels(memory: SharedMemory, file: string = KERNELS_FILE): Kernels {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new RavenError(
      'internal',
      `the engine's loops are not built (${file}): run npm run build`,
      {
        fault: 'local',
        cause: error,
      },
    );
  }
  return instantiate(new Uint8Array(bytes), memory) as Kernels;
}
