/**
 * @file Which unit goes to whom. Workers pull: a unit is granted only to a worker with credit and room in its queue, and
 * of those to the one that is expected to finish it first, so shares follow measured speed and resident data by
 * themselves. A slow worker gets nothing that the others would have finished sooner.
 */
import type { LeaseId, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { EffectBody, GrantedLease } from './events.js';
import { moveLease } from './leaseTable.js';
import { evictionsFor, hold, missingFor, programOf, release } from './residency.js';
import type { Fetch } from './residency.js';
import type {
  ClusterState,
  Execution,
  Lease,
  Member,
  Resource,
  ResourceId,
  Unit,
} from './state.js';
import { patienceMs } from './state.js';
import { moveUnit } from './unitTable.js';

interface Choice {
  readonly member: Member;
  readonly fetch: Fetch;
  readonly evicted: readonly ResourceId[];
}

/** Grants of one pass to one worker, of one execution and one program: one RUN. */
interface Batch {
  readonly worker: WorkerId;
  readonly execution: Execution;
  readonly program: number;
  readonly leases: GrantedLease[];
}

/** Grants all that can be granted now. */
export function dispatch(state: ClusterState, now: number): EffectBody[] {
  if (state.queuedUnits === 0) return [];
  const members = [...state.members.values()].filter((member) => member.status === 'active');
  if (members.length === 0) return [];
  const effects: EffectBody[] = [];
  const batches = new Map<string, Batch>();
  for (const execution of state.executions.values()) {
    if (execution.status !== 'running') continue;
    grantUnits(state, execution, members, now, effects, batches);
  }
  for (const batch of batches.values()) {
    const member = state.members.get(batch.worker);
    if (member === undefined) continue;
    const leaseMs = patienceMs(member);
    const { worker, execution, program, leases } = batch;
    effects.push({ kind: 'run', worker, execution: execution.id, program, leases, leaseMs });
  }
  return effects;
}

function grantUnits(
  state: ClusterState,
  execution: Execution,
  members: readonly Member[],
  now: number,
  effects: EffectBody[],
  batches: Map<string, Batch>,
): void {
  for (let left = execution.queue.length; left > 0; left--) {
    const shard = execution.queue[execution.queue.length - 1];
    const unit = shard === undefined ? undefined : execution.units[shard];
    if (unit === undefined) return;
    const choice = choose(execution, unit, members);
    if (choice === null) return;
    execution.queue.pop();
    state.queuedUnits--;
    const lease = grant(state, execution, unit, choice, now);
    const { member } = choice;
    if (choice.evicted.length > 0) {
      effects.push({ kind: 'drop', worker: member.id, resources: choice.evicted });
    }
    if (choice.fetch.missing.length > 0) {
      state.counters.resourcesSent += choice.fetch.missing.length;
      const resources = choice.fetch.missing.map((resource) => resource.id);
      effects.push({ kind: 'provide', worker: member.id, resources });
    }
    const key = `${member.id}/${String(execution.id)}/${String(unit.spec.program)}`;
    const batch = batches.get(key);
    if (batch !== undefined) batch.leases.push({ lease, shard: unit.shard });
    else {
      const leases = [{ lease, shard: unit.shard }];
      batches.set(key, { worker: member.id, execution, program: unit.spec.program, leases });
    }
  }
}

/** Expected time of one unit on a member, µs: measured, else from its speed, else a guess. */
export function expectedUs(member: Member, execution: Execution, unit: Unit): number {
  const program = execution.spec.programs[unit.spec.program];
  const measured = program === undefined ? undefined : member.unitUs.get(program.resource.id);
  if (measured !== undefined) return measured;
  const byFlops = member.gflops > 0 ? Math.ceil((program?.flops ?? 0) / (member.gflops * 1000)) : 0;
  return Math.max(ENGINE_LIMITS.unitUsDefault, byFlops);
}

/** Units that a member may hold ahead: enough that it never waits for the wire. */
function leaseRoom(member: Member, unitUs: number): number {
  const aheadUs = ENGINE_LIMITS.leaseAheadUs + 2 * member.latencyUs;
  const wanted = Math.ceil(aheadUs / Math.max(1, unitUs));
  const room = Math.min(
    ENGINE_LIMITS.leasesPerMember,
    Math.max(ENGINE_LIMITS.leasesAheadMin, wanted),
  );
  return room - member.leases.size;
}

/** The member to finish `unit` first among those that can take it now; null when it is better to wait. */
function choose(execution: Execution, unit: Unit, members: readonly Member[]): Choice | null {
  let best: Choice | null = null;
  let bestFinishUs = Infinity;
  let soonestUs = Infinity;
  for (const member of members) {
    if (unit.refusedBy?.has(member.id) === true && unit.refusedBy.size < members.length) continue;
    const unitUs = expectedUs(member, execution, unit);
    const fetch = missingFor(member, execution, unit.spec);
    const transferUs = Math.ceil((fetch.missingBytes * 1000) / ENGINE_LIMITS.linkBytesPerMs);
    const finishUs = member.queuedUs + unitUs + transferUs;
    soonestUs = Math.min(soonestUs, finishUs);
    if (finishUs >= bestFinishUs || leaseRoom(member, unitUs) <= 0) continue;
    const bytes = fetch.missingBytes + unit.spec.messageBytes;
    // A lone transfer may exceed the window: otherwise a tensor above it could never be sent.
    const fitsWindow =
      member.inFlightBytes === 0 || member.inFlightBytes + bytes <= member.windowBytes;
    if (!fitsWindow) continue;
    const evicted = evictionsFor(member, fetch.missingBytes, execution, unit.spec);
    if (evicted === null) continue;
    best = { member, fetch, evicted };
    bestFinishUs = finishUs;
  }
  if (best === null || bestFinishUs === soonestUs) return best;
  return bestFinishUs <= drainUs(execution, unit, members) ? best : null;
}

/**
 * When all members together would be through with what they hold and what is queued, µs. A unit that a worker would
 * finish later than this holds up the step; it stays queued for a faster one.
 */
function drainUs(execution: Execution, unit: Unit, members: readonly Member[]): number {
  let unitsHeld = 0;
  let unitsPerMs = 0;
  for (const member of members) {
    const unitUs = Math.max(1, expectedUs(member, execution, unit));
    unitsHeld += member.queuedUs / unitUs;
    unitsPerMs += 1000 / unitUs;
  }
  return Math.ceil(((unitsHeld + execution.queue.length) * 1000) / unitsPerMs);
}

function grant(
  state: ClusterState,
  execution: Execution,
  unit: Unit,
  choice: Choice,
  now: number,
): LeaseId {
  const { member, fetch, evicted } = choice;
  for (const id of evicted) release(member, id);
  if (evicted.length > 0) member.ready.clear();
  touch(member, execution, unit, fetch.missing);
  const id = state.nextLeaseId++ as LeaseId;
  const unitUs = expectedUs(member, execution, unit);
  const lease: Lease = {
    id,
    worker: member.id,
    unit,
    execution,
    expectedUs: unitUs,
    status: 'granted',
  };
  if (member.leases.size === 0) member.progressAtMs = now;
  member.leases.set(id, lease);
  member.queuedUs += unitUs;
  member.inFlightBytes += fetch.missingBytes + unit.spec.messageBytes;
  state.leases.set(id, lease);
  state.counters.leasesGranted++;
  moveUnit(state.trace, unit, 'lease');
  unit.lease = lease;
  execution.workers.add(member.id);
  const program = execution.spec.programs[unit.spec.program];
  state.ledger.reserve(id, unit.id, member.id, program?.amount ?? 0n);
  return id;
}

/** Marks what the unit uses as held and recently used. */
function touch(
  member: Member,
  execution: Execution,
  unit: Unit,
  missing: readonly Resource[],
): void {
  for (const resource of missing) hold(member, resource);
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
  requeue(state, lease.execution, lease.unit);
}

/** Takes a lease off the books of its member. */
export function closeLease(state: ClusterState, lease: Lease): void {
  state.leases.delete(lease.id);
  const member = state.members.get(lease.worker);
  if (member?.leases.delete(lease.id) === true) member.queuedUs -= lease.expectedUs;
}

/** Back to the queue; the smallest shard is taken first, so that the sum of the step can proceed in order. */
export function requeue(state: ClusterState, execution: Execution, unit: Unit): void {
  moveUnit(state.trace, unit, 'requeue');
  unit.lease = null;
  const { queue } = execution;
  let at = queue.length;
  while (at > 0 && (queue[at - 1] ?? 0) < unit.shard) at--;
  queue.splice(at, 0, unit.shard);
  state.queuedUnits++;
}
