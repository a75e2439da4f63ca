/**
 * @file What the cluster remembers of workers that may not be here: failures within a window, quarantine with a back-off
 * that doubles, bans, pauses, and whether they have answered a unit before. By worker id, which survives a restart of the
 * worker; an honest id is all this needs, because a worker that changes it starts as a newcomer and is tried out alone.
 */
import type { WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { ClusterState, Member } from './state.js';
import { moveMember, takersOf } from './memberTable.js';
import type { StandingStatus } from './standingTable.js';
import { moveStanding } from './standingTable.js';

const PROVABLE = takersOf('prove');
const RELEASABLE = takersOf('release');

export interface Standing {
  readonly worker: WorkerId;
  status: StandingStatus;
  /** When it failed lately, oldest first; at most `flapFailures`. */
  failedAtMs: number[];
  /** Quarantines in a row; each doubles the next. */
  strikes: number;
  /** End of the quarantine or of the pause after a stall. */
  untilMs: number;
  isPaused: boolean;
  /** Its last incarnation that answered a unit; -1 for none. A new process is tried out anew. */
  provenIncarnation: number;
}

/** The standing of a worker, made when it is first asked for. The least recently used good one makes room. */
export function standingOf(state: ClusterState, worker: WorkerId): Standing {
  const known = state.standings.get(worker);
  if (known !== undefined) {
    state.standings.delete(worker);
    state.standings.set(worker, known);
    return known;
  }
  if (state.standings.size >= ENGINE_LIMITS.standings) forgetOne(state);
  const standing: Standing = {
    worker,
    status: 'good',
    failedAtMs: [],
    strikes: 0,
    untilMs: 0,
    isPaused: false,
    provenIncarnation: -1,
  };
  state.standings.set(worker, standing);
  return standing;
}

/** Bans are kept as long as anything else can go: they are what the user asked for. */
function forgetOne(state: ClusterState): void {
  const all = [...state.standings.values()].filter(({ worker }) => !state.members.has(worker));
  const victim =
    all.find(({ status, isPaused }) => status === 'good' && !isPaused) ??
    all.find(({ status }) => status !== 'banned') ??
    all[0];
  if (victim !== undefined) state.standings.delete(victim.worker);
}

/** Nobody who proves this wallet comes in any more. Bounded: the longest ago makes room. */
export function banWallet(state: ClusterState, wallet: string, worker: WorkerId): void {
  const { bannedWallets } = state;
  // One wallet has one spelling here, whatever its checksum.
  bannedWallets.set(wallet.toLowerCase(), worker);
  const [oldest] = bannedWallets.keys();
  if (bannedWallets.size > ENGINE_LIMITS.standings && oldest !== undefined) {
    bannedWallets.delete(oldest);
  }
}

/** A connection was lost, leases ran out, or what was sent was asked for again and again. */
export function noteFailure(state: ClusterState, worker: WorkerId, now: number): void {
  const standing = standingOf(state, worker);
  const since = now - ENGINE_LIMITS.flapWindowMs;
  standing.failedAtMs = standing.failedAtMs.filter((atMs) => atMs > since);
  standing.failedAtMs.push(now);
  if (standing.failedAtMs.length < ENGINE_LIMITS.flapFailures || standing.status === 'banned') {
    return;
  }
  standing.failedAtMs = [];
  const isForgotten = now - standing.untilMs > ENGINE_LIMITS.flapForgetMs;
  standing.strikes = isForgotten ? 1 : standing.strikes + 1;
  moveStanding(state.trace, standing, 'flap');
  standing.untilMs = now + backOffMs(standing.strikes);
}

/** Back-off after so many failures in a row: doubles from the least to the most. */
export function backOffMs(strikes: number): number {
  const { quarantineMinMs, quarantineMaxMs } = ENGINE_LIMITS;
  let ms: number = quarantineMinMs;
  for (let strike = 1; strike < strikes && ms < quarantineMaxMs; strike++) ms *= 2;
  return Math.min(quarantineMaxMs, ms);
}

/** Puts a member that joined, or was resumed, where its standing says. It is on probation. */
export function settle(state: ClusterState, member: Member, now: number): void {
  const standing = standingOf(state, member.id);
  if (standing.status === 'quarantined' && now >= standing.untilMs) {
    moveStanding(state.trace, standing, 'release');
  }
  if (standing.isPaused) moveMember(state.trace, member, 'pause');
  else if (standing.status === 'quarantined') moveMember(state.trace, member, 'quarantine');
  else if (standing.provenIncarnation === member.incarnation) {
    moveMember(state.trace, member, 'prove');
  }
}

/** A unit came back from a member: it can do what it is here for. */
export function prove(state: ClusterState, member: Member): void {
  // Asked for every unit: a standing that says so already is not looked up for change.
  if (state.standings.get(member.id)?.provenIncarnation !== member.incarnation) {
    standingOf(state, member.id).provenIncarnation = member.incarnation;
  }
  if (PROVABLE.has(member.status)) moveMember(state.trace, member, 'prove');
}

/** When a member that waits out a stall or a quarantine may try again; null when it waits for nothing. */
export function releaseAtMs(state: ClusterState, member: Member): number | null {
  return RELEASABLE.has(member.status) ? (state.standings.get(member.id)?.untilMs ?? 0) : null;
}

/** Lets a member try again, on probation. */
export function releaseMember(state: ClusterState, member: Member, now: number): void {
  const standing = standingOf(state, member.id);
  if (standing.status === 'quarantined') moveStanding(state.trace, standing, 'release');
  standing.untilMs = Math.min(standing.untilMs, now);
  standing.provenIncarnation = -1;
  member.progressAtMs = now;
  moveMember(state.trace, member, 'release');
}
