/**
 * @file The scheduler of the engine as a pure machine: events in, effects out, time as an argument. No I/O, no clock, no
 * tensors. The shell carries out the effects in order and calls again with 'tick' at `deadline`.
 *
 * What it promises: every unit of a committed execution is committed exactly once and paid exactly once, whatever
 * workers do; a result counts by its lease alone, so late and repeated ones are harmless.
 */
import type { UnitId, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS, LIMITS } from '@ravenlab/protocol';
import { closeLease, dispatch, loseLease, requeue } from './dispatch.js';
import type { ClusterEffect, ClusterEvent, EffectBody, UnitResult } from './events.js';
import { moveExecution } from './executionTable.js';
import { moveLease } from './leaseTable.js';
import { memberTakes, moveMember } from './memberTable.js';
import { hold, release } from './residency.js';
import type {
  ClusterState,
  Execution,
  ExecutionSpec,
  Failure,
  Lease,
  Member,
  ResourceId,
  Unit,
} from './state.js';
import { QUIET_MS, patienceMs } from './state.js';
import { moveUnit } from './unitTable.js';

type EventOf<K extends ClusterEvent['kind']> = Extract<ClusterEvent, { kind: K }>;
type Handlers = {
  readonly [K in ClusterEvent['kind']]: (
    state: ClusterState,
    event: EventOf<K>,
    now: number,
  ) => EffectBody[];
};

/**
 * Takes one event and returns what to do, in order.
 * @param eventId a number that the shell gives out; it comes back as `cause` of every effect.
 * @param now integer ms, never going back.
 */
export function step(
  state: ClusterState,
  event: ClusterEvent,
  eventId: number,
  now: number,
): ClusterEffect[] {
  state.trace.record(event);
  const handler = HANDLERS[event.kind] as (
    state: ClusterState,
    event: ClusterEvent,
    now: number,
  ) => EffectBody[];
  const bodies = handler(state, event, now);
  bodies.push(...dispatch(state, now), ...watchStarvation(state, now));
  return stamp(bodies, eventId);
}

/** Every effect was made for this event alone, so it is completed in place. */
function stamp(bodies: EffectBody[], cause: number): ClusterEffect[] {
  const effects = bodies as (EffectBody & { cause: number })[];
  for (const effect of effects) effect.cause = cause;
  return effects;
}

/** Latest time to call `step` with 'tick'; null when nothing waits for time. */
export function deadline(state: ClusterState): number | null {
  let at = Infinity;
  for (const member of state.members.values()) {
    at = Math.min(at, member.pingAtMs, member.lastHeardMs + LIMITS.heartbeatTimeoutMs);
    if (member.status === 'active') at = Math.min(at, member.lastHeardMs + QUIET_MS);
    if (member.leases.size > 0) at = Math.min(at, member.progressAtMs + patienceMs(member));
  }
  if (state.starvedSinceMs !== null && !state.starvedTold) {
    at = Math.min(at, state.starvedSinceMs + ENGINE_LIMITS.noWorkerNoticeMs);
  }
  return Number.isFinite(at) ? at : null;
}

