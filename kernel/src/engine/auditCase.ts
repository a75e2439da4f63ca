/** @file What an audit consists of and what it is given; no behaviour but to read it. */
import type { ExecutionId, LeaseId, WorkerId } from '@ravenlab/protocol';
import type { ClusterEvent } from '../core/cluster/events.js';
import type { AuditRule, ClusterState } from '../core/cluster/state.js';
import type { RequestPoint } from '../core/journal/paidBook.js';
import type { Answer, Judgement } from '../core/verify/auditBook.js';
import type { AuditedPlan } from './auditedPlan.js';
import { auditKey } from './auditedPlan.js';
import type { Collector, Reducers } from './collector.js';
import type { SharedHeap } from './heap.js';
import type { Kept, Said } from './keptAnswers.js';
import type { BoundPlan } from './planView.js';
import type { Revision } from './states.js';
import type { UnitChecks } from './unitChecks.js';

/** What the runner knows of an execution. */
export interface AuditedExecution {
  readonly point: RequestPoint;
  readonly isEffect: boolean;
  readonly bound: BoundPlan;
  readonly collector: Collector;
}

export interface Caught {
  readonly worker: WorkerId;
  readonly answer: Answer;
  /** In words: how it is known. */
  readonly why: string;
  /** Weights may have been made of what it did. */
  readonly isBuiltOn: boolean;
}

export interface AuditorOptions {
  readonly cluster: ClusterState;
  readonly heap: SharedHeap;
  readonly reducers: Reducers;
  readonly checks: Pick<UnitChecks, 'prepare' | 'recompute'>;
  readonly feed: (event: ClusterEvent) => void;
  readonly beforeSubmit: () => void;
  readonly nextExecution: () => ExecutionId;
  readonly executionOf: (execution: number) => AuditedExecution | null;
  readonly pin: (revision: Revision) => () => void;
  readonly paidOf: (point: RequestPoint) => ReadonlySet<number>;
  /** Uniform in [0, 1), unforeseeable. */
  readonly random: () => number;
  /** Integer ms that never go back. */
  readonly now: () => number;
  /** The run cannot be relied on from this request on; null: it can, as a whole. */
  readonly onHeld: (from: RequestPoint | null) => void;
  /** An audit has ended: what waited for the data that it read may go on. */
  readonly onEnded: () => void;
  readonly onJudged: (judgements: readonly Judgement[]) => void;
  readonly onCaught: (caught: Caught) => void;
  readonly onUnverified: (worker: WorkerId) => void;
  /** Nobody can tell whether it is right: it gets no more work, and what it did is done again. */
  readonly onWithheld: (withheld: Caught) => void;
}

/** Somebody else's result of the same, and the units that it did for it; null for the user's own worker. */
export interface Rival {
  readonly said: Said;
  readonly work: Answer | null;
}

export interface Audit {
  readonly kept: Kept;
  readonly plan: AuditedPlan;
  readonly collector: Collector;
  readonly rule: AuditRule;
  /** All of other results than the answer and than one another. */
  readonly rivals: readonly Rival[];
  readonly attempt: number;
  readonly failures: number;
  readonly sinceMs: number;
  auditor: WorkerId | null;
  leases: LeaseId[];
}

export type Before = Pick<Audit, 'rivals' | 'attempt' | 'failures' | 'sinceMs'>;

/** Of the units of an answer. */
export function flopsOf({ bound, answer }: Kept): number {
  const program = bound.plan.shards[answer.shard]?.program ?? -1;
  return answer.count * (bound.spec.programs[program]?.flops ?? 0);
}

/** The units that a stranger did to repeat an answer, by the numbers that the journal has them under. */
export function workOf({ kept, attempt, auditor, leases }: Audit): Answer | null {
  if (auditor === null || leases.length === 0) return null;
  const { answer } = kept;
  const shard = auditKey(answer, attempt, 0);
  return { ...answer, seq: 0, worker: auditor, isEffect: false, shard, leases };
}
