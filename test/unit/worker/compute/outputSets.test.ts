/**
 * @file Sums of a group in the memory of their program: the bits of plain JavaScript, sets that come round, copies that stay.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type {
  ExecutionId,
  Program,
  ProgramHash,
  RunMerge,
  SumForm,
  TensorType,
} from '@ravenlab/protocol';
import { WIRE_FORMATS, WORKER_LIMITS, encodeProgram } from '@ravenlab/protocol';
import { Executor } from '../../../../worker/src/compute/executor.js';
import { addInto } from '../../../../worker/src/compute/merge.js';
import { nativeRuntime } from '../../../../worker/src/compute/onnx/nativeRuntime.js';
import { OnnxBackend } from '../../../../worker/src/compute/onnx/onnxBackend.js';
import { OutputSets } from '../../../../worker/src/compute/outputSets.js';
import { SpareBuffers } from '../../../../worker/src/compute/spareBuffers.js';
import { SumMemories } from '../../../../worker/src/compute/wasm/sumLoops.js';

const LOOPS = resolve(__dirname, '../../../../worker/dist/compute/wasm/sums.wasm');
const TYPES: readonly TensorType[] = [
  { dtype: 'float32', shape: [7, 3] },
  { dtype: 'int32', shape: [5] },
  { dtype: 'float32', shape: [] },
];

function memories(): SumMemories {
  if (!existsSync(LOOPS)) throw new Error(`${LOOPS} is missing: run npm run build`);
  const loaded = SumMemories.load(LOOPS);
  if (loaded === null) throw new Error('the loops do not load');
  return loaded;
}

/** Awkward values: signed zeros, subnormals, the largest, and what rounds. */
const FLOATS = [0, -0, 1e-45, -1e-42, 3e38, 1, 2 ** -24, 16_777_216, -1, 0.1];
const fill = (set: NonNullable<ReturnType<OutputSets['take']>>, seed: number): void => {
  set.forEach((data) => {
    for (let i = 0; i < data.length; i++) {
      const value = FLOATS[(i * 3 + seed) % FLOATS.length] ?? 0;
      data[i] = data instanceof Int32Array ? 2 ** 31 - 1 - i * seed : value;
    }
  });
};
const bits = (data: ArrayBufferView): number[] => [
  ...new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
];

