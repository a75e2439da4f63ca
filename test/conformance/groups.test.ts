/**
 * @file Units that run as one program have the bits of units that run one by one: op by op, in odd sizes, in whole models.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import type { OpName, OpParams, Program, TensorData, TensorType } from '@ravenlab/protocol';
import { OP_NAMES, valueType } from '@ravenlab/protocol';
import type { Backend } from '../../worker/src/compute/backend.js';
import { cnnStep, mlpStep } from '../../bench/lib/trainStep.js';
import { prng } from '../unit/core/lib/oracle.js';
import { GRAD_CASES } from '../unit/core/lib/gradCases.js';
import { arrayOf, inputData, open, programOf } from './lib/backends.js';
import { MODEL_NAMES, capturedModel } from './lib/captured.js';
import type { ForwardCase, ForwardInput } from './lib/caseInputs.js';
import { FORWARD_CASES } from './lib/cases.js';
import type { Units } from './lib/groupRuns.js';
import {
  difference,
  groupOf,
  runOneByOne,
  runTogether,
  summable,
  valuesOf,
} from './lib/groupRuns.js';

const THREADS = [1, 2, 3, 4] as const;
const LIMIT_MS = 120_000;

const backends = new Map<number, Backend>();
beforeAll(async () => {
  for (const threads of THREADS) backends.set(threads, await open('onnx-cpu', threads));
});
afterAll(() => {
  for (const backend of backends.values()) backend.dispose();
});

/** What the units' program gives on so many threads against one by one on one thread. */
function problemsOf(units: Units, what: string, threads: readonly number[] = THREADS): string[] {
  const group = groupOf(units);
  if (group === null) return [`${what}: no group`];
  const expected = runOneByOne(backends.get(1)!, units);
  return threads.flatMap((count) => {
    const found = difference(expected, runTogether(backends.get(count)!, group, units));
    return found === null ? [] : [`${what}, ${String(count)} threads: ${found}`];
  });
}

// ---------------------------------------------------------------- op by op

function casesOf(op: OpName): readonly ForwardCase<OpName>[] {
  const ofGradients = GRAD_CASES[op].map(({ name, inputs, params }) => ({
    name,
    inputs: inputs.map((input) => ({ ...input, dtype: input.dtype ?? 'float32' })),
    params,
  }));
  return [...FORWARD_CASES[op], ...ofGradients] as readonly ForwardCase<OpName>[];
}

/** A unit's own value of an input of a case: other numbers, in the same range; given ones in another order. */
function ownValue(input: ForwardInput, seed: number, unit: number): TensorData {
  if (input.values === undefined) return inputData(input, seed + 31 * unit);
  const { values } = input;
  return arrayOf(
    input.dtype,
    values.map((_, i) => values[(i + unit) % values.length]!),
  );
}

/** Which inputs are each unit's own: every one alone, and all. */
function choices(count: number): boolean[][] {
  const each = (own: (index: number) => boolean) => Array.from({ length: count }, (_, i) => own(i));
  const singles = count > 1 ? each(() => true).map((_, one) => each((i) => i === one)) : [];
  return [...singles, each(() => true)];
}

const DRAWS: ReadonlySet<OpName> = new Set<OpName>(['randomUniform']);

test.each(OP_NAMES.filter((op) => op !== 'full' && op !== 'iota'))(
  '%s on the rows of several units gives each the bits that it gets alone',
  (op) => {
    const problems: string[] = [];
    for (const { name, inputs, params } of casesOf(op)) {
      const types = inputs.map(({ dtype, shape }) => ({ dtype, shape }));
      const program = summable(programOf(op, types, params as never));
      for (const own of choices(inputs.length)) {
        for (const units of [2, 4]) {
          const values = inputs.map((input, index) =>
            Array.from({ length: own[index] === true ? units : 1 }, (_, unit) =>
              DRAWS.has(op) ? Int32Array.of(1, 2, 3, unit) : ownValue(input, index + 1, unit),
            ),
          );
          problems.push(...problemsOf({ program, values, units }, `${name} × ${units}`, [2]));
        }
      }
    }
    expect(problems).toEqual([]);
  },
  LIMIT_MS,
);

// ---------------------------------------------------------------- odd sizes

interface Sized {
  readonly op: OpName;
  readonly types: readonly TensorType[];
  readonly params: OpParams[OpName];
  readonly own: readonly boolean[];
}

const float = (...shape: number[]): TensorType => ({ dtype: 'float32', shape });

/** Integers from 1 to `below`, smaller ones more often. */
type Draw = (below: number) => number;

const flag = (draw: Draw): boolean => draw(2) === 1;

function drawProduct(draw: Draw): Sized {
  const [rows, depth, columns] = [draw(70), draw(900), draw(700)];
  const transposeB = flag(draw);
  const b = transposeB ? float(columns, depth) : float(depth, columns);
  const params = { transposeA: false, transposeB };
  if (draw(3) > 1)
    return { op: 'matMul', types: [float(rows, depth), b], params, own: [true, false] };
  const batch = draw(6);
  const both = { transposeA: flag(draw), transposeB };
  const small = [draw(40), draw(300), draw(60)] as const;
  const [m, k, n] = small;
  const left = both.transposeA ? float(batch, k, m) : float(batch, m, k);
  const right = transposeB ? float(batch, n, k) : float(batch, k, n);
  return { op: 'matMul', types: [left, right], params: both, own: [true, true] };
}

