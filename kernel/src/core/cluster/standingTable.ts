/**
 * @file What the cluster thinks of a worker, by its id and over all its incarnations. The literal table, and the only code
 * that assigns a standing's status.
 */
import type { Table, Trace } from './transition.js';
import { nextStatus } from './transition.js';

/** good: may work · quarantined: failed too often, waits out a back-off · banned: by the user, may not join. */
export const STANDING_STATUSES = ['good', 'quarantined', 'banned'] as const;
export type StandingStatus = (typeof STANDING_STATUSES)[number];
/** flap: one failure too many within the window · release: the back-off is over. */
export type StandingCause = 'flap' | 'release' | 'ban' | 'unban';

export const STANDING_TABLE = {
  good: { flap: 'quarantined', ban: 'banned' },
  quarantined: { flap: 'quarantined', release: 'good', ban: 'banned' },
  banned: { unban: 'good' },
} as const satisfies Record<StandingStatus, Partial<Record<StandingCause, StandingStatus>>>;

export interface HasStandingStatus {
  readonly worker: string;
  status: StandingStatus;
}

export function moveStanding(
  trace: Trace,
  standing: HasStandingStatus,
  cause: StandingCause,
): void {
  const table: Table<StandingStatus, StandingCause> = STANDING_TABLE;
  standing.status = nextStatus(trace, 'standing', table, standing.status, cause, standing.worker);
}
