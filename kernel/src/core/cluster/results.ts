/** @file What an answer does: a unit taken and paid once, tried elsewhere, or the end of its execution. */
import type { LeaseId, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { acceptsFrom, commitClass } from './classes.js';
import type { EffectBody, UnitResult } from './events.js';
import { moveExecution } from './executionTable.js';
import { moveLease } from './leaseTable.js';
import { isShortOfMemory, noteUnfit } from './fitness.js';
import { closeLease, leaveUnit } from './leases.js';
import { memberTakes, moveMember, takersOf } from './memberTable.js';
import { drainedEffect, stallMember } from './members.js';
import { prove } from './standing.js';
import type { ClusterState, Execution, Failure, Lease, Member, ResourceId, Unit } from './state.js';
import { elapsedUs, oldestLease } from './state.js';
import { UnitTimes } from './unitTimes.js';
import { moveUnit } from './unitTable.js';

const PROGRESSING = takersOf('progress');
const NO_LEASES: readonly LeaseId[] = [];

/** Takes one answer of a worker; it counts by its lease alone. */
export function takeResult(
  state: ClusterState,
  worker: WorkerId,
  result: UnitResult,
  index: number,
  now: number,
): EffectBody[] {
  const member = state.members.get(worker);
  if (member !== undefined) showProgress(state, member, result);
  const lease = state.leases.get(result.lease);
  if (member === undefined || lease?.worker !== worker) {
    state.counters.staleResults++;
    return [];
  }
  member.progressAtMs = now;
  member.needsInARow = 0;
  member.outrunInARow = 0;
  if (result.status !== 'ok') return refuseUnit(state, member, lease, result, now);
  const { leases } = lease.group;
  // The answer of a group counts as long as all of it is granted, and only with its first lease.
  const isWhole = leases[0] === lease && isGranted(leases);
  if (!isWhole) return refuseUnit(state, member, lease, { ...result, status: 'cancelled' }, now);
  if (lease.execution.spec.audit === undefined && !acceptsFrom(state, lease.execution, member)) {
    return leases.flatMap((each) =>
      refuseUnit(state, member, each, { ...result, status: 'cancelled' }, now),
    );
  }
  return acceptGroup(state, member, leases, { computeUs: result.computeUs, index, now });
}

function isGranted(leases: readonly Lease[]): boolean {
  for (const { status } of leases) if (status !== 'granted') return false;
  return true;
}

/** Even an answer that nobody waits for shows that its worker works. */
function showProgress(state: ClusterState, member: Member, result: UnitResult): void {
  member.isTried = false;
  if (PROGRESSING.has(member.status)) moveMember(state.trace, member, 'progress');
  if (result.status === 'ok') prove(state, member);
}

function acceptGroup(
  state: ClusterState,
  member: Member,
  leases: readonly Lease[],
  answer: { readonly computeUs: number; readonly index: number; readonly now: number },
): EffectBody[] {
  const [first] = leases;
  if (first === undefined) return [];
  const { execution, unit } = first;
  const { computeUs, index, now } = answer;
  const count = leases.length;
  if (execution.spec.audit === undefined) commitClass(state, execution, member);
  const rivals: Lease[] = [];
  for (const lease of leases) {
    const rival = rivalOf(lease);
    if (rival !== null) rivals.push(rival);
  }
  if (rivals.length > 0 && unit.backup === first) state.counters.backupsWon += count;
  const effects: EffectBody[] = [];
  for (const lease of leases) acceptUnit(state, member, { lease, index }, effects);
  const program = execution.spec.programs[unit.spec.program];
  if (program !== undefined) {
    learnUnitUs(state, member, program.resource.id, computeUs / count);
    if (member.unfit.size > 0) member.unfit.delete(program.resource.id);
  }
  const { id } = execution;
  const worker = member.id;
  const { shard } = unit;
  const named = member.isTrusted ? NO_LEASES : leases.map((lease) => lease.id);
  // Written out: an object put together by spreading takes some microseconds, and this is made for every answer.
  effects.push({ kind: 'accept', worker, execution: id, shard, count, index, leases: named });
  if (rivals.length > 0) effects.push(...outrun(state, rivals, now));
  if (member.status === 'draining') effects.push(...drainedEffect(member));
  if (execution.unitsLeft === 0) {
    moveExecution(state.trace, execution, 'allIn');
    if (execution.spec.audit === undefined) relaxEstimates(state, execution);
    effects.push({ kind: 'complete', execution: execution.id, workers: execution.workers.size });
  }
  return effects;
}

/** The other lease of the same unit. */
function rivalOf(lease: Lease): Lease | null {
  const { unit } = lease;
  return unit.lease === lease ? unit.backup : unit.lease;
}

/**
 * Ends the leases of a group whose units somebody else was first with. What it would have taken is not known, but no less
 * than what has passed: without that, a worker that is always outrun would be taken for as fast as it was before.
 */
function outrun(state: ClusterState, leases: readonly Lease[], now: number): EffectBody[] {
  const [first] = leases;
  const member = first === undefined ? undefined : state.members.get(first.worker);
  if (first === undefined || member === undefined) return [];
  const oldest = oldestLease(member);
  const elapsed = elapsedUs(member, now);
  const isTrial = member.status === 'probation';
  for (const lease of leases) {
    moveLease(state.trace, lease, 'outrun');
    closeLease(state, lease);
    state.ledger.void(lease.id);
  }
  // What a newcomer is tried with takes long for other reasons: it compiles and fetches first.
  if (oldest === first && !isTrial) {
    const program = first.execution.spec.programs[first.unit.spec.program]?.resource.id;
    const atLeastUs = Math.trunc(elapsed / leases.length);
    const known = program === undefined ? 0 : (member.unitUs.get(program) ?? 0);
    if (program !== undefined && atLeastUs > known) member.unitUs.set(program, atLeastUs);
    member.progressAtMs = now;
    member.outrunInARow++;
  }
  // What it is tried with it may finish: that is the proof.
  const revoke: EffectBody[] = isTrial
    ? []
    : [{ kind: 'revoke', worker: member.id, leases: leases.map(({ id }) => id) }];
  const hasStalled =
    member.outrunInARow >= ENGINE_LIMITS.outrunInARow && memberTakes(member.status, 'stall');
  if (!isTrial && hasStalled) return [...revoke, ...stallMember(state, member, now)];
  return [...revoke, ...drainedEffect(member)];
}

function acceptUnit(
  state: ClusterState,
  member: Member,
  { lease, index }: { readonly lease: Lease; readonly index: number },
  effects: EffectBody[],
): void {
  const { execution, unit } = lease;
  moveLease(state.trace, lease, 'settle');
  closeLease(state, lease);
  moveUnit(state.trace, unit, 'accept');
  unit.lease = null;
  unit.backup = null;
  member.unitsDone++;
  member.samplesDone += unit.spec.samples;
  state.counters.unitsDone++;
  execution.unitsLeft--;
  const { shard } = unit;
  if (execution.spec.paidShards?.has(shard) === true) {
    state.ledger.repeat(lease.id);
    return;
  }
  const { program } = unit.spec;
  const flops = execution.spec.programs[program]?.flops ?? 0;
  const entry = state.ledger.post(lease.id, flops);
  effects.push({ kind: 'meter', entry, execution: execution.id, shard, program, index });
}

/**
 * Who got nothing of an execution is expected to be a little nearer to the others next time: one slow answer must not keep
 * a worker out for good, and only a unit can show that it is fast again.
 */
function relaxEstimates(state: ClusterState, execution: Execution): void {
  for (const { resource } of execution.spec.programs) {
    const usualUs = state.unitTimes.get(resource.id)?.p95Us ?? null;
    if (usualUs === null) continue;
    for (const member of state.members.values()) {
      const known = member.unitUs.get(resource.id) ?? 0;
      if (known <= usualUs || execution.workers.has(member.id)) continue;
      member.unitUs.set(resource.id, Math.trunc((known * 7 + usualUs) / 8));
    }
  }
}

/** Running mean with weight 1/4: follows a machine that slows down within a few units, ignores one hiccup. */
function learnUnitUs(
  state: ClusterState,
  member: Member,
  program: ResourceId,
  computeUs: number,
): void {
  const sample = Math.max(1, Math.trunc(computeUs));
  let times = state.unitTimes.get(program);
  if (times === undefined) {
    times = new UnitTimes();
    state.unitTimes.set(program, times);
  }
  times.add(sample);
  const known = member.unitUs.get(program);
  member.unitUs.set(program, known === undefined ? sample : Math.trunc((known * 3 + sample) / 4));
}

function refuseUnit(
  state: ClusterState,
  member: Member,
  lease: Lease,
  result: UnitResult,
  now: number,
): EffectBody[] {
  const { execution, unit } = lease;
  moveLease(state.trace, lease, 'fail');
  closeLease(state, lease);
  state.ledger.void(lease.id);
  leaveUnit(state, lease);
  const drained = drainedEffect(member);
  if (result.status === 'cancelled') return drained;
  member.unitsFailed++;
  state.counters.unitsFailed++;
  const program = execution.spec.programs[unit.spec.program]?.resource.id;
  if (program !== undefined && execution.spec.audit === undefined && isShortOfMemory(result)) {
    // No fault of the unit: whoever has the memory does it. When that is nobody, the machine ends the execution.
    noteUnfit(state, member, program, { message: result.error?.message ?? '', now });
    return drained;
  }
  unit.attempts++;
  unit.refusedBy ??= new Set();
  unit.refusedBy.add(member.id);
  const failure = failureOf(state, member, unit, result);
  return failure === null ? drained : [...drained, ...failExecution(state, execution, failure)];
}

/** Whether this answer ends the execution: a value that is not finite does, an error when it has been tried enough. */
function failureOf(
  state: ClusterState,
  member: Member,
  unit: Unit,
  result: UnitResult,
): Failure | null {
  const { shard } = unit;
  if (result.status === 'nonFinite' && isBelieved(state, member, unit)) {
    const message = `output ${String(result.output)} of micro-shard ${String(shard)} is NaN or infinite`;
    return { code: 'numeric', message, shard, output: result.output };
  }
  // Somebody else has it and may do better.
  if (unit.lease !== null) return null;
  const isHopeless =
    result.error?.retryable === false && (unit.refusedBy?.size ?? 0) >= state.members.size;
  if (unit.attempts < ENGINE_LIMITS.unitAttempts && !isHopeless) return null;
  const code = result.error?.code ?? 'cluster';
  const message = result.error?.message ?? 'the worker gave no reason';
  return { code, message, shard, output: -1 };
}

/** A stranger could stop a run with one word: what it says is not finite has to be so elsewhere, if there is an elsewhere. */
function isBelieved(state: ClusterState, member: Member, { refusedBy }: Unit): boolean {
  return member.isTrusted || (refusedBy?.size ?? 0) >= Math.min(2, state.members.size);
}

/** Ends an execution with an error. */
export function failExecution(
  state: ClusterState,
  execution: Execution,
  failure: Failure,
): EffectBody[] {
  moveExecution(state.trace, execution, 'fail');
  const effects = endUnits(state, execution);
  effects.push({ kind: 'failed', execution: execution.id, failure });
  return effects;
}

/** The execution ends without a result: nobody works on it any more. */
export function endUnits(state: ClusterState, execution: Execution): EffectBody[] {
  const busy = new Set<WorkerId>();
  for (const unit of execution.units) {
    for (const lease of [unit.lease, unit.backup]) {
      if (lease === null) continue;
      busy.add(lease.worker);
      moveLease(state.trace, lease, 'cancel');
      closeLease(state, lease);
      state.ledger.void(lease.id);
    }
    unit.lease = null;
    unit.backup = null;
    if (unit.status === 'queued' && execution.spec.audit === undefined) state.queuedUnits--;
    if (unit.status !== 'done') moveUnit(state.trace, unit, 'drop');
  }
  forgetExecution(state, execution);
  return [...busy].flatMap((worker) => {
    const member = state.members.get(worker);
    const drained = member === undefined ? [] : drainedEffect(member);
    return [{ kind: 'revokeExecution', worker, execution: execution.id } as const, ...drained];
  });
}

export function forgetExecution(state: ClusterState, execution: Execution): void {
  state.executions.delete(execution.id);
  state.audits.delete(execution);
  state.ledger.forget(execution.units);
  for (const member of state.members.values()) member.ready.delete(execution.id);
}
