/** @file Weights that a worker updates itself: the engine's bits step after step, and nothing at all where it has not what it takes. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type {
  AdvanceUpdate,
  ClipRule,
  ExecutionId,
  StateId,
  StateVersion,
  UpdateRule,
} from '@ravenlab/protocol';
import { LIMITS, applyUpdates, slotCount } from '@ravenlab/protocol';
import { TensorTable } from '../../../../worker/src/compute/assemble.js';
import { OutputSets } from '../../../../worker/src/compute/outputSets.js';
import { Replica } from '../../../../worker/src/compute/replica.js';
import { SumMemories } from '../../../../worker/src/compute/wasm/sumLoops.js';
import { stateKey } from '../../../../worker/src/core/state.js';
import { makeBench, values } from '../../engine/lib.js';

const LOOPS = resolve(__dirname, '../../../../worker/dist/compute/wasm/sums.wasm');
const ADAM: UpdateRule = {
  name: 'adam',
  ...{ learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 },
};
const SGD: UpdateRule = {
  name: 'sgd',
  ...{ learningRate: 0.1, momentum: 0.9, dampening: 0, nesterov: true, weightDecay: 0 },
};
const NORM: ClipRule = { kind: 'norm', max: 0.5 };
/** Odd ones, so that vectors are not whole. */
const SIZES = [1003, 17, 4];
const NO_EXECUTION = 0 as ExecutionId;

const ref = (state: number, version: number) => ({
  stateId: (state + 1) as StateId,
  version: version as StateVersion,
});
const gradients = (step: number): Float32Array[] =>
  SIZES.map((size, state) => values(size, 31 * step + state + 1));

/** The same states in the engine's memory. */
class Reference {
  private readonly bench = makeBench();
  private readonly rule: UpdateRule;
  private states = SIZES.map((size, state) => this.bench.put(values(size, state + 1)));
  private readonly slots: readonly (readonly { readonly ptr: number }[])[];
  private stepsDone = 0;

  constructor(rule: UpdateRule) {
    this.rule = rule;
    this.slots = SIZES.map((size) =>
      Array.from({ length: slotCount(rule) }, () => this.bench.heap.allocateZeroed(size * 4)),
    );
  }

  step(given: readonly Float32Array[]): void {
    const next = SIZES.map((size) => this.bench.heap.allocate(size * 4));
    const updates = SIZES.map((elements, state) => ({
      ...{ rule: this.rule, stepsDone: this.stepsDone, elements, output: state + 1 },
      dst: next[state]?.ptr ?? 0,
      state: this.states[state]?.ptr ?? 0,
      value: this.bench.put(given[state] ?? new Float32Array(0)).ptr,
      slots: (this.slots[state] ?? []).map(({ ptr }) => ptr),
      ...{ isFloat: true, sizeBytes: elements * 4, clip: 0 },
    }));
    const { kernels, heap } = this.bench;
    expect(applyUpdates(kernels, heap.memory, { clips: [NORM], updates })).toBe(-1);
    this.states = next;
    this.stepsDone++;
  }

  bytes(): Uint8Array[] {
    return this.states.map((block) => this.bench.heap.bytes(block).slice());
  }

  slotBytes(state: number): Uint8Array[] {
    return (this.slots[state] ?? []).map(({ ptr }) =>
      this.bench.heap.bytes({ ptr, sizeBytes: (SIZES[state] ?? 0) * 4 }).slice(),
    );
  }
}

/** A worker that holds version 1 of each state. */
class Scene {
  readonly tensors = new TensorTable();
  readonly replica: Replica;

  constructor() {
    if (!existsSync(LOOPS)) throw new Error(`${LOOPS} is missing: run npm run build`);
    const memories = SumMemories.load(LOOPS);
    if (memories === null) throw new Error('the loops do not load');
    this.replica = new Replica(memories, this.tensors);
    SIZES.forEach((size, state) => this.hold(state, 1, values(size, state + 1)));
  }

