/**
 * @file Backup leases: at the tail of an execution, what is late is given to an idle worker a second time. The first result
 * wins and the other lease is void; nothing is paid or summed twice. Backups are few by a budget, so a slow crowd is not
 * made slower: one unit in twenty that were granted, saved up while all goes well. Who has missed a beat is not slow but away, for
 * all that anybody knows: for its units the budget may be overdrawn, and others wait until that is earned again.
 */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { Bids } from './bids.js';
import { classOf } from './classes.js';
import type { Pass } from './dispatch.js';
import { endPass, grantTo, newPass } from './dispatch.js';
import type { EffectBody } from './events.js';
import { programOf } from './residency.js';
import type { ClusterState, Execution, LeaseGroup, Member } from './state.js';
import { elapsedUs, oldestLease } from './state.js';

/**
 * Grants what is late a second time, when nothing else is left to grant and somebody is idle. Notes when to look again; what
 * is late and could not be doubled is looked at with every event.
 */
export function backUp(state: ClusterState, now: number, effects: EffectBody[]): void {
  state.lateAtMs = null;
  if (!isTail(state)) return;
  const pass = newPass(now, effects);
  const idle: IdleBids = new Map();
  for (const holder of state.members.values()) {
    if (holder.leases.size === 0) continue;
    const dueAtMs = Math.min(lateAt(state, holder), awayAt(holder));
    // Also what is late already and cannot be paid for: it is due again when its holder is away.
    const nextAtMs = dueAtMs > now ? dueAtMs : awayAt(holder);
    if (nextAtMs > now) state.lateAtMs = Math.min(state.lateAtMs ?? nextAtMs, nextAtMs);
    // A member whose oldest group is late will be late with all that waits behind it.
    if (dueAtMs <= now && canPay(state, holder, 1, now)) {
      for (const group of groupsOf(holder)) doubleGroup(state, { holder, group, idle }, pass);
    }
  }
  endPass(state, pass);
}

function isTail(state: ClusterState): boolean {
  if (state.queuedUnits > 0 || state.leases.size === 0) return false;
  for (const member of state.members.values()) if (isIdle(member)) return true;
  return false;
}

function isIdle(member: Member): boolean {
  return member.status === 'active' && member.leases.size === 0;
}

/** Groups that a member has and nobody else, oldest first. */
function groupsOf(member: Member): LeaseGroup[] {
  const groups: LeaseGroup[] = [];
  for (const lease of member.leases.values()) {
    const { group } = lease;
    // The leases of a group stand together: the first that is left stands for it.
    if (group !== groups[groups.length - 1] && isSingle(group)) groups.push(group);
  }
  return groups;
}

function isSingle({ leases }: LeaseGroup): boolean {
  for (const { status, unit } of leases) {
    if (status !== 'granted' || unit.backup !== null) return false;
  }
  return true;
}

/** When what a member has is late; Infinity when that cannot be told. */
function lateAt(state: ClusterState, holder: Member): number {
  const oldest = oldestLease(holder);
  if (oldest === null) return Infinity;
  // A newcomer is tried with it; whoever is idle does it at once.
  if (holder.status === 'probation') return holder.progressAtMs;
  const program = programOf(oldest.execution, oldest.unit.spec).id;
  const p95Us = state.unitTimes.get(program)?.p95Us ?? null;
  if (p95Us === null) return Infinity;
  const lateUs = (p95Us * oldest.group.leases.length * ENGINE_LIMITS.lateTenths) / 10;
  return holder.progressAtMs + Math.max(ENGINE_LIMITS.lateMinMs, Math.ceil(lateUs / 1000));
}

/** When a member has missed a beat, unless it is heard before. */
function awayAt({ lastHeardMs }: Member): number {
  return lastHeardMs + ENGINE_LIMITS.missedBeatMs;
}

/** Credits for doubling units of a member: what a newcomer is tried with costs none. */
function costOf({ status }: Member, units: number): number {
  return status === 'probation' ? 0 : units * ENGINE_LIMITS.backupShare;
}

/** What a member has that is away may be paid for with what will be earned. */
function canPay(state: ClusterState, holder: Member, units: number, now: number): boolean {
  const owedUnits = awayAt(holder) <= now ? ENGINE_LIMITS.backupUnitsOwed : 0;
  return state.backupCredit + owedUnits * ENGINE_LIMITS.backupShare >= costOf(holder, units);
}

/** Who is idle, by execution; looked up when the first of its groups is late. */
type IdleBids = Map<Execution, Bids>;

function idleFor(state: ClusterState, execution: Execution, idle: IdleBids, now: number): Bids {
  let bids = idle.get(execution);
  if (bids === undefined) {
    const bitClass = classOf(state, execution);
    const members: Member[] = [];
    for (const member of state.members.values()) {
      if (isIdle(member) && (bitClass === null || bitClass === member.bitClass)) {
        members.push(member);
      }
    }
    bids = new Bids(execution, members, members.length, now);
    idle.set(execution, bids);
  }
  return bids;
}

function doubleGroup(
  state: ClusterState,
  late: { readonly holder: Member; readonly group: LeaseGroup; readonly idle: IdleBids },
  pass: Pass,
): void {
  const { holder, group, idle } = late;
  const [first] = group.leases;
  if (first === undefined) return;
  const { execution } = first;
  if (execution.spec.audit !== undefined) return;
  const units = group.leases.map(({ unit }) => unit);
  if (!canPay(state, holder, units.length, pass.now)) return;
  const leftUs = timeLeftUs(holder, group, pass.now);
  const choice = idleFor(state, execution, idle, pass.now).fastest(units, leftUs);
  if (choice === null) return;
  const cost = costOf(holder, units.length);
  state.backupCredit -= cost;
  if (cost === 0) state.counters.trialsDoubled += units.length;
  grantTo(state, execution, units, choice, pass);
  // One is idle no more.
  idle.clear();
}

/** Expected time until a group is answered; of what is late nobody knows better than that it takes as long again. µs. */
function timeLeftUs(holder: Member, group: LeaseGroup, now: number): number {
  let us = 0;
  for (const lease of holder.leases.values()) {
    us += lease.expectedUs;
    if (lease === group.leases[group.leases.length - 1]) break;
  }
  const elapsed = elapsedUs(holder, now);
  // What a newcomer is expected to take says nothing, and neither does what somebody did who is away.
  if (holder.status === 'probation' || awayAt(holder) <= now) return Infinity;
  return elapsed >= us ? elapsed : us - elapsed;
}
