/** @file An execution of a plan: the literal table, and the only code that assigns its status. */
import type { Table, Trace } from './transition.js';
import { nextStatus } from './transition.js';

/**
 * running: units are out · reducing: all units are in, their sum and the update are being made · committed: its result
 * is the result · failed, cancelled: it never had any effect. A cancel that comes while reducing is too late: the
 * update may be half done, so it is finished, and the weights are those of a whole step either way.
 */
export const EXECUTION_STATUSES = [
  'running',
  'reducing',
  'committed',
  'failed',
  'cancelled',
] as const;
export type ExecutionStatus = (typeof EXECUTION_STATUSES)[number];
export type ExecutionCause = 'allIn' | 'commit' | 'fail' | 'cancel';

export const EXECUTION_TABLE = {
  running: { allIn: 'reducing', fail: 'failed', cancel: 'cancelled' },
  reducing: { commit: 'committed', fail: 'failed' },
  committed: {},
  failed: {},
  cancelled: {},
} as const satisfies Record<ExecutionStatus, Partial<Record<ExecutionCause, ExecutionStatus>>>;

export interface HasExecutionStatus {
  readonly id: number;
  status: ExecutionStatus;
}

export function moveExecution(
  trace: Trace,
  execution: HasExecutionStatus,
  cause: ExecutionCause,
): void {
  const table: Table<ExecutionStatus, ExecutionCause> = EXECUTION_TABLE;
  execution.status = nextStatus(trace, 'execution', table, execution.status, cause, execution.id);
}