function drawConvolution(draw: Draw): Sized {
  const groups = draw(4) === 1 ? 2 : 1;
  const [inputs, outputs] = [groups * draw(20), groups * draw(40)];
  const kernel = draw(3);
  const [stride, pad] = [draw(2), draw(2) - 1];
  const params = {
    stride: [stride, stride],
    padding: [pad, pad, pad, pad],
    dilation: [1, 1],
    groups,
  };
  const side = kernel + draw(20);
  const batch = draw(6);
  const w = float(outputs, inputs / groups, kernel, kernel);
  if (flag(draw)) {
    return {
      op: 'conv2d',
      types: [float(batch, inputs, side, side), w],
      params,
      own: [true, false],
    };
  }
  const out = Math.floor((side + 2 * pad - kernel) / stride) + 1;
  return {
    op: 'conv2dGradInput',
    types: [float(batch, outputs, out, out), w],
    params: { ...params, inputSize: [side, side] },
    own: [true, false],
  };
}

const UNARY = ['exp', 'log', 'sqrt', 'rsqrt', 'sin', 'cos', 'tanh', 'sigmoid', 'erf'] as const;

function drawUnary(draw: Draw): Sized {
  const op = UNARY[draw(UNARY.length) - 1]!;
  return { op, types: [float(draw(60), draw(400))], params: {}, own: [true] };
}

const REDUCTIONS = ['sum', 'mean', 'variance', 'softmax', 'logSoftmax', 'normalize'] as const;

function drawReduction(draw: Draw): Sized {
  const op = REDUCTIONS[draw(REDUCTIONS.length) - 1]!;
  const type = float(draw(40), draw(60), draw(60));
  const axis = draw(2);
  const axes = flag(draw) ? [axis] : [1, 2];
  const count = axes.reduce((size, each) => size * (type.shape[each] ?? 1), 1);
  const params = { axis, axes, keepDims: flag(draw), count, epsilon: 1e-5 };
  return { op, types: [type], params: params, own: [true] };
}

function drawBinary(draw: Draw): Sized {
  const op = (['pow', 'div', 'mul', 'maximum'] as const)[draw(4) - 1]!;
  const [rows, width] = [draw(60), draw(400)];
  const other = [float(rows, width), float(1, width), float(rows, 1)][draw(3) - 1]!;
  return { op, types: [float(rows, width), other], params: {}, own: [true, flag(draw)] };
}

const SIZED: readonly (readonly [string, number, (draw: Draw) => Sized])[] = [
  ['products', 36, drawProduct],
  ['convolutions and their gradients', 50, drawConvolution],
  ['functions of one value', 40, drawUnary],
  ['functions of two values', 40, drawBinary],
  ['reductions', 50, drawReduction],
];

test.each(SIZED)(
  '%s of odd sizes keep their bits on 1, 2, 3 and 4 threads',
  (_name, count, make) => {
    const random = prng(count);
    const draw: Draw = (below) => 1 + Math.floor(random() ** 2 * below);
    const problems: string[] = [];
    for (let i = 0; i < count; i++) {
      const { op, types, params, own } = make(draw);
      const units = 2 ** draw(3);
      const values = types.map((type, input) =>
        Array.from({ length: own[input] === true ? units : 1 }, (_, unit) => {
          const data = valuesOf(type, 1 + i + 1000 * input + 7 * unit);
          // Roots, logarithms and powers are of positive numbers.
          return data.map((value) => Math.abs(value) + 2 ** -20);
        }),
      );
      const program = programOf(op, types, params as never);
      const what = `${op} ${JSON.stringify(types.map(({ shape }) => shape))} ${JSON.stringify(params)} × ${units}`;
      problems.push(...problemsOf({ program, values, units }, what, [1 + (i % THREADS.length)]));
    }
    expect(problems).toEqual([]);
  },
  LIMIT_MS,
);

// ---------------------------------------------------------------- models

/** Units with batches of their own: inputs that start with the batch, but for the weights. */
function modelUnits(
  program: Program,
  inputs: readonly TensorData[],
  isBatch: (input: number) => boolean,
  units: number,
): Units {
  const values = inputs.map((data, input) => {
    if (!isBatch(input)) return [data];
    return Array.from({ length: units }, (_, unit) =>
      data.map((_, i) => data[(i + 13 * unit) % data.length]!),
    );
  });
  return { program, values, units };
}

describe.each([2, 4, 8])('%d units of', (units) => {
  test.each(MODEL_NAMES)(
    'the %s',
    (model) => {
      const { program, inputs, weightInputs } = capturedModel(model);
      const isBatch = (input: number): boolean => !weightInputs.includes(input);
      expect(problemsOf(modelUnits(program, inputs, isBatch, units), model)).toEqual([]);
    },
    LIMIT_MS,
  );

  test.each([1, 3, 16, 32])(
    'the models of the benches, batch %d',
    (rows) => {
      for (const { name, program, inputs } of [mlpStep(rows), cnnStep(rows)]) {
        const first = program.inputs.length - 1;
        const isBatch = (input: number): boolean => input === 0 || input === first;
        expect(valueType(program, first).dtype).toBe('int32');
        expect(problemsOf(modelUnits(program, inputs, isBatch, units), name, [1, 2, 4])).toEqual(
          [],
        );
      }
    },
    LIMIT_MS,
  );
});