describe('sums in the memory of a program', () => {
  test('have the bits of sums in JavaScript, for float32 and int32, whatever the length', () => {
    const sets = new OutputSets(TYPES, memories());
    const [target, addend] = [sets.take(), sets.take()];
    if (target === undefined || addend === undefined) throw new Error('no sets');
    fill(target, 1);
    fill(addend, 4);
    const expected = target.map((data) => data.slice());
    expected.forEach((data, i) => addInto(data, addend[i] ?? data));
    target.forEach((data, i) => sets.add(data, addend[i] ?? data));
    expect(target.map(bits)).toEqual(expected.map(bits));
  });

  test('are checked for NaN and infinity to the last element', () => {
    const sets = new OutputSets(TYPES, memories());
    const set = sets.take() ?? [];
    expect(sets.firstNonFinite(set)).toBe(-1);
    for (const bad of [NaN, Infinity, -Infinity]) {
      const data = set[0] as Float32Array;
      data[20] = bad;
      expect(sets.firstNonFinite(set)).toBe(0);
      data[20] = 3.4e38;
      expect(sets.firstNonFinite(set)).toBe(-1);
    }
    (set[2] as Float32Array)[0] = NaN;
    expect(sets.firstNonFinite(set)).toBe(2);
  });

  test('are known to be finite by their last addition, until they are rounded or written again', () => {
    const sets = new OutputSets(TYPES, memories());
    const [target, addend] = [sets.take(), sets.take()];
    const [sum, other] = [target?.[0], addend?.[0]] as [Float32Array, Float32Array];
    const added = (a: number, b: number): number => {
      sum[20] = a;
      other[20] = b;
      sets.add(sum, other);
      return sets.firstNonFinite([sum]);
    };
    expect(added(1, 2)).toBe(-1);
    expect(added(3e38, 3e38)).toBe(0);
    expect(added(1, NaN)).toBe(0);
    // The largest float32 but one rounds to infinity in 16 bits.
    expect(added(3.4e38, 0)).toBe(-1);
    sets.round(sum, 'bfloat16');
    expect(sets.firstNonFinite([sum])).toBe(0);
    expect(added(1, 2)).toBe(-1);
    sets.give(addend ?? []);
    sets.take();
    sum[20] = Infinity;
    expect(sets.firstNonFinite([sum])).toBe(0);
  });

  test('leave as copies that later runs do not touch, and the set is used again', () => {
    const sets = new OutputSets(TYPES, memories());
    const set = sets.take() ?? [];
    fill(set, 2);
    const before = set.map(bits);
    const gone = sets.detach(set, ['float32', 'first']);
    expect(sets.take()).toBe(set);
    set.forEach((data) => data.fill(0));
    expect(gone.map(bits)).toEqual(before);
    expect(gone[0]?.buffer).not.toBe(set[0]?.buffer);
  });

  test('leave in memory that came back from answers before them', () => {
    const spares = new SpareBuffers();
    const sets = new OutputSets(TYPES, memories(), spares);
    const gone = sets.detach(sets.take() ?? [], ['float32', 'first']);
    spares.give([gone[0]?.buffer as ArrayBuffer]);
    const next = sets.detach(sets.take() ?? [], ['float32', 'first']);
    expect(next[0]?.buffer).toBe(gone[0]?.buffer);
  });

  test("move to another memory, and sets of before are nobody's", () => {
    const sets = new OutputSets(TYPES, memories());
    const old = sets.take() ?? [];
    const memory = memories().create(sets.sizeBytes + 64);
    if (memory === null) throw new Error('no memory');
    sets.moveTo(memory, 64);
    sets.give(old);
    const taken = Array.from({ length: WORKER_LIMITS.outputSets }, () => sets.take() ?? []);
    for (const [first] of taken) expect(first?.buffer).toBe(memory.buffer);
    expect(Math.min(...taken.flat().map(({ byteOffset }) => byteOffset))).toBe(64);
    expect(sets.take()).toBeUndefined();
  });

  test('run out of sets after as many as the limit says, and take back only their own', () => {
    const sets = new OutputSets(TYPES, memories());
    const taken = Array.from({ length: WORKER_LIMITS.outputSets }, () => sets.take());
    expect(taken.every((set) => set !== undefined)).toBe(true);
    expect(sets.take()).toBeUndefined();
    sets.give([new Float32Array(21), new Int32Array(5), new Float32Array(1)]);
    expect(sets.take()).toBeUndefined();
    sets.give(taken[3] ?? []);
    expect(sets.take()).toBe(taken[3]);
  });

  test('are made in arrays of earlier runs where the loops are not built', () => {
    const sets = new OutputSets(TYPES, SumMemories.load('/nowhere/sums.wasm'));
    expect(sets.take()).toBeUndefined();
    const outputs = [new Float32Array(21), new Int32Array(5), new Float32Array(1)];
    expect(sets.detach(outputs, ['float32', 'first'])).toBe(outputs);
    sets.give(outputs);
    expect(sets.take()).toBe(outputs);
  });
});

test.each(WIRE_FORMATS)(
  'ONNX Runtime and the loops give a group the bits that it has without them, as %s',
  (form) => {
    const type = { dtype: 'float32', shape: [33] } as const;
    const program: Program = {
      inputs: [{ dtype: 'int32', shape: [4] }],
      nodes: [
        { op: 'randomUniform', inputs: [0], params: { shape: [33], stream: 1 }, type },
        { op: 'sin', inputs: [1], params: {}, type },
      ],
      outputs: [2, 1],
    };
    const outputsWith = (loops: SumMemories | null, form: SumForm): number[][] => {
      const backend = new OnnxBackend(nativeRuntime('onnx-cpu', { threads: 1 }));
      const executor = new Executor({ backend, nowUs: () => 0, memories: loops });
      const hash = 'aa' as ProgramHash;
      executor.define(hash, encodeProgram(program));
      const inputs = [{ kind: 'key', seedLow: 1, seedHigh: 2, step: 3 }] as const;
      const shards = Int32Array.from({ length: 16 }, (_, i) => i);
      const merge: RunMerge = { groups: [8, 4, 4], sums: [form, 'first'] };
      const outcomes = [
        ...executor.run(
          { kind: 'batch', batch: 1, execution: 1 as ExecutionId, hash, shards, inputs, merge },
          () => false,
        ),
      ].flat();
      executor.dispose();
      expect(outcomes.map(({ status }) => status)).toEqual(['ok', 'ok', 'ok']);
      return outcomes.flatMap(({ outputs }) => outputs.map(bits));
    };
    expect(outputsWith(memories(), form)).toEqual(outputsWith(null, form));
  },
);
