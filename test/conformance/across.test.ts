/**
 * @file Honest answers of different bit classes are taken for the same answer: the tolerance that audits use across classes,
 * held against the loss and all gradients of whole models, and of a step in float16.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import type { NarrowFormat, Program, TensorData } from '@ravenlab/protocol';
import { NARROW } from '@ravenlab/protocol';
import type { Part } from '../../kernel/src/core/verify/compare.js';
import { isClose } from '../../kernel/src/core/verify/compare.js';
import { BACKENDS_UNDER_TEST, open, runOnce } from './lib/backends.js';
import { MODEL_NAMES, capturedModel } from './lib/captured.js';
import { float16Step } from './lib/float16Step.js';

const LIES: readonly (readonly [string, (value: number) => number])[] = [
  ['zeros', () => 0],
  ['a flipped sign', (value) => -value],
  ['a hundredth too large', (value) => value * 1.01],
];

/** What goes backward is not far below the largest float16. */
const FLOAT16 = { name: 'step in float16', scale: 2 ** 14 };

const FORMATS = Object.keys(NARROW) as NarrowFormat[];

const lie = (dtype: Part['dtype'], bytes: Uint8Array, change: (value: number) => number): Part => ({
  dtype,
  bytes: new Uint8Array(new Float32Array(bytes.buffer).map(change).buffer),
});

/** As an engine reads what came narrow. */
function narrowed(parts: readonly Part[], format: NarrowFormat): Part[] {
  const { round, step } = NARROW[format];
  return parts.map(({ dtype, bytes }) => {
    const values = new Float32Array(bytes.slice().buffer);
    round(values);
    return { dtype, bytes: new Uint8Array(values.buffer), step };
  });
}

function partsOf({ outputs, nodes, inputs }: Program, results: readonly TensorData[]): Part[] {
  const typeOf = (id: number) =>
    id < inputs.length ? inputs[id] : nodes[id - inputs.length]?.type;
  return results.map(({ buffer, byteOffset, byteLength }, index) => ({
    dtype: typeOf(outputs[index] ?? -1)?.dtype ?? 'float32',
    bytes: new Uint8Array(buffer, byteOffset, byteLength).slice(),
  }));
}

async function answerOf(backend: (typeof BACKENDS_UNDER_TEST)[number], model: string) {
  const { program, inputs } =
    model === FLOAT16.name ? float16Step(FLOAT16.scale) : capturedModel(model);
  const opened = await open(backend);
  const results = runOnce(opened, program, inputs);
  const parts = partsOf(program, results);
  opened.dispose();
  return parts;
}

describe.each([...MODEL_NAMES, FLOAT16.name])('%s', (model) => {
  test.each(BACKENDS_UNDER_TEST.filter((name) => name !== 'onnx-cpu'))(
    'what %s answers is close to what onnx-cpu does',
    async (name) => {
      const [ours, theirs] = [await answerOf('onnx-cpu', model), await answerOf(name, model)];
      expect(isClose(ours, theirs)).toBe(true);
    },
  );

  test.each(FORMATS)(
    'so it is when both travel as %s, and a flipped sign is not',
    async (format) => {
      const ours = narrowed(await answerOf('onnx-cpu', model), format);
      const theirs = narrowed(await answerOf('onnx-wasm', model), format);
      expect(isClose(ours, theirs)).toBe(true);
      const lied = ours.map(({ dtype, bytes, step = 0 }) => ({
        ...lie(dtype, bytes, (x) => -x),
        step,
      }));
      expect(isClose(ours, lied)).toBe(false);
    },
  );

  test.each(LIES)('%s is not', async (_, change) => {
    const honest = await answerOf('onnx-cpu', model);
    const lied = honest.map(({ dtype, bytes }) => lie(dtype, bytes, change));
    expect(isClose(honest, lied)).toBe(false);
  });
});
