/** @file Programs that several suites give their workers. */
import type { Program } from '@ravenlab/protocol';
import { inferOp } from '@ravenlab/protocol';

/** x float32[n, n] → x·x, `depth` times: work that takes a while. */
export function powers(n: number, depth: number): Program {
  const type = { dtype: 'float32', shape: [n, n] } as const;
  const params = { transposeA: false, transposeB: false };
  const nodes = Array.from({ length: depth }, (_, i) => ({
    op: 'matMul' as const,
    inputs: [i, 0],
    params,
    type: inferOp('matMul', [type, type], params),
  }));
  return { inputs: [type], nodes, outputs: [depth] };
}