const HANDLERS: Handlers = {
  joined: (state, event, now) => {
    const effects = state.members.has(event.worker) ? removeMember(state, event.worker) : [];
    const member: Member = {
      id: event.worker,
      seq: state.nextMemberSeq++,
      incarnation: event.incarnation,
      joinedAtMs: now,
      gflops: event.gflops,
      heldLimitBytes: Math.trunc((event.memoryBytes * ENGINE_LIMITS.heldPercent) / 100),
      windowBytes: event.windowBytes,
      status: 'active',
      lastHeardMs: now,
      pingAtMs: now + LIMITS.heartbeatMs,
      progressAtMs: now,
      latencyUs: 0,
      inFlightBytes: 0,
      held: new Map(),
      heldBytes: 0,
      leases: new Map(),
      queuedUs: 0,
      unitUs: new Map(),
      ready: new Set(),
      needsInARow: 0,
      unitsDone: 0,
      unitsFailed: 0,
      samplesDone: 0,
    };
    for (const resource of event.held) hold(member, resource);
    state.members.set(event.worker, member);
    return effects;
  },

  left: (state, event) => removeMember(state, event.worker),

  heard: (state, event, now) => {
    const member = state.members.get(event.worker);
    if (member === undefined) return [];
    hear(state, member, now);
    if (event.latencyUs !== null) member.latencyUs = event.latencyUs;
    return [];
  },

  submitted: (state, event, now) => {
    submit(state, event.spec, now);
    return [];
  },

  done: (state, event, now) => {
    const member = state.members.get(event.worker);
    if (member !== undefined) hear(state, member, now);
    return event.results.flatMap((result, index) =>
      takeResult(state, event.worker, result, index, now),
    );
  },

  credit: (state, event, now) => {
    const member = state.members.get(event.worker);
    if (member === undefined) return [];
    hear(state, member, now);
    member.inFlightBytes = event.inFlightBytes;
    return [];
  },

  need: (state, event, now) => {
    const member = state.members.get(event.worker);
    if (member === undefined) return [];
    hear(state, member, now);
    state.counters.needs++;
    member.needsInARow++;
    if (member.needsInARow > ENGINE_LIMITS.needsInARow) {
      const reason = `asked ${String(member.needsInARow)} times for what it was sent`;
      const worker = member.id;
      return [{ kind: 'expel', worker, reason }, ...removeMember(state, worker)];
    }
    const resources = event.resources.filter((id) => member.held.has(id));
    return resources.length === 0 ? [] : [{ kind: 'provide', worker: member.id, resources }];
  },

  reduced: (state, event) => {
    const execution = state.executions.get(event.execution);
    if (execution?.status !== 'reducing') return [];
    if (event.failure !== null) return failExecution(state, execution, event.failure);
    moveExecution(state.trace, execution, 'commit');
    forgetExecution(state, execution);
    return [{ kind: 'committed', execution: execution.id }];
  },

  cancelled: (state, event) => {
    const execution = state.executions.get(event.execution);
    if (execution?.status !== 'running') return [];
    moveExecution(state.trace, execution, 'cancel');
    return endUnits(state, execution);
  },

  retired: (state, event) => {
    const effects: EffectBody[] = [];
    for (const member of state.members.values()) {
      const resources = event.resources.filter((id) => release(member, id));
      for (const id of event.resources) member.unitUs.delete(id);
      if (resources.length > 0) effects.push({ kind: 'drop', worker: member.id, resources });
    }
    return effects;
  },

  drain: (state, event) => {
    const member = state.members.get(event.worker);
    if (member === undefined || !memberTakes(member.status, 'drain')) return [];
    moveMember(state.trace, member, 'drain');
    return drainedEffect(member);
  },

  resume: (state, event) => {
    const member = state.members.get(event.worker);
    if (member === undefined || !memberTakes(member.status, 'resume')) return [];
    moveMember(state.trace, member, 'resume');
    return [];
  },

  tick: (state, _event, now) => {
    const effects: EffectBody[] = [];
    for (const member of [...state.members.values()])
      effects.push(...watchMember(state, member, now));
    return effects;
  },
};

function hear(state: ClusterState, member: Member, now: number): void {
  member.lastHeardMs = now;
  if (memberTakes(member.status, 'heard')) moveMember(state.trace, member, 'heard');
}

/** Beats, silence and stalls of one member. */
function watchMember(state: ClusterState, member: Member, now: number): EffectBody[] {
  const worker = member.id;
  const silenceMs = now - member.lastHeardMs;
  if (silenceMs >= LIMITS.heartbeatTimeoutMs) {
    const reason = `silent for ${String(silenceMs)} ms`;
    return [{ kind: 'expel', worker, reason }, ...removeMember(state, worker)];
  }
  const effects: EffectBody[] = [];
  if (now >= member.pingAtMs) {
    member.pingAtMs = now + LIMITS.heartbeatMs;
    effects.push({ kind: 'ping', worker });
  }
  if (silenceMs >= QUIET_MS && memberTakes(member.status, 'quiet')) {
    moveMember(state.trace, member, 'quiet');
  }
  if (member.leases.size > 0 && now - member.progressAtMs >= patienceMs(member)) {
    moveMember(state.trace, member, 'stall');
    const leases = [...member.leases.values()];
    for (const lease of leases) loseLease(state, lease, 'expire');
    effects.push({ kind: 'revoke', worker, leases: leases.map((lease) => lease.id) });
    effects.push(...drainedEffect(member));
  }
  return effects;
}

