/**
 * @file What backends promise besides right numbers: equal bits for any number of threads, nothing kept after a run,
 * inputs untouched, and clear words for what cannot run.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import { createHash } from 'node:crypto';
import type { Program, TensorData, TensorType } from '@ravenlab/protocol';
import { liveTensors } from '../../worker/src/compute/tfjs/tensorProgram.js';
import { floats, prng } from '../unit/core/lib/oracle.js';
import { BACKENDS_UNDER_TEST, open, programOf, runOnce } from './lib/backends.js';
import { MODEL_NAMES, capturedModel } from './lib/captured.js';

const THREADS = [1, 2, 3, 4] as const;

const float = (shape: readonly number[]): TensorType => ({ dtype: 'float32', shape });

function product(
  rows: number,
  depth: number,
  columns: number,
  [transposeA, transposeB]: readonly [boolean, boolean],
): Program {
  const a = float(transposeA ? [depth, rows] : [rows, depth]);
  const b = float(transposeB ? [columns, depth] : [depth, columns]);
  return programOf('matMul', [a, b], { transposeA, transposeB });
}

function sumOf(shape: readonly number[], axes: readonly number[]): Program {
  return programOf('sum', [float(shape)], { axes, keepDims: false });
}

const OVER_MIDDLE = { axes: [1], epsilon: 1e-5 };

async function onThreads(program: Program, inputs: readonly TensorData[]): Promise<TensorData[][]> {
  const results: TensorData[][] = [];
  for (const threads of THREADS) {
    const backend = await open('onnx-cpu', threads);
    results.push(runOnce(backend, program, inputs));
    backend.dispose();
  }
  return results;
}

/** Of large outputs: jest compares arrays element by element, and slowly. */
function bitsOf(outputs: readonly TensorData[]): string {
  const hash = createHash('sha256');
  for (const { buffer, byteOffset, byteLength } of outputs) {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return hash.digest('hex');
}

/** Large enough that ONNX Runtime divides the work among its threads, which it does not for small tensors. */
const CONV = { stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1 } as const;
const image = (channels: number) => float([32, channels, 28, 28]);
const ONE_IMAGE = float([1, 60, 14, 14]);
const ONE_LARGE_IMAGE = float([1, 64, 28, 28]);
const WIDE = float([256, 4_000]);
const KERNEL_3 = { ...CONV, kernelSize: [3, 3] };
const LARGE: readonly (readonly [string, Program])[] = [
  ['convolution', programOf('conv2d', [image(12), float([20, 12, 3, 3])], CONV)],
  ['convolution in blocks', programOf('conv2d', [image(16), float([32, 16, 3, 3])], CONV)],
  [
    'convolution in blocks of one image',
    programOf('conv2d', [ONE_LARGE_IMAGE, float([64, 64, 3, 3])], CONV),
  ],
  ['convolution of one image', programOf('conv2d', [ONE_IMAGE, float([60, 60, 3, 3])], CONV)],
  [
    'gradient of a convolution by its input',
    programOf('conv2dGradInput', [image(20), float([20, 12, 3, 3])], {
      ...CONV,
      inputSize: [28, 28],
    }),
  ],
  [
    'gradient of a convolution in blocks by its input',
    programOf('conv2dGradInput', [image(32), float([32, 16, 3, 3])], {
      ...CONV,
      inputSize: [28, 28],
    }),
  ],
  [
    'gradient of a convolution by its one image',
    programOf('conv2dGradInput', [ONE_IMAGE, float([60, 60, 3, 3])], {
      ...CONV,
      inputSize: [14, 14],
    }),
  ],
  [
    'gradient of a convolution by its weights',
    programOf('conv2dGradWeight', [image(12), image(20)], KERNEL_3),
  ],
  [
    'gradient of a convolution in blocks by its weights',
    programOf('conv2dGradWeight', [image(16), image(32)], KERNEL_3),
  ],
  ['layer of 128 rows, forward', product(128, 784, 256, [false, true])],
  ['layer of 32 rows, backward', product(32, 512, 784, [false, false])],
  ['deep product, both ways round', product(32, 8_000, 144, [true, true])],
  ['deep product with few results', product(3, 50_000, 3, [false, true])],
  ['matrix times a vector', product(200, 5_000, 1, [false, false])],
  ['vector times a matrix', product(1, 5_000, 200, [false, true])],
  ['sum of all', programOf('sum', [WIDE], { axes: [0, 1], keepDims: false })],
  ['sum of rows', programOf('sum', [WIDE], { axes: [0], keepDims: false })],
  ['sum over the middle axis of two slices', sumOf([2, 57, 16], [1])],
  ['sum over the outer axes of three columns', sumOf([6, 3, 40], [0, 2])],
  ['sum over images and pixels', sumOf([32, 20, 28, 28], [0, 2, 3])],
  ['sum over images and pixels of two channels', sumOf([33, 2, 31, 31], [0, 2, 3])],
  ['normalisation over the middle axis', programOf('normalize', [float([2, 57, 16])], OVER_MIDDLE)],
  ['softmax', programOf('logSoftmax', [WIDE], { axis: 1 })],
  ['tanh', programOf('tanh', [WIDE], {})],
  ['exponential', programOf('exp', [WIDE], {})],
  ['sigmoid', programOf('sigmoid', [WIDE], {})],
];

test('onnx-cpu keeps all of a gradient of relu where its input is above zero, and nothing elsewhere', async () => {
  const size = 2 ** 17;
  const type = float([size]);
  const scalar = { shape: [], dtype: 'float32', value: 0 } as const;
  const program: Program = {
    inputs: [type, type],
    nodes: [
      { op: 'full', inputs: [], params: scalar, type: float([]) },
      { op: 'greater', inputs: [0, 2], params: {}, type: { dtype: 'bool', shape: [size] } },
      { op: 'where', inputs: [3, 1, 2], params: {}, type },
    ],
    outputs: [4],
  };
  const signs = [0, -0, 1e-45, -1e-45, 3, -3, 3e38, -3e38, Infinity, -Infinity];
  const kept = [1, -1, 0, -0, 1e-45, NaN, Infinity, -Infinity, 2.5];
  const x = Float32Array.from({ length: size }, (_, i) => signs[i % signs.length]!);
  const dy = Float32Array.from({ length: size }, (_, i) => kept[i % kept.length]!);
  const [result] = runOnce(await open('onnx-cpu', 2), program, [x, dy]);
  const expected = dy.map((value, i) => (x[i]! > 0 ? value : 0));
  expect(bitsOf([result!])).toBe(bitsOf([expected]));
});

describe('onnx-cpu gives the same bits on 1, 2, 3 and 4 threads', () => {
  test.each(LARGE)('for a large %s', async (_name, program) => {
    const inputs = program.inputs.map(({ shape }, index) => floats(shape, 11 + index));
    const bits = (await onThreads(program, inputs)).map(bitsOf);
    expect(new Set(bits).size).toBe(1);
  });

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

  test('large outputs in arrays that are there already are copied nowhere, and an error is one there too', async () => {
    const program = product(512, 64, 512, [false, false]);
    const inputs = [floats([512, 64], 1), floats([64, 512], 2)];
    const backend = await open('onnx-cpu', 2);
    const executable = backend.compile(program);
    const first = executable.run(inputs);
    const into = [new Float32Array(512 * 512)];
    const held = () => process.memoryUsage().arrayBuffers;
    const before = held();
    for (let run = 0; run < 10; run++) executable.run(inputs, into);
    expect(held() - before).toBeLessThan(2 * 512 * 512);
    expect(bitsOf(into)).toBe(bitsOf(first));
    executable.dispose();
    expect(() => executable.run(inputs, into)).toThrow(/onnx-cpu failed to run the program/);
    backend.dispose();
  });

  test.each([8_193, 33_033, 100_003, 2_200_001])(
    'for the logarithms of %d numbers',
    async (size) => {
      const program = programOf('log', [float([size])], {});
      const bits = (await onThreads(program, [floats([size], 5, 0.01, 3)])).map(bitsOf);
      expect(new Set(bits).size).toBe(1);
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

/** Sums that a device may divide among threads, of which each adds to the same places when it is ready. */
const RACES = [
  { name: 'a deep product', places: 0, program: product(32, 2_304, 48, [false, true]) },
  { name: 'rows that meet in a few places', places: 5, program: meeting(400, 5) },
  { name: 'rows of which some meet', places: 70, program: meeting(160, 200) },
];

const ODD = float([7, 131]);
const ROWS = { axes: [1], epsilon: 1e-5 };

/** Sums of odd rows, straight from the inputs. */
const SUMS = [
  { name: 'a sum of rows', program: sumOf(ODD.shape, [1]) },
  { name: 'a sum of all', program: sumOf(ODD.shape, [0, 1]) },
  { name: 'the gradient of a layer norm', program: programOf('normalizeGrad', [ODD, ODD], ROWS) },
];

/** The same numbers, so many places behind the beginning of their memory. */
function movedBy(offset: number, values: Float32Array): Float32Array {
  const place = new Float32Array(values.length + offset).subarray(offset);
  place.set(values);
  return place;
}

function meeting(rows: number, size: number): Program {
  return programOf('scatterAdd', [{ dtype: 'int32', shape: [rows] }, float([rows, 8])], { size });
}

describe.each(BACKENDS_UNDER_TEST)('%s', (name) => {
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

  test.each(RACES)('repeats its bits for $name', async ({ program, places }) => {
    const backend = await open(name);
    const inputs = program.inputs.map(({ dtype, shape }, index) =>
      dtype === 'int32'
        ? Int32Array.from({ length: shape[0]! }, (_, i) => (i * 7) % places)
        : floats(shape, 21 + index),
    );
    const executable = backend.compile(program);
    const runs = [0, 1, 2].map(() => bitsOf(executable.run(inputs)));
    expect(new Set(runs).size).toBe(1);
    executable.dispose();
    backend.dispose();
  });

  test.each(SUMS)(
    'gives the same bits wherever its inputs begin, for $name',
    async ({ program }) => {
      const backend = await open(name);
      const executable = backend.compile(program);
      const values = program.inputs.map(({ shape }, index) => floats(shape, 31 + index));
      const bits = [0, 1, 2, 3, 5].map((offset) =>
        bitsOf(executable.run(values.map((data) => movedBy(offset, data)))),
      );
      expect(new Set(bits).size).toBe(1);
      executable.dispose();
      backend.dispose();
    },
  );

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

/** The backends whose memory ends below this machine's. */
describe.each(BACKENDS_UNDER_TEST.filter((name) => /wasm|webgpu/.test(name)))('%s', (name) => {
  test.each([33_000, 500_000])(
    'says that %d rows of as many columns are too much, and goes on with the next program',
    async (side) => {
      const backend = await open(name);
      const sumOf = (extent: number): Program => ({
        inputs: [float([1, 1])],
        nodes: [
          {
            op: 'broadcastTo',
            inputs: [0],
            params: { shape: [extent, extent] },
            type: float([extent, extent]),
          },
          { op: 'exp', inputs: [1], params: {}, type: float([extent, extent]) },
          { op: 'sum', inputs: [2], params: { axes: [0, 1], keepDims: false }, type: float([]) },
        ],
        outputs: [3],
      });
      const inputs = [new Float32Array(1)];
      const tooMuch: unknown = expect.objectContaining({ code: 'limit', retryable: true });
      expect(() => runOnce(backend, sumOf(side), inputs)).toThrow(tooMuch as Error);
      expect(runOnce(backend, sumOf(30), inputs)[0]).toEqual(Float32Array.of(900));
      backend.dispose();
    },
  );
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
