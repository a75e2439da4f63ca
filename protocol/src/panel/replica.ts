/** @file A front end's copy of the panel state, kept by snapshots and deltas; a pure reducer. RFC 2 §4. */
import type { PanelDelta, PanelSnapshot } from './messages.js';
import { applyPanelPatch } from './patch.js';
import type { PanelState } from './state.js';

/** Null-free once the first snapshot is in. */
export interface PanelReplica {
  readonly stream: number;
  readonly seq: number;
  readonly atMs: number;
  readonly state: PanelState;
}

/** `gap`: ask for a snapshot. `stale`: already known, drop it. */
export type ReplicaStep =
  | { readonly kind: 'applied'; readonly replica: PanelReplica }
  | { readonly kind: 'stale' }
  | { readonly kind: 'gap' };

export function applySnapshot(replica: PanelReplica | null, message: PanelSnapshot): ReplicaStep {
  const { stream, seq, atMs, state } = message;
  if (replica !== null && replica.stream === stream && seq < replica.seq) return { kind: 'stale' };
  return { kind: 'applied', replica: { stream, seq, atMs, state } };
}

export function applyDelta(replica: PanelReplica | null, message: PanelDelta): ReplicaStep {
  const { stream, seq, atMs, patch } = message;
  if (replica?.stream !== stream) return { kind: 'gap' };
  if (seq <= replica.seq) return { kind: 'stale' };
  if (seq !== replica.seq + 1) return { kind: 'gap' };
  const state = applyPanelPatch(replica.state, patch);
  return state === undefined
    ? { kind: 'gap' }
    : { kind: 'applied', replica: { stream, seq, atMs, state } };
}
