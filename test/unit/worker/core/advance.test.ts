/** @file When a worker makes the next weights itself: with what it needs and room for it, and under no name before KEEP. */
import type { AdvanceUpdate, ExecutionId, StateId, StateVersion } from '@ravenlab/protocol';
import { LIMITS } from '@ravenlab/protocol';
import { step } from '../../../../worker/src/core/machine.js';
import type { WorkerEffect, WorkerEvent } from '../../../../worker/src/core/events.js';
import { checkInvariants, initialState } from '../../../../worker/src/core/state.js';

const SIZE = 1_000;
const EXECUTION = 7 as ExecutionId;
const ref = (id: number, version: number) => ({
  stateId: id as StateId,
  version: version as StateVersion,
});

function update(id: number, options: Partial<AdvanceUpdate> = {}): AdvanceUpdate {
  const adam = { learningRate: 1, beta1: 0.9, beta2: 0.9, epsilon: 1, weightDecay: 0 };
  return {
    ...{ state: ref(id, 1), output: 0, optimizerId: 1, stepsDone: 0, clip: -1 },
    ...{ rule: { name: 'adam', ...adam }, slotsOf: 0 as ExecutionId, slots: [] },
    ...options,
  };
}

const advance = (...updates: AdvanceUpdate[]): WorkerEvent => ({
  kind: 'advance',
  message: { kind: 'advance', execution: EXECUTION, clips: [], updates },
});
const keep = (...states: ReturnType<typeof ref>[]): WorkerEvent => ({
  kind: 'keep',
  execution: EXECUTION,
  states,
});
const made: WorkerEvent = { kind: 'advanced', execution: EXECUTION };

/** A worker that holds version 1 of states 1 and 2. */
function scene(budgetBytes = 100_000) {
  const state = initialState(budgetBytes);
  const feed = (event: WorkerEvent): readonly WorkerEffect['kind'][] => {
    const effects = step(state, event);
    checkInvariants(state);
    return effects.map(({ kind }) => kind);
  };
  const hold = (id: number, version: number): void => {
    const chunk = { offsetBytes: 0, totalBytes: SIZE, bytes: SIZE };
    feed({ kind: 'chunk', ref: { kind: 'state', ...ref(id, version) }, ...chunk });
  };
  hold(1, 1);
  hold(2, 1);
  return { state, feed, hold };
}

test('what it made is held from KEEP on, and waited for by nobody', () => {
  const { state, feed } = scene();
  expect(feed(advance(update(1), update(2)))).toEqual(['advance']);
  expect(feed(made)).toEqual([]);
  expect(feed(keep(ref(1, 2), ref(2, 2)))).toEqual(['keep']);
  expect([...state.blobs.keys()]).toEqual(['s1@1', 's2@1', 's1@2', 's2@2']);
  expect(state.heldBytes).toBe(4 * SIZE);
});

test('nothing is kept that was not made, has another count, or is there already', () => {
  const { state, feed, hold } = scene();
  expect(feed(keep(ref(1, 2)))).toEqual([]);
  feed(advance(update(1)));
  expect(feed(keep(ref(1, 2)))).toEqual([]);
  feed(advance(update(1)));
  feed(made);
  expect(feed(keep(ref(1, 2), ref(2, 2)))).toEqual([]);
  feed(advance(update(1)));
  feed(made);
  hold(1, 2);
  expect(feed(keep(ref(1, 2)))).toEqual([]);
  expect(state.heldBytes).toBe(3 * SIZE);
});

test('an update of a state, or with slots, that are not here is none for this worker', () => {
  const { feed, hold } = scene();
  expect(feed(advance(update(3)))).toEqual([]);
  const slots = [0, 1].map((index) => ref(1, LIMITS.firstSlotVersion + index));
  expect(feed(advance(update(1, { stepsDone: 4, slots })))).toEqual([]);
  for (const { version } of slots) hold(1, version);
  expect(feed(advance(update(1, { stepsDone: 4, slots })))).toEqual(['advance']);
  expect(feed(advance(update(1, { stepsDone: 4, slots: slots.slice(1) })))).toEqual([]);
});

test('half of the memory is left to the programs', () => {
  // Two states, and seven places: four versions, the gradient, two slots.
  expect(scene(18 * SIZE).feed(advance(update(1)))).toEqual(['advance']);
  expect(scene(18 * SIZE - 1).feed(advance(update(1)))).toEqual([]);
});

test('a lost connection ends it: another engine knows nothing of the slots', () => {
  const { state, feed } = scene();
  feed(advance(update(1)));
  feed(made);
  expect(feed({ kind: 'disconnected' })).toEqual(['forgetSlots']);
  expect(feed(keep(ref(1, 2)))).toEqual([]);
  expect(state.reservedBytes).toBe(0);
  expect(feed({ kind: 'disconnected' })).toEqual([]);
});
