/** @file From graph nodes to one execution of the engine: planned, programs defined, versions named. It runs nothing. */
import type { ExecutionPlan, PlanInput, RavenError } from '@ravenlab/protocol';
import type { GraphNode } from '../core/graph/node.js';
import type { Plan } from '../core/plan/plan.js';
import { plan as planGraph } from '../core/plan/plan.js';
import type { Runtime } from './runtime.js';

export interface Execution {
  /** Without updates, clips and step: a pure evaluation until the caller adds them. */
  readonly plan: ExecutionPlan;
  readonly source: Plan;
  /** Output of the execution for each root, in order. */
  readonly outputOf: readonly number[];
  /** Rows of the batch. */
  readonly samples: number;
  /** Rows of a micro-shard that it was planned with. */
  readonly microShardRows: number;
  /** Why the batch is not cut into micro-shards, for the user. */
  readonly note: string | undefined;
  /** Whether a program had to be sent. */
  readonly isNew: boolean;
}

/** @param delivered how many of the first roots are returned in the reply; all by default */
export function planExecution(
  runtime: Runtime,
  roots: readonly GraphNode[],
  delivered = roots.length,
): Execution {
  runtime.collectGarbage();
  const { microShardRows } = runtime;
  const source = planGraph(roots, { microShard: microShardRows }, runtime.planMemory);
  const { hashes, isNew } = runtime.programs.define(
    source.programs,
    source.sources,
    (bytes) => runtime.session.sha256(bytes),
    (request) => runtime.session.request(request),
  );
  const wanted = new Set(source.outputIndex.slice(0, delivered));
  return {
    plan: {
      programs: hashes,
      inputs: source.inputs.map((input) => named(runtime, input)),
      outputs: source.outputs.map((output, index) => ({ ...output, deliver: wanted.has(index) })),
      shards: source.shards,
      updates: [],
      clips: [],
      wire: runtime.wire,
      aggregate: runtime.aggregate,
      step: null,
    },
    source,
    outputOf: source.outputIndex,
    samples: source.shards.reduce((rows, shard) => rows + shard.size, 0),
    microShardRows,
    note: source.note?.text,
    isNew,
  };
}

/** The input with the version that the engine is sure to have. @throws ClusterError when what it names is gone. */
function named(runtime: Runtime, input: PlanInput): PlanInput {
  if (input.kind === 'rows' || input.kind === 'data') runtime.requireHeld(input.dataId);
  if (input.kind !== 'state') return input;
  return { ...input, version: runtime.readableVersion(input.stateId, input.version) };
}

/**
 * The execution again, cut into smaller micro-shards, when it failed because nobody has the memory for one. What follows is cut so
 * too: the size decides the bits, so it changes for the session, is told, and is part of every bookmark from here on.
 * @param replan plans the same roots by the runtime's micro-shard
 * @returns null when that is not why it failed, or it cannot be cut smaller
 */
export function cutSmaller(
  runtime: Runtime,
  failed: Execution,
  error: RavenError,
  replan: () => Execution,
): Execution | null {
  if (error.code !== 'limit' || !error.retryable) return null;
  const before = largestShard(failed);
  const { microShardRows } = runtime;
  // Another execution may have failed for the same reason, and have been first.
  const rows = microShardRows < before ? microShardRows : Math.floor(before / 2);
  if (rows < 1) return null;
  runtime.microShardRows = rows;
  const smaller = replan();
  if (largestShard(smaller) >= before) {
    runtime.microShardRows = microShardRows;
    return null;
  }
  runtime.warnOnce(
    `ravenlab: nobody here has the memory for a micro-shard of ${String(before)} rows, so from here on they are of ${String(rows)}, which decides ` +
      `the bits of what follows; cluster.microShard = ${String(rows)} at the top gives the same from the start. ${error.message}`,
  );
  return smaller;
}

function largestShard({ plan }: Execution): number {
  return plan.shards.reduce((largest, { size }) => Math.max(largest, size), 0);
}
