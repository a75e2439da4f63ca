/** @file How fast this device multiplies matrices and moves memory: a first guess for the scheduler and figures for people. */
import type { Program, ProgramNode, TensorType } from '@ravenlab/protocol';
import { WORKER_LIMITS, byteSizeOf, inferOp } from '@ravenlab/protocol';
import type { Backend } from './backend.js';

/** Large enough that the product dominates, small enough that a slow device finishes one in time. */
const SIZES = [128, 512, 2048] as const;
const US_PER_MS = 1000;
/** Share of the time for the smallest size, which tells whether the next one is affordable. */
const PROBE = 0.2;
/** What is added up: beyond the caches of most processors. */
const LINE: TensorType = { dtype: 'float32', shape: [2 ** 22] };
/** Additions in the short chain and in the long one: what they differ by is memory alone. */
const CHAINS = [2, 10] as const;
const RUNS = 3;

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
 * Best float32 matrix product rate over about WORKER_LIMITS.benchmarkMs, GFLOP/s; transfers to the device and back included.
 * @param nowUs monotonic clock, µs
 */
export function measureGflops(backend: Backend, nowUs: () => number): number {
  const budgetUs = WORKER_LIMITS.benchmarkMs * US_PER_MS;
  let best = rate(backend, SIZES[0], budgetUs * PROBE, nowUs);
  for (const size of SIZES.slice(1)) {
    const expectedUs = (2 * size ** 3) / (best * US_PER_MS);
    if (expectedUs > budgetUs / 2) break;
    best = Math.max(best, rate(backend, size, budgetUs / 2, nowUs));
  }
  return best;
}

function rate(backend: Backend, size: number, budgetUs: number, nowUs: () => number): number {
  const executable = backend.compile(product(size));
  const values = new Float32Array(size * size).fill(0.5);
  let bestUs = Infinity;
  // The first run pays for what is compiled when it is needed, like shaders.
  executable.run([values, values]);
  const endUs = nowUs() + budgetUs;
  do {
    const startUs = nowUs();
    executable.run([values, values]);
    bestUs = Math.min(bestUs, nowUs() - startUs);
  } while (nowUs() < endUs);
  executable.dispose();
  return (2 * size ** 3) / bestUs / US_PER_MS;
}

/** x + y + y + … and the largest element of that, so that little is brought back. */
function additions(count: number): Program {
  const nodes: ProgramNode[] = Array.from({ length: count }, (_, index) => ({
    op: 'add',
    inputs: [index === 0 ? 0 : index + 1, 1],
    params: {},
    type: LINE,
  }));
  nodes.push({
    op: 'reduceMax',
    inputs: [count + 1],
    params: { axes: [0], keepDims: false },
    type: { dtype: 'float32', shape: [] },
  });
  return { inputs: [LINE, LINE], nodes, outputs: [count + 2] };
}

/**
 * Rate at which additions of large tensors read and write memory, GB/s.
 * @param nowUs monotonic clock, µs
 */
export function measureBandwidth(backend: Backend, nowUs: () => number): number {
  const values = new Float32Array(LINE.shape[0] ?? 0).fill(0.5);
  const [shortUs, longUs] = CHAINS.map((count) => {
    const executable = backend.compile(additions(count));
    executable.run([values, values]);
    let bestUs = Infinity;
    for (let run = 0; run < RUNS; run++) {
      const startUs = nowUs();
      executable.run([values, values]);
      bestUs = Math.min(bestUs, nowUs() - startUs);
    }
    executable.dispose();
    return bestUs;
  }) as [number, number];
  // Two operands are read and one result is written.
  const bytes = 3 * byteSizeOf(LINE) * (CHAINS[1] - CHAINS[0]);
  return bytes / Math.max(1, longUs - shortUs) / US_PER_MS;
}
