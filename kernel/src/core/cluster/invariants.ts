/** @file Re-derives every set of the scheduler from every other; run after each step in simulation and in tests. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { ClusterState, Execution, Member } from './state.js';
import { InvariantError } from './transition.js';

/** @throws InvariantError with the story of the last events. */
export function checkInvariants(state: ClusterState): void {
  const fail = (message: string): never => {
    throw new InvariantError(message, state.trace.story());
  };
  const check = (condition: boolean, message: string) => {
    if (!condition) fail(message);
  };
  for (const member of state.members.values()) checkMember(state, member, check);
  let queued = 0;
  for (const execution of state.executions.values()) {
    checkExecution(state, execution, check);
    if (execution.status === 'running') queued += execution.queue.length;
  }
  check(
    queued === state.queuedUnits,
    `${String(state.queuedUnits)} units are said to be queued, ${String(queued)} are`,
  );
  let leases = 0;
  for (const member of state.members.values()) leases += member.leases.size;
  check(leases === state.leases.size, 'a lease belongs to no member');
  check(state.ledger.pendingCount === state.leases.size, 'a lease without a pending transfer');
  state.ledger.check();
}

type Check = (condition: boolean, message: string) => void;

function checkMember(state: ClusterState, member: Member, check: Check): void {
  const name = `member ${member.id}`;
  check(member.status !== 'gone', `${name} is gone and still listed`);
  check(member.leases.size <= ENGINE_LIMITS.leasesPerMember, `${name} has too many leases`);
  let queuedUs = 0;
  for (const lease of member.leases.values()) {
    queuedUs += lease.expectedUs;
    check(lease.status === 'granted', `${name} has a lease that is ${lease.status}`);
    check(lease.worker === member.id, `${name} has a lease of another worker`);
    check(lease.unit.lease === lease, `a unit does not know its lease of ${name}`);
    check(lease.group.leases.includes(lease), `a lease of ${name} is not in its group`);
    check(state.leases.get(lease.id) === lease, `a lease of ${name} is not listed`);
  }
  check(
    queuedUs === member.queuedUs,
    `${name}: queue of ${String(member.queuedUs)} µs, leases of ${String(queuedUs)}`,
  );
  let heldBytes = 0;
  for (const sizeBytes of member.held.values()) heldBytes += sizeBytes;
  check(
    heldBytes === member.heldBytes,
    `${name}: holds ${String(heldBytes)} bytes, says ${String(member.heldBytes)}`,
  );
}

function checkExecution(state: ClusterState, execution: Execution, check: Check): void {
  const name = `execution ${String(execution.id)}`;
  check(
    execution.status === 'running' || execution.status === 'reducing',
    `${name} is ${execution.status} and still listed`,
  );
  let left = 0;
  let queued = 0;
  for (const unit of execution.units) {
    if (unit.status !== 'done') left++;
    if (unit.status === 'queued') queued++;
    check(
      (unit.status === 'leased') === (unit.lease !== null),
      `a unit of ${name} is ${unit.status}`,
    );
    check(
      (unit.status === 'done') === state.ledger.isPaid(unit.id),
      `a unit of ${name} is ${unit.status} and its pay is not`,
    );
    check(unit.status !== 'dropped', `a unit of ${name} was dropped`);
  }
  check(
    left === execution.unitsLeft,
    `${name}: ${String(left)} units left, says ${String(execution.unitsLeft)}`,
  );
  check(
    queued === execution.queue.length,
    `${name}: ${String(queued)} units queued, queue of ${String(execution.queue.length)}`,
  );
  check(
    (execution.status === 'reducing') === (left === 0),
    `${name} is ${execution.status} with ${String(left)} units left`,
  );
}
