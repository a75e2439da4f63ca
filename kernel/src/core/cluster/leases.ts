/** @file A lease from its grant to its end: the books of its unit, its member, its execution and the ledger. Decides nothing. */
import type { LeaseId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { Choice } from './bids.js';
import { expectedUs } from './bids.js';
import type { GrantedLease } from './events.js';
import { moveLease } from './leaseTable.js';
import { hold, programOf, release } from './residency.js';
import type { ClusterState, Execution, Lease, LeaseGroup, Member, Unit } from './state.js';
import { moveUnit } from './unitTable.js';

/** Gives units to a member as one group: what it holds, what it is owed and what waits for it change with that. */
export function grant(
  state: ClusterState,
  execution: Execution,
  units: readonly Unit[],
  choice: Choice,
  now: number,
): GrantedLease[] {
  const { member, fetch, evicted } = choice;
  for (const id of evicted) release(member, id);
  if (evicted.length > 0) member.ready.clear();
  for (const resource of fetch.missing) hold(member, resource);
  if (member.leases.size === 0) member.progressAtMs = now;
  if (member.status === 'probation') member.isTried = true;
  member.inFlightBytes += fetch.missingBytes;
  execution.workers.add(member.id);
  const leases: Lease[] = [];
  const group: LeaseGroup = { leases };
  const granted: GrantedLease[] = [];
  for (const unit of units) {
    const lease = grantUnit(state, { execution, unit, group }, member);
    leases.push(lease);
    granted.push({ lease: lease.id, shard: unit.shard });
  }
  return granted;
}

/** One unit of a backup costs as many credits as units that have to be granted for it. */
const CREDIT_MAX = ENGINE_LIMITS.backupShare * ENGINE_LIMITS.backupUnitsSaved;

interface Granting {
  readonly execution: Execution;
  readonly unit: Unit;
  readonly group: LeaseGroup;
}

function grantUnit(state: ClusterState, granting: Granting, member: Member): Lease {
  const { execution, unit, group } = granting;
  touch(member, execution, unit);
  const expected = expectedUs(member, execution, unit);
  const lease: Lease = {
    id: state.nextLeaseId++ as LeaseId,
    worker: member.id,
    unit,
    execution,
    expectedUs: expected,
    group,
    status: 'granted',
  };
  member.leases.set(lease.id, lease);
  member.queuedUs += expected;
  member.inFlightBytes += unit.spec.messageBytes;
  state.leases.set(lease.id, lease);
  state.counters.leasesGranted++;
  if (unit.lease === null) {
    state.backupCredit = Math.min(CREDIT_MAX, state.backupCredit + 1);
    moveUnit(state.trace, unit, 'lease');
    unit.lease = lease;
  } else {
    moveUnit(state.trace, unit, 'double');
    unit.backup = lease;
    state.counters.backupsGranted++;
  }
  const program = execution.spec.programs[unit.spec.program];
  state.ledger.reserve(lease.id, unit.id, member.id, program?.amount ?? 0n);
  return lease;
}

/** Marks what the unit uses as held and recently used. */
function touch(member: Member, execution: Execution, unit: Unit): void {
  if (!member.ready.has(execution.id)) {
    for (const resource of execution.spec.common) hold(member, resource);
    member.ready.add(execution.id);
  }
  hold(member, programOf(execution, unit.spec));
  for (const resource of unit.spec.resources) hold(member, resource);
}

/** Ends a lease without a result and puts its unit back, in front. */
export function loseLease(state: ClusterState, lease: Lease, cause: 'expire' | 'revoke'): void {
  moveLease(state.trace, lease, cause);
  state.counters.leasesLost++;
  closeLease(state, lease);
  state.ledger.void(lease.id);
  leaveUnit(state, lease);
}

/** Takes a lease off the books of its member. */
export function closeLease(state: ClusterState, lease: Lease): void {
  state.leases.delete(lease.id);
  const member = state.members.get(lease.worker);
  if (member?.leases.delete(lease.id) !== true) return;
  member.queuedUs -= lease.expectedUs;
}

/** A lease ended without a result: its unit stays with the other one that has it, or is queued again. */
export function leaveUnit(state: ClusterState, lease: Lease): void {
  const { unit } = lease;
  if (unit.backup === null) {
    requeue(state, lease.execution, unit);
    return;
  }
  moveUnit(state.trace, unit, 'single');
  if (unit.lease === lease) unit.lease = unit.backup;
  unit.backup = null;
}

/** Back to the queue; the smallest shard is taken first, so that the sum of the step can proceed in order. */
function requeue(state: ClusterState, execution: Execution, unit: Unit): void {
  moveUnit(state.trace, unit, 'requeue');
  unit.lease = null;
  const { queue } = execution;
  let at = queue.length;
  while (at > 0 && (queue[at - 1] ?? 0) < unit.shard) at--;
  queue.splice(at, 0, unit.shard);
  if (execution.spec.audit === undefined) state.queuedUnits++;
}
