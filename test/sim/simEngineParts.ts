/** @file What a simulated life of the engine is made of: its constants, and what it knows of requests. */
import type { ExecutionId, WorkerId } from '@ravenlab/protocol';
import type { ClusterEffect } from '../../kernel/src/core/cluster/events.js';
import type { ShardTree } from '../../kernel/src/core/cluster/shardTree.js';
import type { ExecutionSpec } from '../../kernel/src/core/cluster/state.js';
import type { RequestPoint } from '../../kernel/src/core/journal/paidBook.js';
import type { Canary } from './canaries.js';
import type { SimContext } from './context.js';
import type { SimRequest } from './requests.js';
import type { SimDisk } from './simDisk.js';
import type { Lie } from './simWorker.js';
import type { SimTrace } from './trace.js';

export const REDUCE_MS = 1;
export const GRACE_MS = 20;
export const DRAIN_MS = 1_000;
export const RUN = 'run';
export const RETRY_MS = 10;
export const UNIT_AMOUNT = 7n;
/** Ids that one life of an engine gives out: the next life begins above them. */
export const IDS_PER_LIFE = 1_000_000;

export interface Active {
  readonly id: ExecutionId;
  readonly point: RequestPoint;
  readonly request: Exclude<SimRequest, { kind: 'define' }>;
  readonly tree: ShardTree<{ sum: number }>;
  readonly spec: ExecutionSpec;
  readonly wire: number;
  readonly version: number;
  readonly weight: number;
  readonly dataId: number;
  /** Shards paid, in this life or an earlier one. */
  readonly paid: Set<number>;
}

export type Accept = Extract<ClusterEffect, { kind: 'accept' }>;

export interface Queued {
  readonly point: RequestPoint;
  readonly request: SimRequest;
}

export const NOTHING_PAID: ReadonlySet<number> = new Set();

export interface EngineOptions {
  readonly context: SimContext;
  readonly disk: SimDisk;
  readonly life: number;
  readonly canary: Canary | null;
  readonly trace: SimTrace;
  /** A step was committed. */
  readonly onCommitted: (
    version: number,
    step: { readonly salt: number; readonly weight: number; readonly point: RequestPoint },
  ) => void;
  /** An answer became part of an execution. */
  readonly onTaken: (answer: Lie) => void;
  /** A worker lied; what it did is to be done again. */
  readonly onCaught: (worker: WorkerId) => void;
  readonly onDied: () => void;
  readonly onClosed: () => void;
}
