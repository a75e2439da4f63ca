/**
 * @file The scheduler of the engine as a pure machine: events in, effects out, time as an argument. No I/O, no clock, no
 * tensors. The shell carries out the effects in order and calls again with 'tick' at `deadline`.
 *
 * What it promises: every unit of a committed execution is committed exactly once and paid exactly once, whatever
 * workers do; a result counts by its lease alone, so late and repeated ones are harmless.
 */
import type { UnitId, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS, LIMITS } from '@ravenlab/protocol';
import { grantAudits } from './audits.js';
import { backUp } from './backup.js';
import { admits, classOf } from './classes.js';
import { dispatch } from './dispatch.js';
import type { ClusterEffect, ClusterEvent, EffectBody } from './events.js';
import { moveExecution } from './executionTable.js';
import { forgetUnfit, withoutRoom } from './fitness.js';
import { memberTakes, memberWorks, moveMember } from './memberTable.js';
import {
  BANNED,
  drainedEffect,
  failMember,
  hear,
  join,
  pauseMember,
  removeMember,
  watchMember,
} from './members.js';
import { hold, release } from './residency.js';
import { endUnits, failExecution, forgetExecution, takeResult } from './results.js';
import { banWallet, releaseAtMs, releaseMember, settle, standingOf } from './standing.js';
import { moveStanding } from './standingTable.js';
import type { ClusterState, Execution, ExecutionSpec, Unit } from './state.js';
import { QUIET_MS, patienceMs } from './state.js';

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
  const effects = handler(state, event, now);
  if (effects === NO_CHANGE) return [];
  endWithoutRoom(state, now, effects);
  grantAudits(state, now, true, effects);
  dispatch(state, now, effects);
  grantAudits(state, now, false, effects);
  backUp(state, now, effects);
  watchStarvation(state, now, effects);
  return stamp(effects, eventId);
}

function endWithoutRoom(state: ClusterState, now: number, effects: EffectBody[]): void {
  if (!state.hasUnfit) return;
  for (const { execution, program, failure } of withoutRoom(state, now)) {
    for (const effect of failExecution(state, execution, failure)) effects.push(effect);
    forgetUnfit(state, program);
  }
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
    if (member.pingAtMs < at) at = member.pingAtMs;
    const silentMs = member.status === 'active' ? QUIET_MS : LIMITS.heartbeatTimeoutMs;
    if (member.lastHeardMs + silentMs < at) at = member.lastHeardMs + silentMs;
    if (member.leases.size > 0 || member.isTried) {
      const stallAtMs = member.progressAtMs + patienceMs(member);
      if (stallAtMs < at) at = stallAtMs;
    }
    const freeAtMs = releaseAtMs(state, member);
    if (freeAtMs !== null && freeAtMs < at) at = freeAtMs;
  }
  if (state.lateAtMs !== null) at = Math.min(at, state.lateAtMs);
  if (state.starvedSinceMs !== null && !state.starvedTold) {
    at = Math.min(at, state.starvedSinceMs + ENGINE_LIMITS.noWorkerNoticeMs);
  }
  return Number.isFinite(at) ? at : null;
}

/**
 * A sign of life that changes nothing work waits for: granting would end as it did before. They are most of all events, and
 * what hangs on time alone is looked at with the next tick.
 */
const NO_CHANGE: EffectBody[] = [];

