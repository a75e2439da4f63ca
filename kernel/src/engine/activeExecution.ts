/** @file An execution from its first unit to its end, as the runner sees it. */
import type { ExecutionId, StateVersion } from '@ravenlab/protocol';
import type { Collector } from './collector.js';
import type { BoundPlan } from './planView.js';
import type { Draft } from './states.js';
import type { Ticket } from './ticket.js';

export interface ActiveExecution {
  readonly id: ExecutionId;
  readonly ticket: Ticket;
  readonly bound: BoundPlan;
  readonly collector: Collector;
  readonly releases: readonly (() => void)[];
  /** Shards of a repeated one that need not be paid, in this life and those before. */
  readonly paid: Set<number>;
  /** Times that workers made a repeated one fail. */
  readonly refusals: number;
  workers: number;
  /** Version that its commit made; null for an evaluation. */
  version: StateVersion | null;
  /** Of its updates, in order, once they have a place. */
  drafts: Draft[] | null;
}
