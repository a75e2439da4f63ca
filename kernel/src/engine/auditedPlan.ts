/** @file The part of an execution that one answer was about, as an execution of its own that gives the same bytes. */
import type { ExecutionId, PlanOutput } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { AuditRule, ExecutionSpec } from '../core/cluster/state.js';
import type { Answer } from '../core/verify/auditBook.js';
import type { Part } from '../core/verify/compare.js';
import type { Collector } from './collector.js';
import type { BoundPlan } from './planView.js';

export interface AuditedPlan {
  /** The plan that the answer was part of: what a RUN says comes from here, with the shards' own numbers. */
  readonly whole: BoundPlan;
  /** Its shards from the answer's first on, as a plan of their own: how results are put together. */
  readonly slice: BoundPlan;
  readonly firstShard: number;
}

export function auditedPlan(whole: BoundPlan, { shard, count }: Answer): AuditedPlan {
  const { plan, programs } = whole;
  const shards = plan.shards.slice(shard, shard + count);
  const types = programs[shards[0]?.program ?? -1]?.outputTypes ?? [];
  // Of what is concatenated it is the shard's own piece.
  const outputs = plan.outputs.map((output, index): PlanOutput => {
    const type = types[index];
    return output.combine === 'concat' && type !== undefined ? { ...output, type } : output;
  });
  // One answer is compared as it came.
  const slice = {
    ...whole,
    robust: null,
    plan: { ...plan, shards, outputs, updates: [], clips: [] },
  };
  return { whole, slice, firstShard: shard };
}

/** Nothing is counted as samples twice. */
export function auditSpec(
  id: ExecutionId,
  { whole, slice, firstShard }: AuditedPlan,
  audit: AuditRule,
): ExecutionSpec {
  const { programs, common, units } = whole.spec;
  const count = slice.plan.shards.length;
  const repeated = units.slice(firstShard, firstShard + count);
  return {
    ...{ id, run: null, programs, common, audit, isMergeable: true },
    units: repeated.map((unit) => ({ ...unit, samples: 0 })),
  };
}

/** What the answer of `shard` on is compared by: outputs that nobody reads of it are left out. */
export function isCompared({ combine }: PlanOutput, shard: number): boolean {
  return combine !== 'first' || shard === 0;
}

/** The result of an audit, in copies. */
export function partsOfAudit({ slice, firstShard }: AuditedPlan, collector: Collector): Part[] {
  return slice.plan.outputs.flatMap((output, index): Part[] =>
    isCompared(output, firstShard)
      ? [{ dtype: output.type.dtype, bytes: collector.bytesOf(index).slice() }]
      : [],
  );
}

/** Audits are work too, and paid: the journal knows their units by numbers above those of an execution's own. */
export function auditKey({ shard }: Answer, attempt: number, index: number): number {
  return (attempt + 1) * ENGINE_LIMITS.unitsPerExecution + shard + index;
}

/** Units of an audit that an earlier life of the engine has paid. */
export function paidAudits(
  paid: ReadonlySet<number>,
  answer: Answer,
  attempt: number,
): ReadonlySet<number> {
  const shards = new Set<number>();
  if (paid.size === 0) return shards;
  for (let index = 0; index < answer.count; index++) {
    if (paid.has(auditKey(answer, attempt, index))) shards.add(index);
  }
  return shards;
}
