/**
 * @file The update that a worker makes of its own: whether there is room for it, and what it is called when it counts. The
 * arithmetic is the compute thread's.
 */
import type { AdvanceMessage, ExecutionId, StateRef } from '@ravenlab/protocol';
import { WORKER_LIMITS, slotCount } from '@ravenlab/protocol';
import type { WorkerEffect } from './events.js';
import type { BlobKey, WorkerState } from './state.js';
import { isComplete, stateKey, usedBytes } from './state.js';

type Keep = Extract<WorkerEffect, { kind: 'keep' }>;

/** Goes to the compute thread unless a state is not here, or memory is short: the engine then sends what it makes itself. */
export function announce(state: WorkerState, message: AdvanceMessage): WorkerEffect[] {
  state.advancing = null;
  const sizes: number[] = [];
  let reserve = 0;
  for (const { state: ref, rule, slots } of message.updates) {
    const blob = state.blobs.get(stateKey(ref));
    if (blob === undefined || !isComplete(blob)) return [];
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
  state.advancing = { execution: message.execution, sizes, isMade: false };
  return [{ kind: 'advance', message }];
}

/** What was made is held from now on; nothing when it was not made, or does not fit: what lacks it asks for it. */
export function keep(
  state: WorkerState,
  event: { readonly execution: ExecutionId; readonly states: readonly StateRef[] },
): Keep[] {
  const { advancing } = state;
  state.advancing = null;
  if (advancing?.execution !== event.execution || !advancing.isMade) return [];
  const { sizes } = advancing;
  const keys: BlobKey[] = event.states.map(stateKey);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const isNew = new Set(keys).size === sizes.length && !keys.some((key) => state.blobs.has(key));
  if (!isNew || keys.length !== sizes.length) return [];
  if (usedBytes(state) + bytes > state.budgetBytes) return [];
  for (const [index, ref] of event.states.entries()) {
    const totalBytes = sizes[index] ?? 0;
    const blob = { ref: { kind: 'state', ...ref } as const, totalBytes, receivedBytes: totalBytes };
    state.blobs.set(stateKey(ref), blob);
  }
  state.heldBytes += bytes;
  return [{ kind: 'keep', execution: event.execution, keys }];
}
