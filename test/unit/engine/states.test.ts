/** @file Versions of states: copy on commit, the last four kept, nothing freed that somebody reads. */
import type { StateId, StateVersion, UpdateRule } from '@ravenlab/protocol';
import { LIMITS } from '@ravenlab/protocol';
import type { ResourceId } from '../../../kernel/src/core/cluster/state.js';
import { SharedHeap } from '../../../kernel/src/engine/heap.js';
import { Resources } from '../../../kernel/src/engine/resources.js';
import { StateStore } from '../../../kernel/src/engine/states.js';

const A = 1 as StateId;
const B = 2 as StateId;
const at = (version: number): StateVersion => version as StateVersion;
const type = { dtype: 'float32', shape: [4] } as const;
const ASSIGN: UpdateRule = { name: 'assign' };

function makeStore() {
  const heap = new SharedHeap(64);
  const resources = new Resources();
  const retired: ResourceId[] = [];
  const store = new StateStore(heap, resources, (ids) => retired.push(...ids));
  const bytes = (value: number) =>
    new Uint8Array(Float32Array.of(value, value, value, value).buffer);
  const write = (id: StateId, value: number) => {
    const draft = store.draft(id, ASSIGN, 0);
    heap.bytes(draft.block).set(bytes(value));
    return draft;
  };
  const read = (id: StateId, version: number) =>
    new Float32Array(store.bytesOf(store.resolve(id, at(version))).slice().buffer)[0];
  return { heap, resources, retired, store, bytes, write, read };
}

test('a commit makes the next version and keeps the ones before', () => {
  const { store, bytes, write, read } = makeStore();
  store.create(A, type, bytes(10));
  store.create(B, type, bytes(20));
  expect(store.commit([write(A, 11)])).toBe(1);
  expect(store.commit([write(A, 12), write(B, 22)])).toBe(2);
  expect([0, 1, 2].map((version) => read(A, version))).toEqual([10, 11, 12]);
  expect([0, 1, 2].map((version) => read(B, version))).toEqual([20, 20, 22]);
});

test(`only the last ${String(LIMITS.retainedVersions)} versions are kept, and the error says so`, () => {
  const { store, bytes, write, read } = makeStore();
  store.create(A, type, bytes(0));
  for (let version = 1; version <= 10; version++) store.commit([write(A, version)]);
  expect([7, 8, 9, 10].map((version) => read(A, version))).toEqual([7, 8, 9, 10]);
  expect(() => read(A, 6)).toThrow('version 6 is gone; the last 4 of 10 are kept');
});

test('memory stays flat over many commits', () => {
  const { heap, resources, store, bytes, write } = makeStore();
  store.create(A, type, bytes(0));
  for (let i = 0; i < 10; i++) store.commit([write(A, i)]);
  const used = heap.usedBytes;
  for (let i = 0; i < 100; i++) store.commit([write(A, i)]);
  expect(heap.usedBytes).toBe(used);
  expect(resources.count).toBe(LIMITS.retainedVersions);
});

test('versions have names before they are there: each its own, in order, and an image holds none of them', () => {
  const { store, bytes, write, read } = makeStore();
  store.create(A, type, bytes(0));
  const first = [write(A, 1)];
  const second = [write(A, 2)];
  store.promise(first);
  store.promise(second);
  expect([store.promised, store.version]).toEqual([2, 0]);
  const versionsOf = (image: ReturnType<StateStore['capture']>) =>
    image.states.flatMap(({ revisions }) => revisions.map(({ version }) => version));
  expect(versionsOf(store.capture(0))).toEqual([0]);
  expect(store.commit(first)).toBe(1);
  expect([store.promised, read(A, 0), read(A, 1)]).toEqual([1, 0, 1]);
  expect(versionsOf(store.capture(0))).toEqual([0, 1]);
  store.discard(second);
  expect(store.promised).toBe(0);
  expect(store.commit([write(A, 3)])).toBe(2);
  expect(read(A, 2)).toBe(3);
  expect(store.latest(A).wireVersion).toBe(4);
});

test('a pinned revision keeps its bytes until its release, however many commits go by', () => {
  const { heap, store, bytes, write } = makeStore();
  store.create(A, type, bytes(5));
  const revision = store.resolve(A, at(0));
  const release = store.pin(revision);
  for (let i = 0; i < 10; i++) store.commit([write(A, 100 + i)]);
  expect(new Float32Array(store.bytesOf(revision).slice().buffer)[0]).toBe(5);
  const used = heap.usedBytes;
  release();
  release();
  expect(heap.usedBytes).toBe(used - 16);
});

test('workers may forget a revision as soon as it is superseded and unread', () => {
  const { store, bytes, write, retired } = makeStore();
  store.create(A, type, bytes(5));
  const { resource } = store.latest(A);
  const release = store.pin(store.latest(A));
  store.commit([write(A, 6)]);
  expect(retired).not.toContain(resource.id);
  release();
  expect(retired).toContain(resource.id);
});

test('a state that is created again is another thing to workers', () => {
  const { store, bytes, read } = makeStore();
  store.create(A, type, bytes(1));
  const before = store.latest(A).wireVersion;
  store.create(A, type, bytes(2));
  expect(store.latest(A).wireVersion).toBeGreaterThan(before);
  expect(read(A, 0)).toBe(2);
});

test('an unknown or dropped state is refused with what to do', () => {
  const { store, bytes, heap } = makeStore();
  store.create(A, type, bytes(1));
  store.drop([A, B]);
  expect(heap.usedBytes).toBe(0);
  expect(() => store.latest(A)).toThrow(/state 1 is unknown to the engine.*create the model again/);
});

test('bytes that do not fill the type are refused', () => {
  const { store } = makeStore();
  expect(() => {
    store.create(A, type, new Uint8Array(12));
  }).toThrow('12 bytes do not fill float32 [4]');
});

test('slots are made on the first draft, read with their step count, and written back', () => {
  const { store, bytes, heap } = makeStore();
  store.create(A, type, bytes(1));
  const adam: UpdateRule = {
    ...{ name: 'adam', learningRate: 1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0 },
  };
  expect(store.readSlots(A, 3)).toEqual([]);
  const draft = store.draft(A, adam, 3);
  heap.bytes(draft.slots!.blocks[0]!).set(bytes(7));
  store.commit([draft]);
  const slots = store.readSlots(A, 3);
  expect(slots).toEqual([Float32Array.of(7, 7, 7, 7), new Float32Array(4), Float32Array.of(1)]);
  store.writeSlots(A, 9, slots);
  expect(store.readSlots(A, 9)).toEqual(slots);
  expect(store.draft(A, adam, 9).slots?.stepsDone).toBe(1);
  expect(() => {
    store.writeSlots(A, 9, [new Float32Array(3), Float32Array.of(1)]);
  }).toThrow('optimizer slots do not fit');
});
