/** @file The updates of one execution: a place for each, and the batch that the reduce threads carry out. Commits nothing. */
import type {
  ClipRule,
  ExecutionPlan,
  StateUpdate,
  UpdateBatch,
  UpdateJob,
  UpdateRule,
} from '@ravenlab/protocol';
import {
  ENGINE_LIMITS,
  NumericError,
  byteSizeOf,
  nextLossScale,
  readLossScale,
  sizeOf,
  slotCount,
} from '@ravenlab/protocol';
import type { Collector, Reducers } from './collector.js';
import type { Block, SharedHeap } from './heap.js';
import { isOptimizers } from './planView.js';
import type { Draft, StateStore } from './states.js';
import { floatsOf } from './tensorBytes.js';

interface Memory {
  readonly heap: SharedHeap;
  readonly states: StateStore;
}

/** What a step has made. */
interface Made {
  readonly collector: Collector;
  readonly drafts: readonly Draft[];
  /** Gets blocks that the caller frees, whether or not an update can be made. */
  readonly scratch: Block[];
}

/**
 * What of a plan is to be done after all: a step that overflowed its loss scale leaves the weights as they are, with all that
 * their optimizer remembers. Running statistics and the scale itself go on.
 */
export function settledPlan(plan: ExecutionPlan, collector: Collector): ExecutionPlan {
  const scaling = plan.updates.find(({ rule }) => rule.name === 'lossScale');
  if (scaling === undefined || !hasOverflowed(scaling, collector)) return plan;
  return { ...plan, updates: plan.updates.filter((update) => !isOptimizers(update)), clips: [] };
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

/** Whether all slots are there that its updates continue. */
export function haveSlots({ updates }: ExecutionPlan, states: StateStore): boolean {
  return updates.every(({ stateId, rule, optimizerId }) => {
    const count = states.slotsOf(stateId, optimizerId)?.blocks.length ?? 0;
    return rule.name === 'lossScale' || count === slotCount(rule);
  });
}

/**
 * What is to be done with the results that were collected.
 * @returns the batch, and where it belongs: what is small is done at once.
 * @throws RavenError when there is no room.
 */
export function updateBatchOf(
  plan: ExecutionPlan,
  { collector, drafts, scratch }: Made,
  memory: Memory,
): { readonly batch: UpdateBatch; readonly reducer: keyof Reducers } {
  const updates = drafts.flatMap((draft, index): UpdateJob[] => {
    const update = plan.updates[index] as StateUpdate;
    const { rule } = update;
    if (rule.name === 'lossScale') {
      scaleLoss(update, { collector, draft }, memory);
      return [];
    }
    const value = addressOf(update, collector, memory, scratch);
    return [jobOf(plan, { ...update, rule }, { draft, value }, memory.states)];
  });
  const clips = plan.clips.map(({ kind, max }): ClipRule => ({ kind, max }));
  const sizeBytes = updates.reduce((sum, job) => sum + job.sizeBytes, 0);
  const reducer = sizeBytes <= ENGINE_LIMITS.inlineReduceBytes ? 'inline' : 'thread';
  return { batch: { clips, updates }, reducer };
}

const hasOverflowed = ({ output }: StateUpdate, collector: Collector): boolean =>
  (floatsOf(collector.bytesOf(output))[0] ?? 0) > 0;

/** Two numbers: written at once. @throws NumericError when the step overflowed at the smallest scale. */
function scaleLoss(
  update: StateUpdate,
  { collector, draft }: { readonly collector: Collector; readonly draft: Draft },
  { heap, states }: Memory,
): void {
  const before = readLossScale(floatsOf(states.bytesOf(states.latest(update.stateId))));
  const after = before === null ? null : nextLossScale(before, hasOverflowed(update, collector));
  if (after === null) {
    const why =
      before === null
        ? `state ${String(update.stateId)} holds no loss scale; set cluster.compute anew`
        : `a gradient is NaN or infinite although losses are scaled by no more than ${String(before[0])}`;
    throw new NumericError(why);
  }
  floatsOf(heap.bytes(draft.block)).set(after);
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
  { stateId, rule, optimizerId, output }: StateUpdate & { readonly rule: UpdateRule },
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
