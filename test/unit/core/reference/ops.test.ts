/** @file Every op of the oracle against PyTorch, and the corners that PyTorch does not define. */
import type { OpName, Program, TensorType } from '@ravenlab/protocol';
import { OP_NAMES, RavenError, inferOp, uniform } from '@ravenlab/protocol';
import { erf } from '../../../../kernel/src/core/reference/erf.js';
import { runReference } from '../../../../kernel/src/core/reference/runReference.js';
import { expectClose } from '../lib/oracle.js';
import { readOpVectors } from '../lib/vectors.js';

function single(op: OpName, inputs: readonly TensorType[], params: object): Program {
  const type = inferOp(op, inputs, params as never);
  const node = {
    op,
    inputs: inputs.map((_, k) => k),
    params: params as Program['nodes'][0]['params'],
    type,
  };
  return { inputs, nodes: [node], outputs: [inputs.length] };
}

const f = (...shape: number[]): TensorType => ({ dtype: 'float32', shape });
const i = (...shape: number[]): TensorType => ({ dtype: 'int32', shape });

function run(op: OpName, types: TensorType[], params: object, data: number[][]): number[] {
  return Array.from(runReference(single(op, types, params), data)[0]!);
}

const VECTORS = readOpVectors();

describe('against PyTorch', () => {
  // PyTorch draws other numbers, and has no float32 of float16 steps.
  test('every op but those of our own has a vector', () => {
    const covered = new Set(VECTORS.map(({ op }) => op));
    expect(OP_NAMES.filter((op) => !covered.has(op))).toEqual([
      'randomUniform',
      'roundFloat16',
      'finiteOr',
    ]);
  });

  const cases = VECTORS.map((vector, k) => [`${vector.op} (case ${String(k)})`, vector] as const);
  test.each(cases)('%s', (what, { op, params, inputs, output }) => {
    const program = single(
      op,
      inputs.map(({ type }) => type),
      params,
    );
    expect(program.nodes[0]!.type).toEqual(output.type);
    const [actual] = runReference(
      program,
      inputs.map(({ data }) => data),
    );
    // The vectors are rounded to float32.
    expectClose(actual!, output.data, { rtol: 1e-6, atol: 1e-7, what });
  });
});

describe('corners', () => {
  test('an index outside gives zeros, is dropped, or gives a row of zeros', () => {
    expect(
      run('gather', [f(2), i(3)], { axis: 0 }, [
        [5, 6],
        [1, 2, -1],
      ]),
    ).toEqual([6, 0, 0]);
    expect(
      run('scatterAdd', [i(3), f(3)], { size: 2 }, [
        [1, 2, -1],
        [1, 2, 3],
      ]),
    ).toEqual([0, 1]);
    expect(run('oneHot', [i(3)], { depth: 2 }, [[1, 2, -1]])).toEqual([0, 1, 0, 0, 0, 0]);
  });

  test('casts truncate, saturate and test against zero', () => {
    const x = [1.9, -1.9, 3e9, -3e9];
    expect(run('cast', [f(4)], { dtype: 'int32' }, [x])).toEqual([1, -1, 2147483647, -2147483648]);
    expect(run('cast', [f(3)], { dtype: 'bool' }, [[0, -0.5, 2]])).toEqual([0, 1, 1]);
  });

  test('float16 steps: ties go to even, the smallest is 2^-24, and from 65520 on it is infinity', () => {
    const x = [1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -25, 3 * 2 ** -25, 65519, 65520, -65520];
    const nearest = [1, 1 + 2 ** -9, 0, 2 ** -23, 65504, Infinity, -Infinity];
    expect(run('roundFloat16', [f(7)], {}, [x])).toEqual(nearest);
  });

  test('finiteOr keeps what float32 can say', () => {
    const x = [1, -0, NaN, Infinity, -Infinity, 1e39, 3.4e38];
    expect(run('finiteOr', [f(7)], { value: 5 }, [x])).toEqual([1, -0, 5, 5, 5, 5, 3.4e38]);
  });

  test('int32 products wrap as on every machine', () => {
    expect(run('mul', [i(), i()], {}, [[65537], [65537]])).toEqual([131073]);
  });

  test('the first of equal maxima wins in argMax and in the gradient of a pool', () => {
    expect(run('argMax', [f(4)], { axis: 0 }, [[1, 7, 7, 2]])).toEqual([1]);
    const pool = { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] };
    const types = [f(1, 1, 2, 2), f(1, 1, 1, 1)];
    expect(run('maxPool2dGrad', types, pool, [[3, 3, 3, 3], [5]])).toEqual([5, 0, 0, 0]);
  });

  test('NaN passes through maximum, minimum, clip and reductions', () => {
    expect(
      run('maximum', [f(2), f(2)], {}, [
        [NaN, 1],
        [1, NaN],
      ]),
    ).toEqual([NaN, NaN]);
    expect(
      run('minimum', [f(2), f(2)], {}, [
        [NaN, 1],
        [1, NaN],
      ]),
    ).toEqual([NaN, NaN]);
    expect(run('clip', [f(1)], { min: 0, max: 1 }, [[NaN]])).toEqual([NaN]);
    expect(run('reduceMax', [f(3)], { axes: [0], keepDims: false }, [[1, NaN, 2]])).toEqual([NaN]);
    expect(run('relu', [f(1)], {}, [[NaN]])).toEqual([NaN]);
  });

  test('softmax of large values does not overflow', () => {
    expectClose(run('softmax', [f(2)], { axis: 0 }, [[1000, 1000]]), [0.5, 0.5]);
    expectClose(run('logSoftmax', [f(2)], { axis: 0 }, [[1000, 0]]), [0, -1000]);
  });

  test('random numbers are those of the generator', () => {
    const key = [1, 2, 3, 4];
    const expected = Array.from(uniform(Int32Array.from(key), 6, 5));
    expect(run('randomUniform', [i(4)], { shape: [5], stream: 6 }, [key])).toEqual(expected);
  });

  test('sums over nothing are zero', () => {
    const params = { axes: [0], keepDims: false };
    expect(run('sum', [f(0, 2)], params, [[]])).toEqual([0, 0]);
  });

  test('erf is exact to the last digits of float64', () => {
    // DLMF 7.2.1, values to 16 digits.
    const known: [number, number][] = [
      [0, 0],
      [0.5, 0.5204998778130465],
      [1, 0.8427007929497149],
      [2, 0.9953222650189527],
      [3, 0.9999779095030014],
      [4, 0.9999999845827421],
    ];
    for (const [x, y] of known) {
      expect(Math.abs(erf(x) - y)).toBeLessThan(2e-15);
      expect(erf(-x) + erf(x)).toBe(0);
    }
    expect(erf(NaN)).toBeNaN();
    expect(erf(Infinity)).toBe(1);
  });

  test('inputs that do not fit the program are refused, and never changed', () => {
    const program = single('neg', [f(2)], {});
    expect(() => runReference(program, [])).toThrow(RavenError);
    expect(() => runReference(program, [[1]])).toThrow(/expected float32 \[2\]/);
    const data = Float32Array.of(1, 2);
    runReference(program, [data])[0]!.fill(9);
    expect(Array.from(data)).toEqual([1, 2]);
  });
});
