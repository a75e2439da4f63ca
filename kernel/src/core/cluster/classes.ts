/**
 * @file Whose bits count: a run is pinned to the bit class of the worker whose unit it committed first, because two classes
 * round differently. Until then the class that brings the most speed is chosen. The user may mix classes instead; what was
 * mixed once is said to hold within tolerance only, for good.
 */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { memberWorks } from './memberTable.js';
import type { ClusterState, Execution, Member } from './state.js';

/** Which class a run takes results of. */
export interface ClassPin {
  bitClass: string;
  /** A result of the class is part of the run; before, the choice may still change. */
  isFirm: boolean;
  /** Results of another class are part of the run too. */
  isMixed: boolean;
}

function pinOf(state: ClusterState, execution: Execution): ClassPin | null {
  const { run } = execution;
  return run === null ? execution.pin : (state.pins.get(run) ?? null);
}

/** Sets the pin of a run, and of an engine that starts again with it. */
export function setPin(state: ClusterState, run: string, pin: ClassPin): void {
  state.pins.delete(run);
  state.pins.set(run, pin);
  const [oldest] = state.pins.keys();
  if (state.pins.size > ENGINE_LIMITS.runsPinned && oldest !== undefined) state.pins.delete(oldest);
}

/** The class that an execution takes now; null for any, or while nobody is here to choose among. */
export function classOf(state: ClusterState, execution: Execution): string | null {
  if (state.mixesClasses) return null;
  const pin = pinOf(state, execution);
  if (pin?.isFirm === true) return pin.bitClass;
  const strongest = strongestClass(state, pin?.bitClass ?? null);
  if (strongest === null) return pin?.bitClass ?? null;
  if (pin?.bitClass !== strongest) {
    keep(state, execution, { bitClass: strongest, isFirm: false, isMixed: false });
  }
  return strongest;
}

/** A unit of `member` is to become part of the execution: the pin is firm from now on. */
export function commitClass(state: ClusterState, execution: Execution, member: Member): void {
  const pin = pinOf(state, execution);
  const { bitClass } = member;
  if (pin?.isFirm !== true) keep(state, execution, { bitClass, isFirm: true, isMixed: false });
  else if (pin.bitClass !== bitClass) pin.isMixed = true;
}

/** Whether the execution takes results of this member. */
export function admits(state: ClusterState, execution: Execution, member: Member): boolean {
  const bitClass = classOf(state, execution);
  return bitClass === null || bitClass === member.bitClass;
}

/** Whether a result of this member may become part of the execution. One that was leased before the pin was firm may not. */
export function acceptsFrom(state: ClusterState, execution: Execution, member: Member): boolean {
  const pin = pinOf(state, execution);
  return state.mixesClasses || pin?.isFirm !== true || pin.bitClass === member.bitClass;
}

function keep(state: ClusterState, execution: Execution, pin: ClassPin): void {
  const { run } = execution;
  if (run === null) execution.pin = pin;
  else setPin(state, run, pin);
}

/** The class with the most GFLOP/s at work; the one chosen before as long as anybody of it is here. */
function strongestClass(state: ClusterState, chosen: string | null): string | null {
  const speeds = new Map<string, number>();
  for (const member of state.members.values()) {
    if (!memberWorks(member.status)) continue;
    if (member.bitClass === chosen) return chosen;
    speeds.set(member.bitClass, (speeds.get(member.bitClass) ?? 0) + Math.max(1, member.gflops));
  }
  let strongest: string | null = null;
  for (const [bitClass, speed] of speeds) {
    if (strongest === null || speed > (speeds.get(strongest) ?? 0)) strongest = bitClass;
  }
  return strongest;
}

export interface RunPromise {
  /** Null before the first result. */
  readonly bitClass: string | null;
  /** All results are of one class, and will be. */
  readonly isExact: boolean;
}

/** What may be promised of the bits of a run. */
export function promiseOf(state: ClusterState, run: string): RunPromise {
  const pin = state.pins.get(run);
  const isExact = pin?.isMixed !== true && !state.mixesClasses;
  return { bitClass: pin?.isFirm === true ? pin.bitClass : null, isExact };
}
