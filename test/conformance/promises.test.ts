/**
 * @file What backends promise besides right numbers: equal bits for any number of threads, nothing kept after a run,
 * inputs untouched, and clear words for what cannot run.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import type { Program, TensorData } from '@ravenlab/protocol';
import { liveTensors } from '../../worker/src/compute/tfjs/tfjsBackend.js';
import { floats, prng } from '../unit/core/lib/oracle.js';
import { INSTALLED_BACKENDS, open, programOf, runOnce } from './lib/backends.js';
import { MODEL_NAMES, capturedModel } from './lib/captured.js';

const THREADS = [1, 2, 4] as const;

async function onThreads(program: Program, inputs: readonly TensorData[]): Promise<TensorData[][]> {
  const results: TensorData[][] = [];
  for (const threads of THREADS) {
    const backend = await open('onnx-cpu', threads);
    results.push(runOnce(backend, program, inputs));
    backend.dispose();
  }
  return results;
}

describe('onnx-cpu gives the same bits on 1, 2 and 4 threads', () => {
  test.each(MODEL_NAMES)('for a step of the %s', async (model) => {
    const { program, inputs } = capturedModel(model);
    const [first, ...others] = await onThreads(program, inputs);
    for (const other of others) expect(other).toEqual(first);
  });

  test.each(MODEL_NAMES)(
    'written into the arrays of an earlier run, for a step of the %s',
    async (model) => {
      const { program, inputs } = capturedModel(model);
      const backend = await open('onnx-cpu', 2);
      const executable = backend.compile(program);
      const first = executable.run(inputs);
      const into = first.map((output) => output.slice().fill(7));
      const again = executable.run(inputs, into);
      again.forEach((output, index) => {
        expect(output).toBe(into[index]);
      });
      expect(again).toEqual(first);
      backend.dispose();
    },
  );

  test('for sums of 50,000 rows that meet in a few places', async () => {
    const [rows, width, size] = [50_000, 4, 7];
    const random = prng(3);
    const indices = Int32Array.from({ length: rows }, () => Math.floor(random() * size));
    const updates = floats([rows, width], 4);
    const program = programOf(
      'scatterAdd',
      [
        { dtype: 'int32', shape: [rows] },
        { dtype: 'float32', shape: [rows, width] },
      ],
      { size },
    );
    const inOrder = new Float32Array(size * width);
    updates.forEach((value, i) => {
      const at = indices[Math.floor(i / width)]! * width + (i % width);
      inOrder[at] = inOrder[at]! + value;
    });
    for (const [sums] of await onThreads(program, [indices, updates])) {
      expect(sums).toEqual(inOrder);
    }
  });

  test.each([
    { name: 'a large product', shape: [300, 700] },
    { name: 'a deep product', shape: [8, 40_000] },
  ])('for $name', async ({ shape }) => {
    const type = { dtype: 'float32', shape } as const;
    const program = programOf('matMul', [type, type], { transposeA: false, transposeB: true });
    const data = floats(shape, 5);
    const [first, ...others] = await onThreads(program, [data, data]);
    for (const other of others) expect(other).toEqual(first);
  });
});

describe.each(INSTALLED_BACKENDS)('%s', (name) => {
  test('leaves its inputs as they were and repeats its bits', async () => {
    const backend = await open(name);
    const { program, inputs } = capturedModel('mlp');
    const before = inputs.map((data) => data.slice());
    const executable = backend.compile(program);
    const first = executable.run(inputs).map((data) => data.slice());
    executable.release();
    const second = executable.run(inputs);
    expect(second).toEqual(first);
    expect(inputs).toEqual(before);
    executable.dispose();
    backend.dispose();
  });

  test('gives outputs of their own, even when an output is an input', async () => {
    const backend = await open(name);
    const type = { dtype: 'float32', shape: [3] } as const;
    const program: Program = { inputs: [type, type], nodes: [], outputs: [1, 0] };
    const inputs = [Float32Array.of(1, 2, 3), Float32Array.of(4, 5, 6)];
    const [first] = runOnce(backend, program, inputs);
    expect(first).toEqual(inputs[1]);
    first!.fill(9);
    expect(inputs[1]).toEqual(Float32Array.of(4, 5, 6));
    backend.dispose();
  });

  test('shows NaN and infinity instead of hiding them', async () => {
    const backend = await open(name);
    const x = Float32Array.of(NaN, 1, 2, 3, Infinity, 0, 0, 0, 0, 0, 0, 0, NaN, 0, 0, NaN);
    const pool = { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] };
    const image = { dtype: 'float32', shape: [1, 1, 4, 4] } as const;
    const small = { dtype: 'float32', shape: [1, 1, 2, 2] } as const;
    const gradient = programOf('maxPool2dGrad', [image, small], pool);
    const dy = Float32Array.of(1, 2, 3, 4);
    expect(runOnce(backend, gradient, [x, dy])[0]).toHaveLength(16);
    const sum = programOf('sum', [image], { axes: [0, 1, 2, 3], keepDims: false });
    expect(runOnce(backend, sum, [x])[0]).toEqual(Float32Array.of(NaN));
    backend.dispose();
  });
});

test('tfjs-cpu holds no tensor after a run', async () => {
  const backend = await open('tfjs-cpu');
  const { program, inputs } = capturedModel('cnn');
  runOnce(backend, program, inputs);
  const before = liveTensors();
  for (let i = 0; i < 3; i++) runOnce(backend, program, inputs);
  expect(liveTensors()).toBe(before);
  backend.dispose();
});
