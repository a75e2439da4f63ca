/**
 * @file Who has too little memory for a program. A worker that says so gets no more units of it for a moment, and, when it says so
 * again, for a while; others do, to the same bits. Only when all that are here have said it twice does the execution fail, with 'limit':
 * whoever planned it may cut it smaller.
 */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { classOf } from './classes.js';
import type { ClusterState, Execution, Failure, Member, ResourceId } from './state.js';
import type { UnitResult } from './events.js';

export interface Unfitness {
  /** Times that it was tried and said so, in a row: once may be a moment's shortage. */
  readonly times: number;
  /** Memory may be free again then. */
  readonly untilMs: number;
  /** What the worker said. */
  readonly message: string;
}

const SURE = 2;

/** Whether an answer says that memory is short: whatever is wrong with the unit itself is no matter of the worker's. */
export function isShortOfMemory({ status, error }: UnitResult): boolean {
  return status === 'failed' && error?.code === 'limit' && error.retryable;
}

/** Remembers that a member has no room for a program. */
export function noteUnfit(
  state: ClusterState,
  member: Member,
  program: ResourceId,
  { message, now }: { readonly message: string; readonly now: number },
): void {
  const known = member.unfit.get(program);
  // What it had besides, and answers with it, is the same attempt.
  if (known !== undefined && now < known.untilMs) return;
  const times = Math.min(SURE, (known?.times ?? 0) + 1);
  const pauseMs = times < SURE ? ENGINE_LIMITS.unfitOnceMs : ENGINE_LIMITS.unfitMs;
  member.unfit.set(program, { times, untilMs: now + pauseMs, message });
  state.hasUnfit = true;
}

/** Whether a member gets no units of a program now. */
export function isUnfit({ unfit }: Member, program: ResourceId | undefined, now: number): boolean {
  if (unfit.size === 0 || program === undefined) return false;
  const found = unfit.get(program);
  return found !== undefined && now < found.untilMs;
}

/** What fails for want of memory is tried afresh when it is asked for again: somebody may have closed a browser meanwhile. */
export function forgetUnfit(state: ClusterState, program: ResourceId): void {
  for (const { unfit } of state.members.values()) unfit.delete(program);
}

/** An execution with units that nobody has the memory for. */
export interface WithoutRoom {
  readonly execution: Execution;
  readonly program: ResourceId;
  readonly failure: Failure;
}

/**
 * Executions with units that nobody has the memory for, and what to say of each. Somebody who is silent, stalled or in quarantine may
 * come back and have it; who is paused or leaves will not.
 */
export function withoutRoom(state: ClusterState, now: number): WithoutRoom[] {
  const members = [...state.members.values()];
  state.hasUnfit = members.some(({ unfit }) => unfit.size > 0);
  return [...state.executions.values()].flatMap((execution) => {
    const { status, queue, spec } = execution;
    if (status !== 'running' || queue.length === 0 || spec.audit !== undefined) return [];
    const bitClass = classOf(state, execution);
    const able = members.filter(
      (member) =>
        member.status !== 'paused' &&
        member.status !== 'draining' &&
        (bitClass === null || member.bitClass === bitClass),
    );
    return tooLargeFor(execution, able, now) ?? [];
  });
}

function tooLargeFor(
  execution: Execution,
  members: readonly Member[],
  now: number,
): WithoutRoom | null {
  const { queue, units, spec } = execution;
  const [first] = members;
  if (first === undefined) return null;
  for (const [index, { resource }] of spec.programs.entries()) {
    const isSure = ({ unfit }: Member): boolean => unfit.get(resource.id)?.times === SURE;
    if (!members.every((member) => isSure(member) && isUnfit(member, resource.id, now))) continue;
    const shard = queue.find((each) => units[each]?.spec.program === index);
    if (shard === undefined) continue;
    const said = first.unfit.get(resource.id)?.message ?? '';
    const who = members.length === 1 ? 'the worker here has not' : 'none of the workers here has';
    const message = `${who} the memory for a micro-shard of this size: ${said}`;
    const failure: Failure = { code: 'limit', message, shard, output: -1, retryable: true };
    return { execution, program: resource.id, failure };
  }
  return null;
}
