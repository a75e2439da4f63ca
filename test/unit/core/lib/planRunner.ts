/**
 * @file Executes a Plan on the float64 oracle the way an engine must: cut inputs, run each micro-shard, combine in
 * shard order. Slow and obvious; the judge of placement.
 */
import type { PlanInput, PlanOutput, StateId, StateVersion, TensorType } from '@ravenlab/protocol';
import { sizeOf } from '@ravenlab/protocol';
import type { Plan } from '../../../../kernel/src/core/plan/plan.js';
import { runReference } from '../../../../kernel/src/core/reference/runReference.js';

export interface Store {
  readonly state?: (id: StateId, version: StateVersion) => ArrayLike<number>;
  readonly data?: (id: number) => { readonly type: TensorType; readonly data: ArrayLike<number> };
}

/** Whole values of the plan's requested outputs. `order` is the order in which units finish; it must not matter. */
export function runPlan(
  plan: Plan,
  store: Store = {},
  order: readonly number[] = [...plan.shards.keys()],
): ArrayLike<number>[] {
  const results: (readonly ArrayLike<number>[])[] = [];
  for (const index of order) {
    const shard = plan.shards[index]!;
    const inputs = plan.inputs.map((input) =>
      materialize(input, store, shard.offset, shard.size, index),
    );
    results[index] = runReference(plan.programs[shard.program]!, inputs);
  }
  const combined = plan.outputs.map((output, k) =>
    combine(
      output,
      results.map((r) => r[k]!),
    ),
  );
  return plan.outputIndex.map((index) => combined[index]!);
}

function materialize(
  input: PlanInput,
  store: Store,
  offset: number,
  size: number,
  shard: number,
): ArrayLike<number> {
  switch (input.kind) {
    case 'state':
      return store.state!(input.stateId, input.version);
    case 'data':
      return store.data!(input.dataId).data;
    case 'rows': {
      const { type, data } = store.data!(input.dataId);
      const indices = input.sharded ? input.indices.subarray(offset, offset + size) : input.indices;
      const width = sizeOf(type.shape.slice(1));
      return [...indices].flatMap((row) =>
        Array.from({ length: width }, (_, k) => data[row * width + k]!),
      );
    }
    case 'inline':
      return input.shardAxis < 0
        ? input.data
        : sliceAxis(input.data, input.type.shape, input.shardAxis, offset, size);
    case 'key':
      return Int32Array.of(input.seedLow, input.seedHigh, input.step, shard);
  }
}

function sliceAxis(
  data: ArrayLike<number>,
  shape: readonly number[],
  axis: number,
  offset: number,
  size: number,
): number[] {
  const outer = sizeOf(shape.slice(0, axis));
  const extent = shape[axis]!;
  const inner = sizeOf(shape.slice(axis + 1));
  const out: number[] = [];
  for (let o = 0; o < outer; o++) {
    for (let i = offset * inner; i < (offset + size) * inner; i++) {
      out.push(data[o * extent * inner + i]!);
    }
  }
  return out;
}

function combine(output: PlanOutput, parts: readonly ArrayLike<number>[]): ArrayLike<number> {
  switch (output.combine) {
    case 'first':
      return parts[0]!;
    case 'sum':
      return treeSum(parts);
    case 'concat':
      return concatenate(parts, output);
  }
}

/** Fixed binary tree over the shard index: split at the largest power of two below n. */
function treeSum(parts: readonly ArrayLike<number>[]): ArrayLike<number> {
  if (parts.length === 1) return parts[0]!;
  let split = 1;
  while (split * 2 < parts.length) split *= 2;
  const left = treeSum(parts.slice(0, split));
  const right = treeSum(parts.slice(split));
  return Array.from(left, (value, i) => value + right[i]!);
}

function concatenate(
  parts: readonly ArrayLike<number>[],
  { type, axis }: PlanOutput,
): ArrayLike<number> {
  const outer = sizeOf(type.shape.slice(0, axis));
  const out: number[] = [];
  for (let o = 0; o < outer; o++) {
    for (const part of parts) {
      const width = part.length / outer;
      for (let i = 0; i < width; i++) out.push(part[o * width + i]!);
    }
  }
  return out;
}