  hold(state: number, version: number, data: Float32Array): void {
    this.tensors.set(stateKey(ref(state, version)), new Uint8Array(data.slice().buffer));
  }

  /** @returns whether it makes the update of this execution, from version `step` on. */
  make(step: number, options: Partial<AdvanceUpdate> = {}, rule = ADAM): boolean {
    this.announce(step, options, rule);
    const outputs = [Float32Array.of(0.25), ...gradients(step)];
    const make = this.replica.begin(step as ExecutionId, outputs);
    for (const output of outputs) output.fill(NaN);
    make?.();
    return make !== null;
  }

  announce(step: number, options: Partial<AdvanceUpdate> = {}, rule = ADAM): void {
    const updates = SIZES.map((_, state): AdvanceUpdate => ({
      ...{ state: ref(state, step), output: state + 1, rule, optimizerId: 1, clip: 0 },
      ...{ stepsDone: step - 1, slotsOf: (step - 1) as ExecutionId, slots: [] },
      ...options,
    }));
    const execution = step as ExecutionId;
    this.replica.announce({ kind: 'advance', execution, clips: [NORM], updates });
  }

  keep(step: number): void {
    const keys = SIZES.map((_, state) => stateKey(ref(state, step + 1)));
    this.replica.keep(step as ExecutionId, keys);
  }

  forget(version: number): void {
    const keys = SIZES.map((_, state) => stateKey(ref(state, version)));
    for (const key of keys) this.tensors.delete(key);
    this.replica.forget(keys);
  }

  bytes(version: number): Uint8Array[] {
    return SIZES.map((_, state) => this.tensors.bytes(stateKey(ref(state, version))).slice());
  }
}

test.each([ADAM, SGD])('makes the bits of the engine, step after step: $name', (rule) => {
  const scene = new Scene();
  const reference = new Reference(rule);
  for (let step = 1; step <= 9; step++) {
    expect(scene.make(step, {}, rule)).toBe(true);
    scene.keep(step);
    reference.step(gradients(step));
    expect(scene.bytes(step + 1)).toEqual(reference.bytes());
    scene.forget(step);
  }
});

test('reads gradients where the run wrote them, once its outputs lie beside the weights', () => {
  const scene = new Scene();
  const reference = new Reference(ADAM);
  const types = [1, ...SIZES].map((size) => ({ dtype: 'float32', shape: [size] }) as const);
  const sets = new OutputSets(types, SumMemories.load(LOOPS));
  const memory: ArrayBufferLike[] = [];
  for (let step = 1; step <= 3; step++) {
    const set = sets.take() ?? [];
    [Float32Array.of(0.25), ...gradients(step)].forEach((data, index) => {
      (set[index] as Float32Array).set(data);
    });
    memory.push(set[0]?.buffer as ArrayBuffer);
    scene.announce(step);
    const make = scene.replica.begin(step as ExecutionId, set, sets);
    // The first is copied out of a memory that the sets leave; later ones are read when the update is made.
    if (step === 1) for (const data of set) data.fill(NaN);
    make?.();
    sets.give(set);
    scene.keep(step);
    reference.step(gradients(step));
    expect(scene.bytes(step + 1)).toEqual(reference.bytes());
    scene.forget(step);
  }
  expect(memory[1]).not.toBe(memory[0]);
  expect(memory[2]).toBe(memory[1]);
  expect(scene.tensors.bytes(stateKey(ref(0, 4))).buffer).toBe(memory[2]);
});

