/** @file Membership of a worker: the literal table, and the only code that assigns a member's status. */
import type { Table, Trace } from './transition.js';
import { nextStatus } from './transition.js';

/**
 * probation: new here, gets one unit alone until it has answered one · active: gets units · suspect: silent for a while,
 * gets nothing new · stalled: leases ran out without a result · quarantined: came and went too often, waits · paused: by the
 * user, works on nothing · draining: ends what it has · gone: a record for the panel; a worker that comes back is a new
 * member.
 */
export const MEMBER_STATUSES = [
  'probation',
  'active',
  'suspect',
  'stalled',
  'quarantined',
  'paused',
  'draining',
  'gone',
] as const;
export type MemberStatus = (typeof MEMBER_STATUSES)[number];
/** prove: it answered a unit · release: a stall or a quarantine is over. */
export type MemberCause =
  | 'prove'
  | 'quiet'
  | 'heard'
  | 'stall'
  | 'progress'
  | 'quarantine'
  | 'release'
  | 'pause'
  | 'drain'
  | 'resume'
  | 'leave';

export const MEMBER_TABLE = {
  probation: {
    prove: 'active',
    stall: 'stalled',
    quarantine: 'quarantined',
    pause: 'paused',
    drain: 'draining',
    leave: 'gone',
  },
  active: {
    quiet: 'suspect',
    stall: 'stalled',
    pause: 'paused',
    drain: 'draining',
    leave: 'gone',
  },
  suspect: {
    heard: 'active',
    stall: 'stalled',
    pause: 'paused',
    drain: 'draining',
    leave: 'gone',
  },
  stalled: {
    progress: 'active',
    release: 'probation',
    pause: 'paused',
    drain: 'draining',
    leave: 'gone',
  },
  quarantined: { release: 'probation', pause: 'paused', drain: 'draining', leave: 'gone' },
  paused: { resume: 'probation', drain: 'draining', leave: 'gone' },
  draining: { stall: 'draining', resume: 'probation', pause: 'paused', leave: 'gone' },
  gone: {},
} as const satisfies Record<MemberStatus, Partial<Record<MemberCause, MemberStatus>>>;

export interface HasMemberStatus {
  readonly id: string;
  status: MemberStatus;
}

export function moveMember(trace: Trace, member: HasMemberStatus, cause: MemberCause): void {
  const table: Table<MemberStatus, MemberCause> = MEMBER_TABLE;
  member.status = nextStatus(trace, 'member', table, member.status, cause, member.id);
}

/** Whether the cause means anything to a member in this status; for events that a peer can send at any time. */
export function memberTakes(status: MemberStatus, cause: MemberCause): boolean {
  const table: Table<MemberStatus, MemberCause> = MEMBER_TABLE;
  return table[status][cause] !== undefined;
}

/** Statuses that a cause means anything to: for what is asked of every member with every event. */
export function takersOf(cause: MemberCause): ReadonlySet<MemberStatus> {
  return new Set(MEMBER_STATUSES.filter((status) => memberTakes(status, cause)));
}

/** Whether a member in this status may get units at all. */
export function memberWorks(status: MemberStatus): boolean {
  return status === 'active' || status === 'probation';
}
