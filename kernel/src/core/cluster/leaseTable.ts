/** @file A lease: timed right of one worker to one unit. The literal table, and the only code that assigns its status. */
import type { Table, Trace } from './transition.js';
import { nextStatus } from './transition.js';

/** granted: the worker has it · settled: its result was taken · failed: it answered without one · void: nobody waits for it. */
export const LEASE_STATUSES = ['granted', 'settled', 'failed', 'void'] as const;
export type LeaseStatus = (typeof LEASE_STATUSES)[number];
/** expire: time is up · revoke: its worker left or was told to stop · outrun: another lease of the unit was first · cancel: its execution ended. */
export type LeaseCause = 'settle' | 'fail' | 'expire' | 'revoke' | 'outrun' | 'cancel';

export const LEASE_TABLE = {
  granted: {
    settle: 'settled',
    fail: 'failed',
    expire: 'void',
    revoke: 'void',
    outrun: 'void',
    cancel: 'void',
  },
  settled: {},
  failed: {},
  void: {},
} as const satisfies Record<LeaseStatus, Partial<Record<LeaseCause, LeaseStatus>>>;

export interface HasLeaseStatus {
  readonly id: number;
  status: LeaseStatus;
}

export function moveLease(trace: Trace, lease: HasLeaseStatus, cause: LeaseCause): void {
  const table: Table<LeaseStatus, LeaseCause> = LEASE_TABLE;
  lease.status = nextStatus(trace, 'lease', table, lease.status, cause, lease.id);
}
