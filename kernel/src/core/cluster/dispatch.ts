/**
 * @file Which unit goes to whom. Workers pull: a unit is granted only to a worker with credit and room in its queue, and
 * of those to the one that is expected to finish it first, so shares follow measured speed and resident data by
 * themselves. A slow worker gets nothing that the others would have finished sooner, and a newcomer one unit alone.
 */
import type { LeaseId, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { classOf } from './classes.js';
import type { EffectBody, GrantedLease } from './events.js';
import { moveLease } from './leaseTable.js';
import { memberWorks } from './memberTable.js';
import { evictionsFor, hold, missingFor, programOf, release } from './residency.js';
import type { Fetch } from './residency.js';
import type {
  ClusterState,
  Execution,
  Lease,
  LeaseGroup,
  Member,
  ResourceId,
  Unit,
} from './state.js';
import { elapsedUs, patienceMs } from './state.js';
import { moveUnit } from './unitTable.js';

export interface Choice {
  readonly member: Member;
  readonly fetch: Fetch;
  readonly evicted: readonly ResourceId[];
}

/** smaller: somebody has nothing to do, and would take fewer units · try: a newcomer can be tried with one. */
type Decision = Choice | 'wait' | 'smaller' | 'try';

/** Grants of one pass to one worker, of one execution and one program: one RUN. */
interface Batch {
  readonly worker: WorkerId;
  readonly execution: Execution;
  readonly program: number;
  readonly groups: GrantedLease[][];
}

/** What one pass over the queues has granted so far. */
export interface Pass {
  readonly now: number;
  readonly effects: EffectBody[];
  /** In the order of their first grants. */
  readonly batches: Batch[];
  /** The last batch of each worker; made with the first grant, because most passes have none. */
  lastOf: Map<WorkerId, Batch> | null;
}

export function newPass(now: number): Pass {
  return { now, effects: [], batches: [], lastOf: null };
}

/** Grants all that can be granted now. */
export function dispatch(state: ClusterState, now: number): EffectBody[] {
  if (state.queuedUnits === 0) return [];
  const working: Member[] = [];
  for (const member of state.members.values()) if (memberWorks(member.status)) working.push(member);
  if (working.length === 0) return [];
  const pass = newPass(now);
  let unseen = state.queuedUnits;
  for (const execution of state.executions.values()) {
    const waiting = execution.queue.length;
    if (execution.status !== 'running' || waiting === 0 || execution.spec.audit !== undefined)
      continue;
    const members = admitted(state, execution, working);
    if (members.length > 0) grantUnits(state, execution, members, pass);
    unseen -= waiting;
    if (unseen <= 0) break;
  }
  return endPass(state, pass);
}

/** The effects of a pass: what was granted to one worker of one program goes in one RUN. */
export function endPass(state: ClusterState, pass: Pass): EffectBody[] {
  for (const { worker, execution, program, groups } of pass.batches) {
    const member = state.members.get(worker);
    if (member === undefined) continue;
    const leaseMs = patienceMs(member);
    pass.effects.push({ kind: 'run', worker, execution: execution.id, program, groups, leaseMs });
  }
  return pass.effects;
}

/** Those of the class that the execution takes; the same array when that is all of them. */
function admitted(
  state: ClusterState,
  execution: Execution,
  working: readonly Member[],
): readonly Member[] {
  const bitClass = classOf(state, execution);
  if (bitClass === null || working.every((member) => member.bitClass === bitClass)) return working;
  return working.filter((member) => member.bitClass === bitClass);
}

/** Who may take units of an execution, in one pass: nobody joins or is proven meanwhile. */
interface Candidates {
  readonly members: readonly Member[];
  readonly proven: readonly Member[];
  /** On probation; one that is tried in this pass stays in it. */
  readonly newcomers: readonly Member[];
}

function grantUnits(
  state: ClusterState,
  execution: Execution,
  members: readonly Member[],
  pass: Pass,
): void {
  const candidates: Candidates = {
    members,
    proven: members.filter(({ status }) => status === 'active'),
    newcomers: members.filter(({ status, isTried }) => status === 'probation' && !isTried),
  };
  let largest = groupSize(execution, members);
  while (execution.queue.length > 0) {
    let units = nextGroup(execution, largest);
    let choice = choose(execution, units, candidates, pass.now);
    if (choice === 'try') {
      units = nextGroup(execution, 1);
      choice = chooseNewcomer(execution, units, candidates, pass.now);
    }
    if (choice === 'smaller' && units.length > 1) {
      largest = units.length / 2;
      continue;
    }
    if (typeof choice === 'string') return;
    execution.queue.length -= units.length;
    state.queuedUnits -= units.length;
    grantTo(state, execution, units, choice, pass);
  }
}

/** Grants units to a member, and notes what to tell it. */
export function grantTo(
  state: ClusterState,
  execution: Execution,
  units: readonly Unit[],
  choice: Choice,
  pass: Pass,
): void {
  const { member } = choice;
  const group = grant(state, execution, units, choice, pass.now);
  if (choice.evicted.length > 0) {
    pass.effects.push({ kind: 'drop', worker: member.id, resources: choice.evicted });
  }
  if (choice.fetch.missing.length > 0) {
    state.counters.resourcesSent += choice.fetch.missing.length;
    const resources = choice.fetch.missing.map((resource) => resource.id);
    pass.effects.push({ kind: 'provide', worker: member.id, resources });
  }
  const program = units[0]?.spec.program ?? 0;
  pass.lastOf ??= new Map();
  let batch = pass.lastOf.get(member.id);
  if (batch?.execution !== execution || batch.program !== program) {
    const isSame = (other: Batch) =>
      other.worker === member.id && other.execution === execution && other.program === program;
    batch = batch === undefined ? undefined : pass.batches.find(isSame);
    if (batch === undefined) {
      batch = { worker: member.id, execution, program, groups: [] };
      pass.batches.push(batch);
    }
    pass.lastOf.set(member.id, batch);
  }
  batch.groups.push(group);
}

/** Members differ in speed when the slowest takes more than this many halves of the fastest one's time. */
const UNEVEN_HALVES = 3;

/**
 * Units that one worker may add up: an equal share of the execution, a quarter of it when workers differ in speed, so that
 * the fast ones can take more; never so many that much is lost with their worker.
 */
function groupSize(execution: Execution, members: readonly Member[]): number {
  const [unit] = execution.units;
  if (!execution.spec.isMergeable || unit === undefined) return 1;
  const times = members.map((member) => expectedUs(member, execution, unit));
  const slowest = Math.max(...times);
  const isUneven = slowest * 2 > Math.min(...times) * UNEVEN_HALVES;
  const shares = members.length === 1 ? 1 : members.length * (isUneven ? 4 : 1);
  const byTime = Math.floor(ENGINE_LIMITS.groupUs / Math.max(1, slowest));
  const most = Math.min(ENGINE_LIMITS.groupUnits, byTime, execution.units.length / shares);
  let size = 1;
  while (size * 2 <= most) size *= 2;
  return size;
}

/** The next units to grant: the largest group at the head of the queue that is a node of the sum's tree. */
function nextGroup(execution: Execution, largest: number): Unit[] {
  const { queue, units } = execution;
  const first = queue[queue.length - 1] ?? 0;
  let size = largest;
  while (size > 1 && !isWaitingNode(execution, first, size)) size /= 2;
  return units.slice(first, first + size);
}

/** Aligned powers of two are nodes of the tree, whatever the number of shards. */
function isWaitingNode({ queue, units }: Execution, first: number, size: number): boolean {
  if (first % size !== 0 || queue.length < size) return false;
  const program = units[first]?.spec.program;
  for (let offset = 0; offset < size; offset++) {
    const isNext = queue[queue.length - 1 - offset] === first + offset;
    const unit = units[first + offset];
    // A unit that failed goes alone: it must not take its neighbours down again.
    if (!isNext || unit?.spec.program !== program || unit?.attempts !== 0) return false;
  }
  return true;
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

/**
 * The proven member to finish these units first, or that it is better to wait. Before one that works already gets more, a
 * newcomer is tried with a unit; before that, every proven one that is idle gets some, so no step waits for a newcomer alone.
 */
function choose(
  execution: Execution,
  units: readonly Unit[],
  candidates: Candidates,
  now: number,
): Decision {
  const { proven, newcomers } = candidates;
  const choice = chooseAmong(execution, units, able(proven, units, candidates), now);
  if (newcomers.length === 0) return choice;
  const isIdle = typeof choice !== 'string' && choice.member.leases.size === 0;
  const canTry =
    !isIdle && chooseNewcomer(execution, units.slice(0, 1), candidates, now) !== 'wait';
  return canTry ? 'try' : choice;
}

function chooseNewcomer(
  execution: Execution,
  units: readonly Unit[],
  candidates: Candidates,
  now: number,
): Decision {
  const untried = candidates.newcomers.filter(({ isTried }) => !isTried);
  const newcomers = able(untried, units, candidates);
  return newcomers.length === 0 ? 'wait' : chooseAmong(execution, units, newcomers, now);
}

/** A unit that a member has refused goes to another one, as long as there is one. */
function able(
  some: readonly Member[],
  [unit]: readonly Unit[],
  { members }: Candidates,
): readonly Member[] {
  const refusedBy = unit?.refusedBy ?? null;
  if (refusedBy === null || refusedBy.size >= members.length) return some;
  return some.filter(({ id }) => !refusedBy.has(id));
}

function chooseAmong(
  execution: Execution,
  units: readonly Unit[],
  members: readonly Member[],
  now: number,
): Decision {
  let best: Choice | null = null;
  let bestFinishUs = Infinity;
  let soonestUs = Infinity;
  const [unit] = units;
  if (unit === undefined || !isRoomAnywhere(execution, units.length, unit, members)) return 'wait';
  for (const member of members) {
    const unitUs = expectedUs(member, execution, unit);
    const fetch = missingFor(member, execution, units);
    const transferUs = Math.ceil((fetch.missingBytes * 1000) / ENGINE_LIMITS.linkBytesPerMs);
    const finishUs = backlogUs(member, now) + unitUs * units.length + transferUs;
    soonestUs = Math.min(soonestUs, finishUs);
    if (finishUs >= bestFinishUs) continue;
    const evicted = roomFor(member, execution, units, fetch, unitUs);
    if (evicted === null) continue;
    best = { member, fetch, evicted };
    bestFinishUs = finishUs;
  }
  if (best === null) return 'wait';
  const isWorthIt =
    bestFinishUs === soonestUs || bestFinishUs <= drainUs(execution, unit, members, now);
  if (isWorthIt) return best;
  return best.member.leases.size === 0 ? 'smaller' : 'wait';
}

/** As it is not after nearly every answer: whoever has room was given something before. */
function isRoomAnywhere(
  execution: Execution,
  count: number,
  unit: Unit,
  members: readonly Member[],
): boolean {
  for (const member of members) {
    if (hasLeaseRoom(member, count, expectedUs(member, execution, unit))) return true;
  }
  return false;
}

function hasLeaseRoom(member: Member, count: number, unitUs: number): boolean {
  return member.leases.size === 0 || leaseRoom(member, unitUs) >= count;
}

/** Expected time until a member is through with what it has, µs. One that is late will hardly be done at once. */
export function backlogUs(member: Member, now: number): number {
  const elapsed = elapsedUs(member, now);
  const lateUs = elapsed - member.queuedUs - ENGINE_LIMITS.leaseAheadUs;
  return lateUs > 0 ? member.queuedUs + elapsed : member.queuedUs;
}

/** What `member` has to forget to take the units now; null when it cannot take them. */
export function roomFor(
  member: Member,
  execution: Execution,
  units: readonly Unit[],
  fetch: Fetch,
  unitUs: number,
): readonly ResourceId[] | null {
  if (!hasLeaseRoom(member, units.length, unitUs)) return null;
  let bytes = fetch.missingBytes;
  for (const { spec } of units) bytes += spec.messageBytes;
  // A lone transfer may exceed the window: otherwise a tensor above it could never be sent.
  const fitsWindow =
    member.inFlightBytes === 0 || member.inFlightBytes + bytes <= member.windowBytes;
  return fitsWindow ? evictionsFor(member, fetch.missingBytes, execution, units) : null;
}

/**
 * When all members together would be through with what they hold and what is queued, µs. A unit that a worker would
 * finish later than this holds up the step; it stays queued for a faster one.
 */
function drainUs(
  execution: Execution,
  unit: Unit,
  members: readonly Member[],
  now: number,
): number {
  let unitsHeld = 0;
  let unitsPerMs = 0;
  for (const member of members) {
    const unitUs = Math.max(1, expectedUs(member, execution, unit));
    unitsHeld += backlogUs(member, now) / unitUs;
    unitsPerMs += 1000 / unitUs;
  }
  return Math.ceil(((unitsHeld + execution.queue.length) * 1000) / unitsPerMs);
}

function grant(
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
  const leases = units.map((unit) => grantUnit(state, execution, unit, member));
  const group: LeaseGroup = { leases };
  for (const lease of leases) lease.group = group;
  return leases.map(({ id, unit }) => ({ lease: id, shard: unit.shard }));
}

/** One unit of a backup costs as many credits as units that have to be granted for it. */
const CREDIT_MAX = ENGINE_LIMITS.backupShare * ENGINE_LIMITS.backupUnitsSaved;

const NO_GROUP: LeaseGroup = { leases: [] };

function grantUnit(state: ClusterState, execution: Execution, unit: Unit, member: Member): Lease {
  touch(member, execution, unit);
  const expected = expectedUs(member, execution, unit);
  const lease: Lease = {
    id: state.nextLeaseId++ as LeaseId,
    worker: member.id,
    unit,
    execution,
    expectedUs: expected,
    group: NO_GROUP,
    status: 'granted',
  };
  member.leases.set(lease.id, lease);
  member.queuedUs += expected;
  member.inFlightBytes += unit.spec.messageBytes;
  state.leases.set(lease.id, lease);
  state.counters.leasesGranted++;
  state.backupCredit = Math.min(CREDIT_MAX, state.backupCredit + 1);
  if (unit.lease === null) {
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
  if (member?.leases.delete(lease.id) === true) member.queuedUs -= lease.expectedUs;
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
