/** @file Loads the reduction and optimizer loops over a shared memory. The loops themselves are in assembly/. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { UpdateLoops } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import type { SharedMemory } from './memory.js';
import { instantiate } from './memory.js';

/** Where `npm run build` leaves the loops. */
export const KERNELS_FILE = fileURLToPath(new URL('./kernels.wasm', import.meta.url));

/**
 * Instantiates the loops over `memory`; every thread has its own instance over the same memory.
 * @throws RavenError when the file is missing: the project was not built.
 */
export function loadKernels(memory: SharedMemory, file: string = KERNELS_FILE): UpdateLoops {
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
  return instantiate(new Uint8Array(bytes), memory) as UpdateLoops;
}
