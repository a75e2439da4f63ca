/**
 * @file Trains small models for a while on onnx-wasm and says what the weights are, down to the bit. Runs in Node of any
 * version and in a browser: nothing here is Node's.
 */
import type { TensorData } from '@ravenlab/protocol';
import { decodeProgram, sizeOf, viewAs } from '@ravenlab/protocol';
import { OnnxBackend } from '../../../worker/src/compute/onnx/onnxBackend.js';
import { wasmRuntime } from '../../../worker/src/compute/onnx/wasmRuntime.js';

/** A training step as plain data: bytes are hexadecimal. */
export interface ExactCase {
  readonly name: string;
  readonly program: string;
  readonly inputs: readonly string[];
  /** For each weight: the input that it is, and the output that is its gradient. */
  readonly weights: readonly { readonly input: number; readonly gradient: number }[];
}

const STEPS = 50;
const RATE = Math.fround(0.05);

/** @returns SHA-256 of the weights after 50 steps of gradient descent, by case */
export async function trainExactly(cases: readonly ExactCase[]): Promise<Record<string, string>> {
  const backend = new OnnxBackend(await wasmRuntime('this machine'));
  const hashes: Record<string, string> = {};
  for (const exactCase of cases) hashes[exactCase.name] = await train(backend, exactCase);
  backend.dispose();
  return hashes;
}

async function train(
  backend: Pick<OnnxBackend<never>, 'compile'>,
  { program: encoded, inputs: data, weights }: ExactCase,
): Promise<string> {
  const decoded = decodeProgram(bytesOf(encoded));
  if (!decoded.ok) throw decoded.error;
  const program = decoded.value;
  const inputs = program.inputs.map(({ dtype, shape }, index): TensorData => {
    const { buffer } = bytesOf(data[index] ?? '');
    return viewAs(dtype, buffer, 0, sizeOf(shape));
  });
  const executable = backend.compile(program);
  for (let step = 0; step < STEPS; step++) {
    const outputs = executable.run(inputs);
    for (const { input, gradient } of weights) descend(inputs[input], outputs[gradient]);
  }
  executable.dispose();
  return hashOf(weights.map(({ input }) => inputs[input] ?? new Float32Array(0)));
}

/** w ← w - rate · dw, every operation rounded to float32. */
function descend(weight: TensorData | undefined, gradient: TensorData | undefined): void {
  if (weight === undefined || gradient === undefined) throw new Error('a weight has no gradient');
  for (let i = 0; i < weight.length; i++) {
    weight[i] = Math.fround((weight[i] ?? 0) - Math.fround(RATE * (gradient[i] ?? 0)));
  }
}

async function hashOf(arrays: readonly TensorData[]): Promise<string> {
  const total = arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const all = new Uint8Array(total);
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of arrays) {
    all.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += byteLength;
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', all));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