/** A member is gone: its leases are void and their units are queued again at once. */
function removeMember(state: ClusterState, worker: WorkerId): EffectBody[] {
  const member = state.members.get(worker);
  if (member === undefined) return [];
  moveMember(state.trace, member, 'leave');
  for (const lease of [...member.leases.values()]) loseLease(state, lease, 'revoke');
  state.members.delete(worker);
  return [];
}

function drainedEffect(member: Member): EffectBody[] {
  const isDrained = member.status === 'draining' && member.leases.size === 0;
  return isDrained ? [{ kind: 'drained', worker: member.id }] : [];
}

function submit(state: ClusterState, spec: ExecutionSpec, now: number): void {
  const units = spec.units.map((unit, shard): Unit => ({
    id: state.nextUnitId++ as UnitId,
    shard,
    spec: unit,
    status: 'queued',
    lease: null,
    attempts: 0,
    refusedBy: null,
  }));
  const execution: Execution = {
    id: spec.id,
    spec,
    status: 'running',
    units,
    queue: units.map((unit) => unit.shard).reverse(),
    unitsLeft: units.length,
    submittedAtMs: now,
    workers: new Set(),
  };
  state.executions.set(spec.id, execution);
  state.queuedUnits += units.length;
}

function takeResult(
  state: ClusterState,
  worker: WorkerId,
  result: UnitResult,
  index: number,
  now: number,
): EffectBody[] {
  const member = state.members.get(worker);
  if (member !== undefined && memberTakes(member.status, 'progress')) {
    moveMember(state.trace, member, 'progress');
  }
  const lease = state.leases.get(result.lease);
  if (member === undefined || lease?.worker !== worker) {
    state.counters.staleResults++;
    return [];
  }
  member.progressAtMs = now;
  member.needsInARow = 0;
  if (result.status !== 'ok') return refuseUnit(state, member, lease, result);
  const { leases } = lease.group;
  // The answer of a group counts as long as all of it is granted, and only with its first lease.
  const isWhole = leases[0] === lease && leases.every(({ status }) => status === 'granted');
  return isWhole
    ? acceptGroup(state, member, leases, result.computeUs, index)
    : refuseUnit(state, member, lease, { ...result, status: 'cancelled' });
}

function acceptGroup(
  state: ClusterState,
  member: Member,
  leases: readonly Lease[],
  computeUs: number,
  index: number,
): EffectBody[] {
  const [first] = leases;
  if (first === undefined) return [];
  const { execution, unit } = first;
  const count = leases.length;
  const effects: EffectBody[] = leases.flatMap((lease) => acceptUnit(state, member, lease));
  const program = execution.spec.programs[unit.spec.program];
  if (program !== undefined) learnUnitUs(member, program.resource.id, computeUs / count);
  effects.push({ kind: 'accept', execution: execution.id, shard: unit.shard, count, index });
  effects.push(...drainedEffect(member));
  if (execution.unitsLeft === 0) {
    moveExecution(state.trace, execution, 'allIn');
    effects.push({ kind: 'complete', execution: execution.id, workers: execution.workers.size });
  }
  return effects;
}

function acceptUnit(state: ClusterState, member: Member, lease: Lease): EffectBody[] {
  const { execution, unit } = lease;
  moveLease(state.trace, lease, 'settle');
  closeLease(state, lease);
  moveUnit(state.trace, unit, 'accept');
  unit.lease = null;
  member.unitsDone++;
  member.samplesDone += unit.spec.samples;
  state.counters.unitsDone++;
  execution.unitsLeft--;
  const { shard } = unit;
  if (execution.spec.paidShards?.has(shard) === true) {
    state.ledger.repeat(lease.id);
    return [];
  }
  const flops = execution.spec.programs[unit.spec.program]?.flops ?? 0;
  const entry = state.ledger.post(lease.id, flops);
  return [{ kind: 'meter', entry, execution: execution.id, shard }];
}

