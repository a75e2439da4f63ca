/**
 * @file Which unit goes to whom. Workers pull: a unit is granted only to a worker with credit and room in its queue, and
 * of those to the one that is expected to finish it first, so shares follow measured speed and resident data by
 * themselves. A slow worker gets nothing that the others would have finished sooner, and a newcomer one unit alone.
 */
import type { WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { Bid, Choice } from './bids.js';
import { Bids, expectedUs } from './bids.js';
import { classOf } from './classes.js';
import type { EffectBody, GrantedLease } from './events.js';
import { grant } from './leases.js';
import { memberWorks } from './memberTable.js';
import type { ClusterState, Execution, Member, Unit } from './state.js';
import { patienceMs } from './state.js';

/** try: a newcomer can be tried with one. */
type Decision = Bid | 'try';

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

/** @param effects where those of the pass are added. */
export function newPass(now: number, effects: EffectBody[]): Pass {
  return { now, effects, batches: [], lastOf: null };
}

/** Grants all that can be granted now. */
export function dispatch(state: ClusterState, now: number, effects: EffectBody[]): void {
  if (state.queuedUnits === 0) return;
  const working: Member[] = [];
  for (const member of state.members.values()) if (memberWorks(member.status)) working.push(member);
  if (working.length === 0) return;
  const pass = newPass(now, effects);
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
  endPass(state, pass);
}

/** The effects of a pass: what was granted to one worker of one program goes in one RUN. */
export function endPass(state: ClusterState, pass: Pass): void {
  for (const { worker, execution, program, groups } of pass.batches) {
    const member = state.members.get(worker);
    if (member === undefined) continue;
    const leaseMs = patienceMs(member);
    pass.effects.push({ kind: 'run', worker, execution: execution.id, program, groups, leaseMs });
  }
}

/** Those of the class that the execution takes; the same array when that is all of them. */
function admitted(
  state: ClusterState,
  execution: Execution,
  working: readonly Member[],
): readonly Member[] {
  const bitClass = classOf(state, execution);
  if (bitClass === null) return working;
  const members: Member[] = [];
  for (const member of working) if (member.bitClass === bitClass) members.push(member);
  return members.length === working.length ? working : members;
}

/** Who may take units of an execution, in one pass: nobody joins or is proven meanwhile. */
interface Candidates {
  readonly proven: Bids;
  /** On probation, and not tried with anything yet. */
  newcomers: Bids;
}

function provenOf(execution: Execution, members: readonly Member[], now: number): Bids {
  const proven: Member[] = [];
  for (const member of members) if (member.status === 'active') proven.push(member);
  return new Bids(execution, proven, members.length, now);
}

function newcomersOf(execution: Execution, members: readonly Member[], now: number): Bids {
  const newcomers: Member[] = [];
  for (const member of members) {
    if (member.status === 'probation' && !member.isTried) newcomers.push(member);
  }
  return new Bids(execution, newcomers, members.length, now);
}

function grantUnits(
  state: ClusterState,
  execution: Execution,
  members: readonly Member[],
  pass: Pass,
): void {
  const { now } = pass;
  const candidates: Candidates = {
    proven: provenOf(execution, members, now),
    newcomers: newcomersOf(execution, members, now),
  };
  let largest = groupSize(execution, members);
  while (execution.queue.length > 0) {
    let units = nextGroup(execution, largest);
    let choice = choose(units, candidates);
    if (choice === 'try') {
      units = nextGroup(execution, 1);
      choice = candidates.newcomers.choose(units);
    }
    if (choice === 'smaller' && units.length > 1) {
      largest = units.length / 2;
      continue;
    }
    if (typeof choice === 'string') return;
    execution.queue.length -= units.length;
    state.queuedUnits -= units.length;
    grantTo(state, execution, units, choice, pass);
    const { member } = choice;
    if (member.isTried) candidates.newcomers = newcomersOf(execution, members, now);
    else candidates.proven.granted(member);
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
  let slowest = 0;
  let fastest = Infinity;
  for (const member of members) {
    const us = expectedUs(member, execution, unit);
    slowest = Math.max(slowest, us);
    fastest = Math.min(fastest, us);
  }
  const isUneven = slowest * 2 > fastest * UNEVEN_HALVES;
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

/**
 * The proven member to finish these units first, or that it is better to wait. Before one that works already gets more, a
 * newcomer is tried with a unit; before that, every proven one that is idle gets some, so no step waits for a newcomer alone.
 */
function choose(units: readonly Unit[], { proven, newcomers }: Candidates): Decision {
  const choice = proven.choose(units);
  if (newcomers.isEmpty) return choice;
  const isIdle = typeof choice !== 'string' && choice.member.leases.size === 0;
  const canTry = !isIdle && newcomers.choose(units.slice(0, 1)) !== 'wait';
  return canTry ? 'try' : choice;
}
