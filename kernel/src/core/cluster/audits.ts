/**
 * @file Who repeats what somebody else answered. An audit is an execution of one group that nothing waits for: it goes to an
 * idle member, and before everything else only when it has waited long.
 */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { Choice } from './bids.js';
import { backlogUs, expectedUs, roomFor } from './bids.js';
import { endPass, grantTo, newPass } from './dispatch.js';
import type { EffectBody } from './events.js';
import { missingFor } from './residency.js';
import type { AuditRule, ClusterState, Execution, Member } from './state.js';

/** Units of a queue that are not waited for: a worker behind on its work takes an audit all the same. */
const ANY_ROOM_US = 1;
/** Longer than any backlog; µs. */
const REFUSED_US = 1e12;

/** Whether the rule lets this member repeat it. */
export function mayAudit(rule: AuditRule, member: Member): boolean {
  const { excludes, excludesOwners, isTrustedOnly, bitClass } = rule;
  if (excludes.has(member.id) || excludesOwners.has(member.owner)) return false;
  if (isTrustedOnly && !member.isTrusted) return false;
  return bitClass === null || bitClass === member.bitClass;
}

/** Whether it will take work again without somebody's doing. */
export function canJudge({ status }: Member): boolean {
  return status !== 'paused' && status !== 'draining';
}

/** Grants audits that wait. @param isOverdue those that have waited long, also to busy members; else the others, to idle ones. */
export function grantAudits(
  state: ClusterState,
  now: number,
  isOverdue: boolean,
  effects: EffectBody[],
): void {
  if (state.audits.size === 0) return;
  const pass = newPass(now, effects);
  for (const execution of state.audits) {
    const { status, queue, units, submittedAtMs } = execution;
    // What came back in part waits for the rest: an answer is compared whole.
    if (status !== 'running' || queue.length < units.length) continue;
    const hasWaited = now - submittedAtMs >= ENGINE_LIMITS.auditPatienceMs;
    if (hasWaited !== isOverdue) continue;
    const choice = chooseAuditor(state, execution, now, isOverdue);
    if (choice === null) continue;
    queue.length = 0;
    grantTo(state, execution, units, choice, pass);
  }
  endPass(state, pass);
}

/** A newcomer may be tried with an audit: where all else waits for it, there may be nothing else to be tried with. */
function isFree({ status, leases, isTried }: Member, isOverdue: boolean): boolean {
  if (status === 'probation') return !isTried && leases.size === 0;
  return status === 'active' && (isOverdue || leases.size === 0);
}

/** The member that would be through with it first. */
function chooseAuditor(
  state: ClusterState,
  execution: Execution,
  now: number,
  isOverdue: boolean,
): Choice | null {
  const { units, spec } = execution;
  const [unit] = units;
  if (unit === undefined || spec.audit === undefined) return null;
  let best: Choice | null = null;
  let bestUs = Infinity;
  for (const member of state.members.values()) {
    if (!isFree(member, isOverdue) || !mayAudit(spec.audit, member)) continue;
    // Who could not do it tries again when nobody else is left.
    const lateUs = unit.refusedBy?.has(member.id) === true ? REFUSED_US : 0;
    const workUs = expectedUs(member, execution, unit) * units.length;
    const us = lateUs + backlogUs(member, now) + workUs;
    if (us >= bestUs) continue;
    const fetch = missingFor(member, execution, units);
    const evicted = roomFor(member, execution, units, fetch, ANY_ROOM_US);
    if (evicted === null) continue;
    best = { member, fetch, evicted };
    bestUs = us;
  }
  return best;
}
