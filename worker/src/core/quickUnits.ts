/** @file Which programs are so small that the way to another thread and back takes longer than running them. An estimate from above. */
import type { Program, TensorType } from '@ravenlab/protocol';
import { WORKER_LIMITS, byteSizeOf, programCost } from '@ravenlab/protocol';
import { peakBytes } from './peakBytes.js';

/** Units of the program that one batch may run at once where messages wait for it; 0: none, it is no small program. */
export function quickUnits(program: Program): number {
  const { quickFlops, quickOps, quickBytes } = WORKER_LIMITS;
  const bytes = sumBytes(program.inputs) + peakBytes(program);
  if (bytes > quickBytes) return 0;
  const { flops } = programCost(program);
  // An op costs its call even when it has nothing to compute.
  const ops = Math.max(1, program.nodes.length);
  return Math.min(Math.floor(quickOps / ops), Math.floor(quickFlops / Math.max(1, flops)));
}

function sumBytes(types: readonly TensorType[]): number {
  return types.reduce((sum, type) => sum + byteSizeOf(type), 0);
}