test('goes on from slots that were sent', () => {
  const reference = new Reference(ADAM);
  for (let step = 1; step <= 3; step++) reference.step(gradients(step));
  const scene = new Scene();
  reference.bytes().forEach((bytes, state) => {
    scene.hold(state, 4, new Float32Array(bytes.buffer));
    reference.slotBytes(state).forEach((slot, index) => {
      scene.hold(state, LIMITS.firstSlotVersion + index, new Float32Array(slot.buffer));
    });
  });
  const updates = SIZES.map((_, state): AdvanceUpdate => ({
    ...{ state: ref(state, 4), output: state + 1, rule: ADAM, optimizerId: 1, clip: 0 },
    ...{ stepsDone: 3, slotsOf: NO_EXECUTION },
    slots: [0, 1].map((index) => ref(state, LIMITS.firstSlotVersion + index)),
  }));
  const execution = 4 as ExecutionId;
  scene.replica.announce({ kind: 'advance', execution, clips: [NORM], updates });
  scene.replica.begin(execution, [Float32Array.of(1), ...gradients(4)])?.();
  scene.keep(4);
  reference.step(gradients(4));
  expect(scene.bytes(5)).toEqual(reference.bytes());
});

describe('makes nothing', () => {
  test('for another execution than the one that was announced', () => {
    const scene = new Scene();
    const updates: AdvanceUpdate[] = [
      {
        ...{ state: ref(0, 1), output: 0, rule: ADAM, optimizerId: 1, clip: -1 },
        ...{ stepsDone: 0, slotsOf: NO_EXECUTION, slots: [] },
      },
    ];
    scene.replica.announce({ kind: 'advance', execution: 1 as ExecutionId, clips: [], updates });
    expect(scene.replica.begin(2 as ExecutionId, gradients(1))).toBeNull();
    expect(scene.replica.begin(1 as ExecutionId, gradients(1))).not.toBeNull();
    expect(scene.replica.begin(1 as ExecutionId, gradients(1))).toBeNull();
  });

  test('when what it made before was not kept: its slots are those of a step that never was', () => {
    const scene = new Scene();
    expect(scene.make(1)).toBe(true);
    expect(scene.make(2, { state: ref(0, 1) })).toBe(false);
    scene.keep(1);
    expect(() => scene.bytes(2)).toThrow(/not held/);
  });

  test('with slots that another execution left, or of which it never heard', () => {
    const scene = new Scene();
    expect(scene.make(1)).toBe(true);
    scene.keep(1);
    expect(scene.make(2, { slotsOf: 7 as ExecutionId })).toBe(false);
    scene.replica.forgetSlots();
    expect(scene.make(2)).toBe(false);
  });

  test('when a state is not here, or the output has another size', () => {
    const scene = new Scene();
    expect(scene.make(1, { state: ref(0, 5) })).toBe(false);
    expect(scene.make(1, { output: 0 })).toBe(false);
  });

  test('when every place for a version is taken', () => {
    const scene = new Scene();
    let step = 1;
    while (step < 9 && scene.make(step)) scene.keep(step++);
    expect(step).toBeGreaterThan(2);
    expect(step).toBeLessThan(9);
    const last = scene.bytes(step);
    scene.forget(1);
    expect(scene.bytes(step)).toEqual(last);
  });
});

test('a state that comes later joins the others, whose slots stay', () => {
  const scene = new Scene();
  const reference = new Reference(ADAM);
  expect(scene.make(1)).toBe(true);
  scene.keep(1);
  reference.step(gradients(1));
  const extra = values(50, 99);
  scene.hold(SIZES.length, 1, extra);
  const updates = [...SIZES, 50].map((_, state): AdvanceUpdate => {
    const isNew = state === SIZES.length;
    return {
      ...{ state: ref(state, isNew ? 1 : 2), output: state, rule: ADAM, optimizerId: 1 },
      ...{ stepsDone: isNew ? 0 : 1, slotsOf: (isNew ? 0 : 1) as ExecutionId, slots: [] },
      // Its gradient is beside the norm of the others.
      clip: isNew ? -1 : 0,
    };
  });
  const execution = 2 as ExecutionId;
  scene.replica.announce({ kind: 'advance', execution, clips: [NORM], updates });
  const make = scene.replica.begin(execution, [...gradients(2), values(50, 7)]);
  expect(make).not.toBeNull();
  make?.();
  scene.keep(2);
  reference.step(gradients(2));
  expect(scene.bytes(3)).toEqual(reference.bytes());
});
