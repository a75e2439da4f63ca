/**
 * @file What a member would take for units, and who of several would be through with them first. A pass grants many units
 * in a row, and a grant changes one member: what is known of the others is kept, so that a unit costs a glance at each.
 */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { WorkerId } from '@ravenlab/protocol';
import { isUnfit } from './fitness.js';
import type { Fetch } from './residency.js';
import {
  commonMissingBytes,
  evictionsFor,
  missingFor,
  ownMissingBytes,
  ownResources,
} from './residency.js';
import type { Execution, Member, ResourceId, Unit } from './state.js';
import { elapsedUs } from './state.js';

export interface Choice {
  readonly member: Member;
  readonly fetch: Fetch;
  readonly evicted: readonly ResourceId[];
}

/** smaller: somebody has nothing to do, and would take fewer units. */
export type Bid = Choice | 'wait' | 'smaller';

/** Not looked up yet. */
const UNKNOWN = -1;

/** Those who may take units of an execution in one pass, and what each would take for units of one program. */
export class Bids {
  private readonly execution: Execution;
  private readonly now: number;
  /** Nobody joins or leaves meanwhile. */
  private readonly members: readonly Member[];
  /** Of all that may work on it, here or elsewhere: a unit that all of them refused goes to anybody. */
  private readonly admitted: number;
  private program = UNKNOWN;
  /** By member: expected time of a unit, and time until it is through with what it has. */
  private readonly unitUs: number[] = [];
  private readonly backlogsUs: number[] = [];
  /** What every unit of the program needs and the member lacks. */
  private readonly commonBytes: number[] = [];

  constructor(execution: Execution, members: readonly Member[], admitted: number, now: number) {
    this.execution = execution;
    this.members = members;
    this.admitted = admitted;
    this.now = now;
  }

  get isEmpty(): boolean {
    return this.members.length === 0;
  }

  /** The member to finish these units of one program first, or that it is better to wait for one that is busy. */
  choose(units: readonly Unit[]): Bid {
    const unit = units[0];
    if (unit === undefined || this.members.length === 0) return 'wait';
    if (this.program !== unit.spec.program) this.look(unit);
    const refusedBy = this.refusedBy(unit);
    const best = this.best(units, refusedBy, Infinity);
    if (best === null) return 'wait';
    const { choice, us, soonestUs } = best;
    if (us === soonestUs || us <= this.drainUs(refusedBy)) return choice;
    return choice.member.leases.size === 0 ? 'smaller' : 'wait';
  }

  /** The member to finish these units of one program first, within the time; null when nobody would. */
  fastest(units: readonly Unit[], withinUs: number): Choice | null {
    const unit = units[0];
    if (unit === undefined || this.members.length === 0) return null;
    if (this.program !== unit.spec.program) this.look(unit);
    return this.best(units, unit.refusedBy, withinUs)?.choice ?? null;
  }

  /** Of those with room, who is through first and within the time, and when the first of all would be, busy ones too. */
  private best(
    units: readonly Unit[],
    refusedBy: ReadonlySet<WorkerId> | null,
    withinUs: number,
  ): { readonly choice: Choice; readonly us: number; readonly soonestUs: number } | null {
    const count = units.length;
    if (!this.isRoomAnywhere(count, refusedBy)) return null;
    const own = ownResources(this.execution, units);
    let found: { readonly member: Member; readonly evicted: readonly ResourceId[] } | null = null;
    let us = withinUs;
    let soonestUs = Infinity;
    // By index here and below: this is what a pass consists of.
    for (let at = 0; at < this.members.length; at++) {
      const member = this.members[at];
      if (member === undefined || refusedBy?.has(member.id) === true) continue;
      const isRoomy = hasRoom(member, this.unitUs[at] ?? 0, count);
      const leastUs = this.finishUs(at, count, 0);
      // It would neither be chosen nor be the soonest, whatever it lacks of the units' own.
      if (leastUs >= (isRoomy ? us : soonestUs)) continue;
      const ownBytes = own.length === 0 ? 0 : ownMissingBytes(member, own);
      const finishUs = ownBytes === 0 ? leastUs : this.finishUs(at, count, ownBytes);
      if (finishUs < soonestUs) soonestUs = finishUs;
      if (!isRoomy || finishUs >= us) continue;
      const bytes = this.commonBytesOf(at) + ownBytes;
      const evicted = evictedFor(member, this.execution, units, bytes);
      if (evicted === null) continue;
      found = { member, evicted };
      us = finishUs;
    }
    if (found === null) return null;
    const { member, evicted } = found;
    const fetch = missingFor(member, this.execution, units);
    return { choice: { member, evicted, fetch }, us, soonestUs };
  }

