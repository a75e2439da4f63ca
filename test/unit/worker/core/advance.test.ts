/** @file When a worker makes the next weights itself: with what it needs and room for it, and under no name before KEEP. */
import type {
  AdvanceUpdate,
  ExecutionId,
  LeaseId,
  ProgramHash,
  StateId,
  StateVersion,
} from '@ravenlab/protocol';
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

const advanceOf = (execution: ExecutionId, ...updates: AdvanceUpdate[]): WorkerEvent => ({
  kind: 'advance',
  message: { kind: 'advance', execution, clips: [], updates },
});
const advance = (...updates: AdvanceUpdate[]): WorkerEvent => advanceOf(EXECUTION, ...updates);
const keepOf = (execution: ExecutionId, ...states: ReturnType<typeof ref>[]): WorkerEvent => ({
  kind: 'keep',
  execution,
  states,
});
const keep = (...states: ReturnType<typeof ref>[]): WorkerEvent => keepOf(EXECUTION, ...states);
const made: WorkerEvent = { kind: 'advanced', execution: EXECUTION };

/** One unit that reads a state. */
const run = (execution: ExecutionId, state: ReturnType<typeof ref>): WorkerEvent => ({
  kind: 'run',
  run: {
    ...{ kind: 'run', execution, program: 0, leaseMs: 1_000, merge: null },
    inputs: [{ kind: 'state', ...state }],
    units: [{ lease: execution as number as LeaseId, shard: 0 }],
  },
});

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
  const type = { dtype: 'float32', shape: [SIZE / 4] } as const;
  const info = { hash: 'a'.repeat(64) as ProgramHash, inputs: [type], outputs: [type] };
  const sizes = { peakBytes: 0, quickUnits: 0, work: { flops: 0, bytes: 0 } };
  feed({ kind: 'program', index: 0, entry: { kind: 'known', info: { ...info, ...sizes } } });
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

test('the next step waits for it here, with its own update announced, and begins when it is made', () => {
  const { state, feed } = scene();
  const next = (EXECUTION + 1) as ExecutionId;
  feed(advance(update(1)));
  expect(feed(run(EXECUTION, ref(1, 1)))).toEqual(['start']);
  expect(feed(keep(ref(1, 2)))).toEqual([]);
  const slotsOf = { state: ref(1, 2), stepsDone: 1, slotsOf: EXECUTION };
  expect(feed(advanceOf(next, update(1, slotsOf)))).toEqual(['advance']);
  expect(feed(run(next, ref(1, 2)))).toEqual([]);
  expect(feed(made)).toEqual(['keep', 'start']);
  expect(state.blobs.get('s1@2')).toMatchObject({ isMaking: false, receivedBytes: SIZE });
  expect(state.advances.has(next)).toBe(true);
});

test.each([
  ['is taken away', { kind: 'cancel', executions: [], leases: [EXECUTION as number as LeaseId] }],
  ['is answered without it', { kind: 'computed', batch: 1, units: [0] }],
] as const)('when its unit %s the engine is told, and what waits asks for it', (_title, end) => {
  const { state, feed } = scene();
  feed(advance(update(1)));
  feed(run(EXECUTION, ref(1, 1)));
  feed(keep(ref(1, 2)));
  expect(feed(run((EXECUTION + 1) as ExecutionId, ref(1, 2)))).toEqual([]);
  expect(feed(end as WorkerEvent).slice(1)).toEqual(['unmade', 'need']);
  expect(state.heldBytes).toBe(2 * SIZE);
  expect(feed(made)).toEqual([]);
});

test('what is forgotten before it is made is not held', () => {
  const { state, feed } = scene();
  feed(advance(update(1), update(2)));
  feed(keep(ref(1, 2), ref(2, 2)));
  feed({ kind: 'drop', programs: [], states: [ref(1, 2)], data: [], blocks: [] });
  expect(feed(made)).toEqual(['keep', 'forget']);
  expect([...state.blobs.keys()]).toEqual(['s1@1', 's2@1', 's2@2']);
});

test('no more updates than three wait, and none twice', () => {
  const { feed } = scene();
  expect(feed(advanceOf(1 as ExecutionId, update(1)))).toEqual(['advance']);
  expect(feed(advanceOf(1 as ExecutionId, update(1)))).toEqual([]);
  expect(feed(advanceOf(2 as ExecutionId, update(1)))).toEqual(['advance']);
  expect(feed(advanceOf(3 as ExecutionId, update(1)))).toEqual(['advance']);
  expect(feed(advanceOf(4 as ExecutionId, update(1)))).toEqual([]);
});

test('nothing is kept that was not announced, has another count, is there already, or was kept', () => {
  const { state, feed, hold } = scene();
  expect(feed(keep(ref(1, 2)))).toEqual([]);
  feed(advance(update(1)));
  expect(feed(keep(ref(1, 2), ref(2, 2)))).toEqual([]);
  hold(1, 2);
  expect(feed(keep(ref(1, 2)))).toEqual([]);
  expect(feed(keep(ref(1, 3)))).toEqual([]);
  expect(feed(keep(ref(1, 4)))).toEqual([]);
  expect(feed(made)).toEqual(['keep']);
  expect([...state.blobs.keys()]).toEqual(['s1@1', 's2@1', 's1@2', 's1@3']);
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
  // Two states, and eight places: five versions, the gradient, two slots.
  expect(scene(20 * SIZE).feed(advance(update(1)))).toEqual(['advance']);
  expect(scene(20 * SIZE - 1).feed(advance(update(1)))).toEqual([]);
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