const HANDLERS: Handlers = {
  joined: (state, event, now) => join(state, event, now),

  left: (state, event, now) => {
    if (!event.isOrderly) return failMember(state, event.worker, now);
    removeMember(state, event.worker);
    return [];
  },

  heard: (state, event, now) => {
    const member = state.members.get(event.worker);
    if (member === undefined) return NO_CHANGE;
    const isBack = hear(state, member, now);
    if (event.latencyUs !== null) member.latencyUs = event.latencyUs;
    return isBack ? [] : NO_CHANGE;
  },

  submitted: (state, event, now) => {
    submit(state, event.spec, now);
    return [];
  },

  done: (state, event, now) => {
    const member = state.members.get(event.worker);
    if (member !== undefined) hear(state, member, now);
    const effects: EffectBody[] = [];
    let index = 0;
    for (const result of event.results) {
      for (const effect of takeResult(state, event.worker, result, index, now)) {
        effects.push(effect);
      }
      index++;
    }
    return effects;
  },

  credit: (state, event, now) => {
    const member = state.members.get(event.worker);
    if (member === undefined) return NO_CHANGE;
    const isBack = hear(state, member, now);
    const hasRoom = event.inFlightBytes < member.inFlightBytes;
    member.inFlightBytes = event.inFlightBytes;
    const isWaiting = state.queuedUnits > 0 || state.audits.size > 0;
    return isBack || (hasRoom && isWaiting) ? [] : NO_CHANGE;
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
      return [{ kind: 'expel', worker, reason }, ...failMember(state, worker, now)];
    }
    const resources = event.resources.filter((id) => member.held.has(id));
    return resources.length === 0 ? [] : [{ kind: 'provide', worker: member.id, resources }];
  },

  making: (state, event) => {
    const member = state.members.get(event.worker);
    if (member === undefined) return NO_CHANGE;
    for (const resource of event.resources) hold(member, resource);
    return [];
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
    for (const id of event.resources) state.unitTimes.delete(id);
    for (const member of state.members.values()) {
      const resources = event.resources.filter((id) => release(member, id));
      for (const id of event.resources) {
        member.unitUs.delete(id);
        member.unfit.delete(id);
      }
      if (resources.length > 0) effects.push({ kind: 'drop', worker: member.id, resources });
    }
    return effects;
  },

  drain: (state, event) => {
    const member = state.members.get(event.worker);
    if (member === undefined || !memberTakes(member.status, 'drain')) return [];
    moveMember(state.trace, member, 'drain');
    member.isTried = false;
    return drainedEffect(member);
  },

  pause: (state, event) => {
    standingOf(state, event.worker).isPaused = true;
    const member = state.members.get(event.worker);
    return member === undefined ? [] : pauseMember(state, member);
  },

  resume: (state, event, now) => {
    standingOf(state, event.worker).isPaused = false;
    const member = state.members.get(event.worker);
    if (member === undefined || !memberTakes(member.status, 'resume')) return [];
    moveMember(state.trace, member, 'resume');
    settle(state, member, now);
    return [];
  },

  ban: (state, event) => {
    const standing = standingOf(state, event.worker);
    if (standing.status !== 'banned') moveStanding(state.trace, standing, 'ban');
    if (event.isCaught === true) state.caught.add(event.worker);
    if (typeof event.wallet === 'string') banWallet(state, event.wallet, event.worker);
    if (!state.members.has(event.worker)) return [];
    removeMember(state, event.worker);
    return [{ kind: 'expel', worker: event.worker, reason: BANNED }];
  },

  unban: (state, event) => {
    const standing = standingOf(state, event.worker);
    if (standing.status === 'banned') moveStanding(state.trace, standing, 'unban');
    state.caught.delete(event.worker);
    for (const [wallet, worker] of state.bannedWallets) {
      if (worker === event.worker) state.bannedWallets.delete(wallet);
    }
    return [];
  },

  mixClasses: (state, event) => {
    state.mixesClasses = event.isAllowed;
    return [];
  },

  tick: (state, _event, now) => {
    const effects: EffectBody[] = [];
    // Those that are found gone leave on the way; nobody joins.
    for (const member of state.members.values()) watchMember(state, member, now, effects);
    return effects;
  },
};

function submit(state: ClusterState, spec: ExecutionSpec, now: number): void {
  const units = spec.units.map((unit, shard): Unit => ({
    id: state.nextUnitId++ as UnitId,
    shard,
    spec: unit,
    status: 'queued',
    lease: null,
    backup: null,
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
    run: spec.audit === undefined ? spec.run : null,
    pin: null,
  };
  state.executions.set(spec.id, execution);
  if (spec.audit === undefined) state.queuedUnits += units.length;
  else state.audits.add(execution);
}

/** Says once when work has waited too long for anybody to do it, and when that is over; a worker in quarantine is better than none. */
function watchStarvation(state: ClusterState, now: number, effects: EffectBody[]): void {
  const waiting = firstWaiting(state);
  if (waiting === null || hasWorkerFor(state, waiting)) {
    if (state.starvedTold) effects.push({ kind: 'relieved' });
    state.starvedSinceMs = null;
    state.starvedTold = false;
    return;
  }
  state.starvedSinceMs ??= now;
  if (releaseFirst(state, waiting, now)) {
    dispatch(state, now, effects);
    return;
  }
  if (state.starvedTold || now - state.starvedSinceMs < ENGINE_LIMITS.noWorkerNoticeMs) return;
  state.starvedTold = true;
  const isSomebodyHere = [...state.members.values()].some(({ status }) => memberWorks(status));
  const bitClass = isSomebodyHere ? classOf(state, waiting) : null;
  effects.push({ kind: 'starved', sinceMs: state.starvedSinceMs, bitClass });
}

function firstWaiting(state: ClusterState): Execution | null {
  if (state.queuedUnits === 0) return null;
  for (const execution of state.executions.values()) {
    const { status, queue, spec } = execution;
    if (status === 'running' && queue.length > 0 && spec.audit === undefined) return execution;
  }
  return null;
}

function hasWorkerFor(state: ClusterState, execution: Execution): boolean {
  for (const member of state.members.values()) {
    if (memberWorks(member.status) && admits(state, execution, member)) return true;
  }
  return false;
}

/** Ends the quarantine that ends first, of a worker that the execution takes; false when there is none. */
function releaseFirst(state: ClusterState, execution: Execution, now: number): boolean {
  const waiting = [...state.members.values()].filter(
    (member) => member.status === 'quarantined' && admits(state, execution, member),
  );
  const untilOf = (id: WorkerId) => standingOf(state, id).untilMs;
  waiting.sort((a, b) => untilOf(a.id) - untilOf(b.id) || a.seq - b.seq);
  const [first] = waiting;
  if (first !== undefined) releaseMember(state, first, now);
  return first !== undefined;
}