  /** To be called after a grant to the member. */
  granted(member: Member): void {
    const at = this.members.indexOf(member);
    if (at >= 0 && this.program !== UNKNOWN) this.lookAt(at, member);
  }

  private look(unit: Unit): void {
    this.program = unit.spec.program;
    const program = this.execution.spec.programs[unit.spec.program]?.resource.id;
    for (let at = 0; at < this.members.length; at++) {
      const member = this.members[at];
      if (member === undefined) continue;
      // Who has not the memory would never be through with it.
      const isShort = isUnfit(member, program, this.now);
      this.unitUs[at] = isShort ? Infinity : expectedUs(member, this.execution, unit);
      this.lookAt(at, member);
    }
  }

  private lookAt(at: number, member: Member): void {
    this.backlogsUs[at] = backlogUs(member, this.now);
    this.commonBytes[at] = UNKNOWN;
  }

  /** Null when the unit may go to anybody: one that a member has refused goes to another one, as long as there is one. */
  private refusedBy({ refusedBy }: Unit): ReadonlySet<WorkerId> | null {
    return refusedBy === null || refusedBy.size >= this.admitted ? null : refusedBy;
  }

  /** As it is not after nearly every answer: whoever has room was given something before. */
  private isRoomAnywhere(count: number, refusedBy: ReadonlySet<WorkerId> | null): boolean {
    for (let at = 0; at < this.members.length; at++) {
      const member = this.members[at];
      if (member === undefined || refusedBy?.has(member.id) === true) continue;
      if (hasRoom(member, this.unitUs[at] ?? 0, count)) return true;
    }
    return false;
  }

  private commonBytesOf(at: number): number {
    const known = this.commonBytes[at] ?? UNKNOWN;
    const member = this.members[at];
    if (known !== UNKNOWN || member === undefined) return known;
    const bytes = commonMissingBytes(member, this.execution, this.program);
    this.commonBytes[at] = bytes;
    return bytes;
  }

  private finishUs(at: number, count: number, ownBytes: number): number {
    const transferUs = transferUsOf(this.commonBytesOf(at) + ownBytes);
    return (this.backlogsUs[at] ?? 0) + (this.unitUs[at] ?? 0) * count + transferUs;
  }

  /**
   * When all members together would be through with what they hold and what is queued, µs. A unit that a worker would
   * finish later than this holds up the step; it stays queued for a faster one.
   */
  private drainUs(refusedBy: ReadonlySet<WorkerId> | null): number {
    let unitsHeld = 0;
    let unitsPerMs = 0;
    for (let at = 0; at < this.members.length; at++) {
      const id = this.members[at]?.id;
      if (id === undefined || refusedBy?.has(id) === true) continue;
      const unitUs = Math.max(1, this.unitUs[at] ?? 0);
      unitsHeld += (this.backlogsUs[at] ?? 0) / unitUs;
      unitsPerMs += 1000 / unitUs;
    }
    return Math.ceil(((unitsHeld + this.execution.queue.length) * 1000) / unitsPerMs);
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

/** Time to send so much, µs. */
export function transferUsOf(bytes: number): number {
  return Math.ceil((bytes * 1000) / ENGINE_LIMITS.linkBytesPerMs);
}

/**
 * Whether a member may be given so many units that are answered together: enough that it never waits for the wire, so one such
 * group at least may wait behind another; any number when it has none, and none when it would never be through.
 */
function hasRoom(member: Member, unitUs: number, count: number): boolean {
  if (unitUs === Infinity) return false;
  const held = member.leases.size;
  if (held === 0) return true;
  const { leaseAheadUs, leasesAheadMin, leasesPerMember } = ENGINE_LIMITS;
  const wanted = Math.ceil((leaseAheadUs + 2 * member.latencyUs) / Math.max(1, unitUs));
  return held + count <= Math.min(leasesPerMember, Math.max(leasesAheadMin * count, wanted));
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
  if (!hasRoom(member, unitUs, units.length)) return null;
  return evictedFor(member, execution, units, fetch.missingBytes);
}

function evictedFor(
  member: Member,
  execution: Execution,
  units: readonly Unit[],
  missingBytes: number,
): readonly ResourceId[] | null {
  let bytes = missingBytes;
  for (const { spec } of units) bytes += spec.messageBytes;
  // A lone transfer may exceed the window: otherwise a tensor above it could never be sent.
  const fitsWindow =
    member.inFlightBytes === 0 || member.inFlightBytes + bytes <= member.windowBytes;
  return fitsWindow ? evictionsFor(member, missingBytes, execution, units) : null;
}
