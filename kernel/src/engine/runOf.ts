/** @file A grant of the scheduler as a worker is told it: which program, which inputs, which outputs are sums. */
import type { RunInput, SumForm } from '@ravenlab/protocol';
import { ClusterError } from '@ravenlab/protocol';
import type { GrantedLease } from '../core/cluster/events.js';
import type { ResourceId } from '../core/cluster/state.js';
import type { BoundPlan } from './planView.js';
import { runInputs } from './planView.js';

type Groups = readonly (readonly GrantedLease[])[];

/** Grants of a slice of a plan with the shards' own numbers. */
export function fromShard(groups: Groups, first: number): Groups {
  return groups.map((group) => group.map(({ lease, shard }) => ({ lease, shard: first + shard })));
}

/** @throws ClusterError when the plan has no such program: a mistake of the caller. */
export function runOf(
  bound: BoundPlan,
  execution: number,
  program: number,
  groups: Groups,
): {
  readonly execution: number;
  readonly program: ResourceId;
  readonly inputs: readonly RunInput[];
  readonly groups: Groups;
  readonly sums: readonly SumForm[];
} {
  const resource = bound.programs[program]?.resource.id;
  if (resource === undefined) throw new ClusterError(`a plan has no program ${String(program)}`);
  const shards = groups.flatMap((group) => group.map(({ shard }) => shard));
  const { sums } = bound;
  return { execution, program: resource, inputs: runInputs(bound, shards), groups, sums };
}