/** Running mean with weight 1/4: follows a machine that slows down within a few units, ignores one hiccup. */
function learnUnitUs(member: Member, program: ResourceId, computeUs: number): void {
  const sample = Math.max(1, Math.trunc(computeUs));
  const known = member.unitUs.get(program);
  member.unitUs.set(program, known === undefined ? sample : Math.trunc((known * 3 + sample) / 4));
}

function refuseUnit(
  state: ClusterState,
  member: Member,
  lease: Lease,
  result: UnitResult,
): EffectBody[] {
  const { execution, unit } = lease;
  moveLease(state.trace, lease, 'fail');
  closeLease(state, lease);
  state.ledger.void(lease.id);
  requeue(state, execution, unit);
  const drained = drainedEffect(member);
  if (result.status === 'cancelled') return drained;
  member.unitsFailed++;
  state.counters.unitsFailed++;
  unit.attempts++;
  unit.refusedBy ??= new Set();
  unit.refusedBy.add(member.id);
  const failure = failureOf(state, unit, result);
  return failure === null ? drained : [...drained, ...failExecution(state, execution, failure)];
}

/** Whether this answer ends the execution: a value that is not finite does, an error when it has been tried enough. */
function failureOf(state: ClusterState, unit: Unit, result: UnitResult): Failure | null {
  const { shard } = unit;
  if (result.status === 'nonFinite') {
    const message = `output ${String(result.output)} of micro-shard ${String(shard)} is NaN or infinite`;
    return { code: 'numeric', message, shard, output: result.output };
  }
  const isHopeless =
    result.error?.retryable === false && (unit.refusedBy?.size ?? 0) >= state.members.size;
  if (unit.attempts < ENGINE_LIMITS.unitAttempts && !isHopeless) return null;
  const code = result.error?.code ?? 'cluster';
  const message = result.error?.message ?? 'the worker gave no reason';
  return { code, message, shard, output: -1 };
}

function failExecution(state: ClusterState, execution: Execution, failure: Failure): EffectBody[] {
  moveExecution(state.trace, execution, 'fail');
  const effects = endUnits(state, execution);
  effects.push({ kind: 'failed', execution: execution.id, failure });
  return effects;
}

/** The execution ends without a result: nobody works on it any more. */
function endUnits(state: ClusterState, execution: Execution): EffectBody[] {
  const busy = new Set<WorkerId>();
  for (const unit of execution.units) {
    const { lease } = unit;
    if (lease !== null) {
      busy.add(lease.worker);
      moveLease(state.trace, lease, 'cancel');
      closeLease(state, lease);
      state.ledger.void(lease.id);
      unit.lease = null;
    } else if (unit.status === 'queued') {
      state.queuedUnits--;
    }
    if (unit.status !== 'done') moveUnit(state.trace, unit, 'drop');
  }
  forgetExecution(state, execution);
  return [...busy].flatMap((worker) => {
    const member = state.members.get(worker);
    const drained = member === undefined ? [] : drainedEffect(member);
    return [{ kind: 'revokeExecution', worker, execution: execution.id } as const, ...drained];
  });
}

function forgetExecution(state: ClusterState, execution: Execution): void {
  state.executions.delete(execution.id);
  state.ledger.forget(execution.units);
  for (const member of state.members.values()) member.ready.delete(execution.id);
}

/** Says once when work has waited too long for anybody to do it. */
function watchStarvation(state: ClusterState, now: number): EffectBody[] {
  const hasWorker = [...state.members.values()].some((member) => member.status === 'active');
  if (state.queuedUnits === 0 || hasWorker) {
    state.starvedSinceMs = null;
    state.starvedTold = false;
    return [];
  }
  state.starvedSinceMs ??= now;
  if (state.starvedTold || now - state.starvedSinceMs < ENGINE_LIMITS.noWorkerNoticeMs) return [];
  state.starvedTold = true;
  return [{ kind: 'starved', sinceMs: state.starvedSinceMs }];
}
