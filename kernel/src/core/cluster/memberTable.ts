/** @file Membership of a worker: the literal table, and the only code that assigns a member's status. */
import type { Table, Trace } from './transition.js';
import { nextStatus } from './transition.js';

/**
 * active: gets units · suspect: silent for a while, gets nothing new · stalled: leases ran out without a result ·
 * draining: ends what it has · gone: a record for the panel; a worker that comes back is a new member.
 */
export const MEMBER_STATUSES = ['active', 'suspect', 'stalled', 'draining', 'gone'] as const;
export type MemberStatus = (typeof MEMBER_STATUSES)[number];
export type MemberCause = 'quiet' | 'heard' | 'stall' | 'progress' | 'drain' | 'resume' | 'leave';

export const MEMBER_TABLE = {
  active: { quiet: 'suspect', stall: 'stalled', drain: 'draining', leave: 'gone' },
  suspect: { heard: 'active', stall: 'stalled', drain: 'draining', leave: 'gone' },
  stalled: { progress: 'active', drain: 'draining', leave: 'gone' },
  draining: { stall: 'draining', resume: 'active', leave: 'gone' },
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
