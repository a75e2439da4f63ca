/** @file A lease as its worker sees it. The literal table, and the only code that assigns its status. */

/**
 * waiting: something it needs has not arrived · queued: on the compute thread · answered: its result is on the way ·
 * dropped: nobody waits for it any more.
 */
export const LEASE_STATUSES = ['waiting', 'queued', 'answered', 'dropped'] as const;
export type LeaseStatus = (typeof LEASE_STATUSES)[number];
/** supply: all it needs is here · refuse: it cannot run here · finish: computed · cancel: by the engine or a lost connection · crash: the compute thread died. */
export type LeaseCause = 'supply' | 'refuse' | 'finish' | 'cancel' | 'crash';

export const LEASE_TABLE = {
  waiting: { supply: 'queued', refuse: 'answered', cancel: 'dropped', crash: 'answered' },
  queued: { refuse: 'answered', finish: 'answered', cancel: 'dropped', crash: 'answered' },
  answered: {},
  dropped: {},
} as const satisfies Record<LeaseStatus, Partial<Record<LeaseCause, LeaseStatus>>>;

export interface HasLeaseStatus {
  readonly lease: number;
  status: LeaseStatus;
}

/** @throws Error when the table has no such transition: our own mistake. */
export function moveLease(unit: HasLeaseStatus, cause: LeaseCause): void {
  const row: Readonly<Partial<Record<LeaseCause, LeaseStatus>>> = LEASE_TABLE[unit.status];
  const next = row[cause];
  if (next === undefined) {
    throw new Error(`lease ${unit.lease}: ${cause} is not possible when ${unit.status}`);
  }
  unit.status = next;
}
