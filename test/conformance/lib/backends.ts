/** @file The backends under test and how to compare what they say with the float64 oracle. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BackendName, DType, Program, TensorData, TensorType } from '@ravenlab/protocol';
import { BACKENDS, allocate, inferOp, sizeOf } from '@ravenlab/protocol';
import type { OpName, OpParams } from '@ravenlab/protocol';
import type { Backend } from '../../../worker/src/compute/backend.js';
import type { HostedName } from '../../../worker/src/compute/hosted/hostMessages.js';
import { openHosted } from '../../../worker/src/compute/hosted/hostedBackend.js';
import { openBackend } from '../../../worker/src/compute/openBackend.js';
import { floats } from '../../unit/core/lib/oracle.js';
import type { ForwardInput } from './caseInputs.js';

const RELATIVE = 1e-4;
/** Of values that are differences of larger ones. */
const ABSOLUTE = 2e-6;

/** Those that npm alone brings. */
const EVERYWHERE: readonly BackendName[] = ['onnx-cpu', 'onnx-wasm', 'tfjs-cpu'];

/** Names of the others that start here, as `npm test conformance` found out. */
const FOUND = (process.env['RAVENLAB_BACKENDS'] ?? '').split(' ').filter((name) => name !== '');

export const BACKENDS_UNDER_TEST: readonly BackendName[] = [
  ...EVERYWHERE,
  ...FOUND.filter((name): name is BackendName => BACKENDS.some((known) => known === name)),
];

/** What is not tested here, each with its reason. */
export const MISSING_BACKENDS: readonly string[] = (
  process.env['RAVENLAB_BACKENDS_MISSING'] ?? 'devices (only `npm test conformance` looks for them)'
)
  .split('\n')
  .filter((line) => line !== '');

const isHosted = (name: BackendName): name is HostedName => /^tfjs-(?!cpu)/.test(name);

/** Threads start from what is built. */
const HOST_THREAD = resolve(__dirname, '../../../worker/dist/compute/hosted/hostThread.js');

export function open(name: BackendName, threads = 2): Promise<Backend> {
  if (!isHosted(name)) return openBackend(name, { threads });
  if (!existsSync(HOST_THREAD)) throw new Error(`${HOST_THREAD} is missing: run npm run build`);
  return openHosted(name, pathToFileURL(HOST_THREAD));
}

/** Compiles, runs once, frees. */
export function runOnce(
  backend: Backend,
  program: Program,
  inputs: readonly TensorData[],
): TensorData[] {
  const executable = backend.compile(program);
  try {
    return executable.run(inputs);
  } finally {
    executable.dispose();
  }
}

export function arrayOf(dtype: DType, values: ArrayLike<number>): TensorData {
  const data = allocate(dtype, values.length);
  data.set(values);
  return data;
}

export function inputData(input: ForwardInput, seed: number): TensorData {
  const { dtype, shape, values, range = [-1, 1] } = input;
  if (values !== undefined && values.length !== sizeOf(shape)) {
    throw new Error(`case gives ${values.length} values for ${shape.join(' × ')}`);
  }
  if (dtype !== 'float32' && values === undefined && sizeOf(shape) > 0) {
    throw new Error(`case gives no values for ${dtype}`);
  }
  return arrayOf(dtype, values ?? floats(shape, seed, range[0], range[1]));
}

/** A program of one op. */
export function programOf<N extends OpName>(
  op: N,
  inputs: readonly TensorType[],
  params: OpParams[N],
): Program {
  const type = inferOp(op, inputs, params);
  const node = { op, inputs: inputs.map((_, i) => i), params, type };
  return { inputs, nodes: [node], outputs: [inputs.length] };
}

/**
 * Fails unless |actual - expected| ≤ absolute + relative · |expected| everywhere, with equal infinities.
 * Sums of many terms are judged by the size of the largest value, not by their own.
 */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
  allowed = 0,
): void {
  if (actual.length !== expected.length) {
    throw new Error(`${what}: ${actual.length} elements, expected ${expected.length}`);
  }
  let largest = 0;
  for (const value of Array.from(expected)) {
    const size = Math.abs(value);
    if (Number.isFinite(size)) largest = Math.max(largest, size);
  }
  const absolute = allowed + ABSOLUTE * Math.max(1, largest);
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    const isSame = a === e || (Number.isNaN(a) && Number.isNaN(e));
    if (isSame || Math.abs(a - e) <= absolute + RELATIVE * Math.abs(e)) continue;
    throw new Error(`${what}: element ${i} is ${a}, the oracle says ${e}`);
  }
}
