/** @file The updates of one execution: a place for each, and the batch that the reduce threads carry out. Commits nothing. */
import type {
  ClipRule,
  ExecutionPlan,
  StateUpdate,
  UpdateBatch,
  UpdateJob,
} from '@ravenlab/protocol';
import { byteSizeOf, sizeOf } from '@ravenlab/protocol';
import type { Collector } from './collector.js';
import type { Block, SharedHeap } from './heap.js';
import type { Draft, StateStore } from './states.js';

interface Memory {
  readonly heap: SharedHeap;
  readonly states: StateStore;
}

/** A place for each update, in order. @throws RavenError when there is no room. */
export function draftsOf({ updates }: ExecutionPlan, states: StateStore): Draft[] {
  const drafts: Draft[] = [];
  try {
    for (const { stateId, rule, optimizerId } of updates) {
      drafts.push(states.draft(stateId, rule, optimizerId));
    }
  } catch (error) {
    states.discard(drafts);
    throw error;
  }
  return drafts;
}

/**
 * What is to be done with the results that were collected.
 * @param scratch gets blocks that the caller frees, whether or not this throws.
 * @throws RavenError when there is no room.
 */
export function updateBatchOf(
  plan: ExecutionPlan,
  { collector, drafts }: { readonly collector: Collector; readonly drafts: readonly Draft[] },
  memory: Memory,
  scratch: Block[],
): { readonly batch: UpdateBatch; readonly sizeBytes: number } {
  const updates = drafts.map((draft, index): UpdateJob => {
    const update = plan.updates[index] as StateUpdate;
    const value = addressOf(update, collector, memory, scratch);
    return jobOf(plan, update, { draft, value }, memory.states);
  });
  const clips = plan.clips.map(({ kind, max }): ClipRule => ({ kind, max }));
  const sizeBytes = updates.reduce((sum, job) => sum + job.sizeBytes, 0);
  return { batch: { clips, updates }, sizeBytes };
}

/** Where the gradient or value is; what is no sum is copied to the memory that the loops see. */
function addressOf(
  { stateId, output }: StateUpdate,
  collector: Collector,
  { heap, states }: Memory,
  scratch: Block[],
): number {
  const address = collector.sumAddress(output);
  if (address !== null) return address;
  const copy = heap.allocate(byteSizeOf(states.typeOf(stateId)));
  scratch.push(copy);
  heap.bytes(copy).set(collector.bytesOf(output));
  return copy.ptr;
}

function jobOf(
  { clips }: ExecutionPlan,
  { stateId, rule, optimizerId, output }: StateUpdate,
  { draft, value }: { readonly draft: Draft; readonly value: number },
  states: StateStore,
): UpdateJob {
  const type = states.typeOf(stateId);
  return {
    rule,
    stepsDone: draft.slots?.stepsDone ?? 0,
    dst: draft.block.ptr,
    state: states.latest(stateId).block.ptr,
    value,
    slots: draft.slots?.blocks.map((block) => block.ptr) ?? [],
    elements: sizeOf(type.shape),
    isFloat: type.dtype === 'float32',
    sizeBytes: byteSizeOf(type),
    clip: clips.findIndex((clip) => clip.optimizerId === optimizerId),
    output,
  };
}
