/** @file Members as they come, fall silent, stall and go: what each costs them and their leases. */
import type { WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS, LIMITS } from '@ravenlab/protocol';
import type { EffectBody, Joining } from './events.js';
import { loseLease } from './leases.js';
import { memberTakes, moveMember, takersOf } from './memberTable.js';
import { hold } from './residency.js';
import {
  backOffMs,
  noteFailure,
  releaseAtMs,
  releaseMember,
  settle,
  standingOf,
} from './standing.js';
import type { ClusterState, Member } from './state.js';
import { QUIET_MS, patienceMs } from './state.js';

/** Takes a worker in, as far as its standing allows. */
export function join(state: ClusterState, event: Joining, now: number): EffectBody[] {
  const { worker } = event;
  if (standingOf(state, worker).status === 'banned') {
    return [{ kind: 'expel', worker, reason: BANNED }];
  }
  const wasQuarantined = isQuarantined(state, worker);
  // The connection of before was lost, and nobody noticed yet.
  if (state.members.has(worker)) failMember(state, worker, now);
  const member: Member = {
    id: worker,
    seq: state.nextMemberSeq++,
    incarnation: event.incarnation,
    joinedAtMs: now,
    gflops: event.gflops,
    bitClass: event.bitClass,
    isTrusted: event.isTrusted,
    owner: event.owner,
    heldLimitBytes: Math.trunc((event.memoryBytes * ENGINE_LIMITS.heldPercent) / 100),
    windowBytes: event.windowBytes,
    status: 'probation',
    lastHeardMs: now,
    pingAtMs: now + LIMITS.heartbeatMs,
    progressAtMs: now,
    latencyUs: 0,
    inFlightBytes: 0,
    held: new Map(),
    newest: null,
    heldBytes: 0,
    leases: new Map(),
    queuedUs: 0,
    unitUs: new Map(),
    unfit: new Map(),
    ready: new Set(),
    needsInARow: 0,
    outrunInARow: 0,
    isTried: false,
    unitsDone: 0,
    unitsFailed: 0,
    samplesDone: 0,
  };
  for (const resource of event.held) hold(member, resource);
  state.members.set(worker, member);
  settle(state, member, now);
  return wasQuarantined ? [] : quarantineEffect(state, worker, now);
}

export const BANNED = 'this worker is banned from the cluster; ask its owner to lift the ban';

const HEARING = takersOf('heard');

/** Any sign of life. @returns whether it was missed before. */
export function hear(state: ClusterState, member: Member, now: number): boolean {
  member.lastHeardMs = now;
  if (!HEARING.has(member.status)) return false;
  moveMember(state.trace, member, 'heard');
  return true;
}

/** Beats, silence, stalls and back-offs of one member. */
export function watchMember(
  state: ClusterState,
  member: Member,
  now: number,
  effects: EffectBody[],
): void {
  const worker = member.id;
  const silenceMs = now - member.lastHeardMs;
  if (silenceMs >= LIMITS.heartbeatTimeoutMs) {
    const reason = `silent for ${String(silenceMs)} ms`;
    effects.push({ kind: 'expel', worker, reason }, ...failMember(state, worker, now));
    return;
  }
  if (now >= member.pingAtMs) {
    member.pingAtMs = now + LIMITS.heartbeatMs;
    effects.push({ kind: 'ping', worker });
  }
  if (silenceMs >= QUIET_MS && memberTakes(member.status, 'quiet')) {
    moveMember(state.trace, member, 'quiet');
  }
  const isWorking = member.leases.size > 0 || member.isTried;
  if (isWorking && now - member.progressAtMs >= patienceMs(member)) {
    effects.push(...stallMember(state, member, now));
  }
  const freeAtMs = releaseAtMs(state, member);
  if (freeAtMs !== null && now >= freeAtMs) releaseMember(state, member, now);
}

/** A member shows no results: what it has goes to others, and it gets nothing until it has waited. */
export function stallMember(state: ClusterState, member: Member, now: number): EffectBody[] {
  moveMember(state.trace, member, 'stall');
  member.isTried = false;
  member.outrunInARow = 0;
  noteFailure(state, member.id, now);
  const standing = standingOf(state, member.id);
  standing.untilMs = Math.max(standing.untilMs, now + backOffMs(1));
  return [...takeBack(state, member, 'expire'), ...drainedEffect(member)];
}

/** The user wants nothing to run there: what it has goes to others at once. */
export function pauseMember(state: ClusterState, member: Member): EffectBody[] {
  if (!memberTakes(member.status, 'pause')) return [];
  moveMember(state.trace, member, 'pause');
  member.isTried = false;
  return takeBack(state, member, 'revoke');
}

function takeBack(state: ClusterState, member: Member, cause: 'expire' | 'revoke'): EffectBody[] {
  const leases = [...member.leases.values()];
  for (const lease of leases) loseLease(state, lease, cause);
  if (leases.length === 0) return [];
  return [{ kind: 'revoke', worker: member.id, leases: leases.map((lease) => lease.id) }];
}

/** A member is gone: its leases are void and their units are queued again at once. */
export function removeMember(state: ClusterState, worker: WorkerId): void {
  const member = state.members.get(worker);
  if (member === undefined) return;
  moveMember(state.trace, member, 'leave');
  for (const lease of [...member.leases.values()]) loseLease(state, lease, 'revoke');
  state.members.delete(worker);
}

/** The same, and it did not say so: it is remembered. */
export function failMember(state: ClusterState, worker: WorkerId, now: number): EffectBody[] {
  if (!state.members.has(worker)) return [];
  removeMember(state, worker);
  noteFailure(state, worker, now);
  return [];
}

export function drainedEffect(member: Member): EffectBody[] {
  const isDrained = member.status === 'draining' && member.leases.size === 0;
  return isDrained ? [{ kind: 'drained', worker: member.id }] : [];
}

function isQuarantined(state: ClusterState, worker: WorkerId): boolean {
  return state.members.get(worker)?.status === 'quarantined';
}

function quarantineEffect(state: ClusterState, worker: WorkerId, now: number): EffectBody[] {
  if (!isQuarantined(state, worker)) return [];
  const forMs = standingOf(state, worker).untilMs - now;
  return [{ kind: 'quarantined', worker, forMs }];
}
