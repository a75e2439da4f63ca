/** @file How many units of a program are small work: by arithmetic, by ops, by bytes. */
import type { Program, TensorType } from '@ravenlab/protocol';
import { WORKER_LIMITS, programCost } from '@ravenlab/protocol';
import { quickUnits } from '../../../../worker/src/core/quickUnits.js';

const { quickBytes, quickFlops, quickOps } = WORKER_LIMITS;

function chain(ops: number, type: TensorType): Program {
  const nodes = Array.from({ length: ops }, (_, i) => ({
    op: 'neg' as const,
    inputs: [i],
    params: {},
    type,
  }));
  return { inputs: [type], nodes, outputs: [ops] };
}

const scalar: TensorType = { dtype: 'float32', shape: [] };

describe('quick units', () => {
  test('are as many as their ops allow', () => {
    expect(quickUnits(chain(1, scalar))).toBe(quickOps);
    expect(quickUnits(chain(quickOps / 2, scalar))).toBe(2);
    expect(quickUnits(chain(quickOps, scalar))).toBe(1);
    expect(quickUnits(chain(quickOps + 1, scalar))).toBe(0);
  });

  test('are as many as their arithmetic allows', () => {
    const matMul = (n: number): Program => {
      const type: TensorType = { dtype: 'float32', shape: [n, n] };
      const params = { transposeA: false, transposeB: false };
      return {
        inputs: [type],
        nodes: [{ op: 'matMul', inputs: [0, 0], params, type }],
        outputs: [1],
      };
    };
    const small = matMul(32);
    expect(quickUnits(small)).toBe(Math.floor(quickFlops / programCost(small).flops));
    expect(quickUnits(small)).toBeGreaterThan(0);
    expect(programCost(matMul(96)).flops).toBeGreaterThan(quickFlops);
    expect(quickUnits(matMul(96))).toBe(0);
  });

  test('are none of a program that moves many bytes without arithmetic', () => {
    const vector = (bytes: number): TensorType => ({ dtype: 'float32', shape: [bytes / 4] });
    const copy = (bytes: number): Program => ({
      inputs: [vector(bytes)],
      nodes: [
        {
          op: 'reshape',
          inputs: [0],
          params: { shape: [bytes / 4] },
          type: vector(bytes),
        },
      ],
      outputs: [1],
    });
    // The input, the value and the output's copy.
    expect(quickUnits(copy(quickBytes / 4))).toBeGreaterThan(0);
    expect(quickUnits(copy(quickBytes))).toBe(0);
  });
});
