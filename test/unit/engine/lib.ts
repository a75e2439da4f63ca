/** @file Where the build leaves the engine's loops, and a heap to run them over. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { SharedHeap } from '../../../kernel/src/engine/heap.js';
import type { Block } from '../../../kernel/src/engine/heap.js';
import { loadKernels } from '../../../kernel/src/engine/wasm/kernels.js';
import type { UpdateLoops } from '../../../protocol/src/update.js';

const DIST = resolve(__dirname, '../../../kernel/dist/engine');

/** Path of a built file. @throws Error saying what to run when there is none. */
function built(file: string): string {
  const path = resolve(DIST, file);
  if (!existsSync(path)) throw new Error(`${path} is missing: run npm run build`);
  return path;
}

/** The engine's loops. */
export const KERNELS = (): string => built('wasm/kernels.wasm');

export interface Bench {
  readonly heap: SharedHeap;
  readonly kernels: UpdateLoops;
  /** A block that holds these values. */
  put(values: Float32Array | Int32Array): Block;
  floats(block: Block): Float32Array;
}

export function makeBench(): Bench {
  const heap = new SharedHeap(1024);
  const kernels = loadKernels(heap.memory, KERNELS());
  return {
    heap,
    kernels,
    put(values) {
      const block = heap.allocate(values.byteLength);
      heap.bytes(block).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      return block;
    },
    floats: (block) => new Float32Array(heap.bytes(block).slice().buffer),
  };
}

/** Reproducible values with many magnitudes. */
export function values(length: number, seed: number): Float32Array {
  let state = seed >>> 0 || 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length }, () => (next() - 0.5) * 10 ** (next() * 4 - 3));
}
