/**
 * @file Re-derives every set of the scheduler from every other; run after each step in simulation and in tests, so a
 * check builds its message only when it fails.
 */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { ClusterState, Execution, Lease, Member, Unit } from './state.js';
import { InvariantError } from './transition.js';

/** Backups for who is away may be owed. */
const CREDIT_LEAST = -ENGINE_LIMITS.backupShare * ENGINE_LIMITS.backupUnitsOwed;

/** @throws InvariantError with the story of the last events. */
export function checkInvariants(state: ClusterState): void {
  let leases = 0;
  for (const member of state.members.values()) {
    checkMember(state, member);
    leases += member.leases.size;
  }
  let queued = 0;
  let done = 0;
  for (const execution of state.executions.values()) {
    checkExecution(state, execution);
    done += execution.units.length - execution.unitsLeft;
    if (execution.status === 'running' && execution.spec.audit === undefined)
      queued += execution.queue.length;
  }
  if (queued !== state.queuedUnits) {
    fail(state, `${String(state.queuedUnits)} units are said to be queued, ${String(queued)} are`);
  }
  for (const audit of state.audits) {
    if (!state.executions.has(audit.id)) fail(state, 'an audit that has ended is listed');
  }
  // Every one that is done is paid: as many paid ones as done ones means that no other is.
  if (done !== state.ledger.paidCount) fail(state, 'a unit is paid that is not done');
  if (leases !== state.leases.size) fail(state, 'a lease belongs to no member');
  if (state.ledger.pendingCount !== state.leases.size) {
    fail(state, 'a lease without a pending transfer');
  }
  if (state.backupCredit < CREDIT_LEAST) fail(state, 'more was backed up than the budget allows');
  for (const standing of state.standings.values()) {
    if (standing.status === 'banned' && state.members.has(standing.worker)) {
      fail(state, `member ${standing.worker} is banned`);
    }
  }
  state.ledger.check();
}

function fail(state: ClusterState, message: string): never {
  throw new InvariantError(message, state.trace.story());
}

function checkMember(state: ClusterState, member: Member): void {
  if (member.status === 'gone') fail(state, `member ${member.id} is gone and still listed`);
  if (member.leases.size > ENGINE_LIMITS.leasesPerMember) {
    fail(state, `member ${member.id} has too many leases`);
  }
  let queuedUs = 0;
  for (const lease of member.leases.values()) {
    queuedUs += lease.expectedUs;
    checkLease(state, member, lease);
  }
  if (queuedUs !== member.queuedUs) {
    const said = `queue of ${String(member.queuedUs)} µs, leases of ${String(queuedUs)}`;
    fail(state, `member ${member.id}: ${said}`);
  }
  let heldBytes = 0;
  for (const sizeBytes of member.held.values()) heldBytes += sizeBytes;
  if (heldBytes !== member.heldBytes) {
    const said = `holds ${String(heldBytes)} bytes, says ${String(member.heldBytes)}`;
    fail(state, `member ${member.id}: ${said}`);
  }
}

function checkLease(state: ClusterState, member: Member, lease: Lease): void {
  const name = member.id;
  if (lease.status !== 'granted') fail(state, `member ${name} has a lease that is ${lease.status}`);
  if (lease.worker !== member.id) fail(state, `member ${name} has a lease of another worker`);
  if (lease.unit.lease !== lease && lease.unit.backup !== lease)
    fail(state, `a unit does not know its lease of ${name}`);
  if (!lease.group.leases.includes(lease)) fail(state, `a lease of ${name} is not in its group`);
  if (state.leases.get(lease.id) !== lease) fail(state, `a lease of ${name} is not listed`);
}

function checkExecution(state: ClusterState, execution: Execution): void {
  const { status } = execution;
  if (status !== 'running' && status !== 'reducing') {
    fail(state, `execution ${String(execution.id)} is ${status} and still listed`);
  }
  let left = 0;
  let queued = 0;
  for (const unit of execution.units) {
    if (unit.status !== 'done') left++;
    if (unit.status === 'queued') queued++;
    checkUnit(state, execution, unit);
  }
  if (left !== execution.unitsLeft) {
    const said = `${String(left)} units left, says ${String(execution.unitsLeft)}`;
    fail(state, `execution ${String(execution.id)}: ${said}`);
  }
  if (queued !== execution.queue.length) {
    const said = `${String(queued)} units queued, queue of ${String(execution.queue.length)}`;
    fail(state, `execution ${String(execution.id)}: ${said}`);
  }
  if ((status === 'reducing') !== (left === 0)) {
    fail(state, `execution ${String(execution.id)} is ${status} with ${String(left)} units left`);
  }
}

function checkUnit(state: ClusterState, execution: Execution, unit: Unit): void {
  const { status } = unit;
  if (status === 'dropped') fail(state, `a unit of execution ${String(execution.id)} was dropped`);
  if ((status === 'leased' || status === 'doubled') !== (unit.lease !== null)) {
    fail(state, `a unit of execution ${String(execution.id)} is ${status}, its lease is not`);
  }
  if ((status === 'doubled') !== (unit.backup !== null)) {
    fail(state, `a unit of execution ${String(execution.id)} is ${status}, its backup is not`);
  }
  if (unit.backup !== null && unit.backup.worker === unit.lease?.worker) {
    fail(state, `a unit of execution ${String(execution.id)} is backed up by the same worker`);
  }
  if (status === 'done' && !state.ledger.isPaid(unit.id)) {
    fail(state, `a unit of execution ${String(execution.id)} is done and not paid`);
  }
}
