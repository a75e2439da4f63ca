/**
 * @file The updates that a worker makes of its own: whether there is room for one, what its results are called, and that nobody
 * waits for one that is not made. The arithmetic is the compute thread's.
 */
import type { AdvanceMessage, ExecutionId, StateRef } from '@ravenlab/protocol';
import { WORKER_LIMITS, slotCount } from '@ravenlab/protocol';
import type { WorkerEffect } from './events.js';
import type { Advancing, Blob, BlobKey, WorkerState } from './state.js';
import { isComplete, stateKey, usedBytes } from './state.js';

type Keep = Extract<WorkerEffect, { kind: 'keep' }>;

/** What comes of an update: effects, and the tensors that batches may wait for. */
interface Outcome {
  readonly effects: readonly WorkerEffect[];
  /** Here now. */
  readonly keys: readonly BlobKey[];
}

const NOTHING: Outcome = { effects: [], keys: [] };

/** Goes to the compute thread unless a state is not here, or memory is short: the engine then sends what it makes itself. */
export function announce(state: WorkerState, message: AdvanceMessage): WorkerEffect[] {
  // What was made and not kept by now never is: the engine says KEEP before it announces the next.
  for (const [execution, { isMade }] of state.advances) {
    if (isMade) state.advances.delete(execution);
  }
  if (state.advances.size >= WORKER_LIMITS.advances || state.advances.has(message.execution)) {
    return [];
  }
  const sizes: number[] = [];
  let reserve = 0;
  for (const { state: ref, rule, slots } of message.updates) {
    const blob = state.blobs.get(stateKey(ref));
    if (blob === undefined || !(isComplete(blob) || blob.isMaking)) return [];
    const areHere = slots.every((slot) => isComplete(state.blobs.get(stateKey(slot))));
    if (!areHere || (slots.length > 0 && slots.length !== slotCount(rule))) return [];
    sizes.push(blob.totalBytes);
    // Versions, the gradient and the slots.
    reserve += blob.totalBytes * (WORKER_LIMITS.replicaVersions + 1 + slotCount(rule));
  }
  const reservedBytes = Math.max(state.reservedBytes, reserve);
  // Half of the memory is left to the programs.
  if (state.heldBytes + reservedBytes > state.budgetBytes / 2) return [];
  state.reservedBytes = reservedBytes;
  const { execution } = message;
  state.advances.set(execution, { execution, sizes, isBegun: false, isMade: false, kept: null });
  return [{ kind: 'advance', message }];
}

/** Units of an execution have come. */
export function begun(state: WorkerState, execution: ExecutionId): void {
  const advancing = state.advances.get(execution);
  if (advancing !== undefined) advancing.isBegun = true;
}

/** The names of what is made: it may be waited for from now on, and is held once it is made. Nothing when it does not fit. */
export function keep(
  state: WorkerState,
  { execution, states }: { readonly execution: ExecutionId; readonly states: readonly StateRef[] },
): Outcome {
  const advancing = state.advances.get(execution);
  if (advancing?.kept !== null) return NOTHING;
  const { sizes } = advancing;
  const keys: BlobKey[] = states.map(stateKey);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const isNew = new Set(keys).size === sizes.length && !keys.some((key) => state.blobs.has(key));
  const fits = usedBytes(state) + bytes <= state.budgetBytes;
  if (!isNew || keys.length !== sizes.length || !fits) return NOTHING;
  for (const [index, ref] of states.entries()) {
    const totalBytes = sizes[index] ?? 0;
    const blob: Blob = {
      ref: { kind: 'state', ...ref },
      totalBytes,
      receivedBytes: 0,
      isMaking: true,
    };
    state.blobs.set(stateKey(ref), blob);
  }
  state.heldBytes += bytes;
  advancing.kept = keys;
  return advancing.isMade ? settle(state, advancing, keys) : NOTHING;
}

/** The compute thread makes it: what comes after it on that thread has it. */
export function made(state: WorkerState, execution: ExecutionId): Outcome {
  const advancing = state.advances.get(execution);
  if (advancing === undefined) return NOTHING;
  advancing.isMade = true;
  return advancing.kept === null ? NOTHING : settle(state, advancing, advancing.kept);
}

function settle(state: WorkerState, { execution }: Advancing, kept: readonly BlobKey[]): Outcome {
  state.advances.delete(execution);
  const effects: WorkerEffect[] = [{ kind: 'keep', execution, keys: kept } satisfies Keep];
  const keys: BlobKey[] = [];
  const dropped: BlobKey[] = [];
  for (const key of kept) {
    const blob = state.blobs.get(key);
    if (blob === undefined) dropped.push(key);
    if (blob?.isMaking !== true) continue;
    blob.isMaking = false;
    blob.receivedBytes = blob.totalBytes;
    keys.push(key);
  }
  if (dropped.length > 0) effects.push({ kind: 'forget', keys: dropped });
  return { effects, keys };
}

/** Updates that will not be made, because none of the units is left that they were to be made from. */
export function takeUnmade(state: WorkerState): Advancing[] {
  const unmade: Advancing[] = [];
  for (const advancing of state.advances.values()) {
    if (!advancing.isBegun || advancing.isMade) continue;
    const isOpen = [...state.batches.values()].some(
      ({ run }) => run.execution === advancing.execution,
    );
    if (!isOpen) unmade.push(advancing);
  }
  for (const { execution } of unmade) state.advances.delete(execution);
  return unmade;
}
