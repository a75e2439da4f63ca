/** @file How fast this device multiplies matrices: a first guess for the scheduler and a figure for people. */
import type { Program, ProgramNode } from '@ravenlab/protocol';
import { WORKER_LIMITS, inferOp } from '@ravenlab/protocol';
import type { Backend } from './backend.js';

/** Large enough that the product dominates, small enough that a slow device finishes one in time. */
const SIZES = [128, 512] as const;
const US_PER_MS = 1000;
/** Share of the time for the small size, which tells whether the large one is affordable. */
const PROBE = 0.2;

function product(size: number): Program {
  const type = { dtype: 'float32', shape: [size, size] } as const;
  const params = { transposeA: false, transposeB: false };
  const node: ProgramNode = {
    op: 'matMul',
    inputs: [0, 1],
    params,
    type: inferOp('matMul', [type, type], params),
  };
  return { inputs: [type, type], nodes: [node], outputs: [2] };
}

/**
 * Best float32 matrix product rate over about WORKER_LIMITS.benchmarkMs, GFLOP/s.
 * @param nowUs monotonic clock, µs
 */
export function measureGflops(backend: Backend, nowUs: () => number): number {
  const budgetUs = WORKER_LIMITS.benchmarkMs * US_PER_MS;
  const [small, large] = SIZES;
  const first = rate(backend, small, budgetUs * PROBE, nowUs);
  const largeUs = (2 * large ** 3) / (first * US_PER_MS);
  return largeUs > budgetUs / 2 ? first : Math.max(first, rate(backend, large, budgetUs, nowUs));
}

function rate(backend: Backend, size: number, budgetUs: number, nowUs: () => number): number {
  const executable = backend.compile(product(size));
  const values = new Float32Array(size * size).fill(0.5);
  let bestUs = Infinity;
  const endUs = nowUs() + budgetUs;
  do {
    const startUs = nowUs();
    executable.run([values, values]);
    bestUs = Math.min(bestUs, nowUs() - startUs);
  } while (nowUs() < endUs);
  executable.dispose();
  return (2 * size ** 3) / bestUs / US_PER_MS;
}
