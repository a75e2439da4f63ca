/** @file A unit of work: program × micro-shard. The literal table, and the only code that assigns its status. */
import type { Table, Trace } from './transition.js';
import { nextStatus } from './transition.js';

/**
 * queued: wants a worker · leased: has one · doubled: has two, and the first result wins · done: its result was taken,
 * once · dropped: its execution ended without it.
 */
export const UNIT_STATUSES_OF_ENGINE = ['queued', 'leased', 'doubled', 'done', 'dropped'] as const;
export type EngineUnitStatus = (typeof UNIT_STATUSES_OF_ENGINE)[number];
/** double: a backup lease · single: one of its two leases ended without a result. */
export type UnitCause = 'lease' | 'double' | 'single' | 'accept' | 'requeue' | 'drop';

export const UNIT_TABLE = {
  queued: { lease: 'leased', drop: 'dropped' },
  leased: { double: 'doubled', accept: 'done', requeue: 'queued', drop: 'dropped' },
  doubled: { single: 'leased', accept: 'done', drop: 'dropped' },
  done: {},
  dropped: {},
} as const satisfies Record<EngineUnitStatus, Partial<Record<UnitCause, EngineUnitStatus>>>;

export interface HasUnitStatus {
  readonly id: number;
  status: EngineUnitStatus;
}

export function moveUnit(trace: Trace, unit: HasUnitStatus, cause: UnitCause): void {
  const table: Table<EngineUnitStatus, UnitCause> = UNIT_TABLE;
  unit.status = nextStatus(trace, 'unit', table, unit.status, cause, unit.id);
}
