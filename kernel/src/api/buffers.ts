/** @file Running statistics that forward passes have asked to update; the next step that computes them does it. */
import type { UpdateRule } from '@ravenlab/protocol';
import type { GraphNode } from '../core/graph/node.js';
import { add, scale } from './emit.js';
import type { StateRecord } from './runtime.js';

interface BufferUpdate {
  readonly record: StateRecord;
  /** Statistic of one forward pass. */
  readonly node: GraphNode;
  readonly momentum: number;
}

export interface BufferWrite {
  readonly record: StateRecord;
  readonly node: GraphNode;
  readonly rule: UpdateRule;
  readonly optimizerId: 0;
}

/** Updates that no step took are dropped beyond this many: a model left in training mode while it is only evaluated. */
const MAX_PENDING = 1_024;

export class PendingBuffers {
  private updates: BufferUpdate[] = [];

  /** running ← (1 - momentum) · running + momentum · node. */
  note(update: BufferUpdate): void {
    this.updates.push(update);
    if (this.updates.length > MAX_PENDING) this.updates.shift();
  }

  /** The updates whose statistics are of nodes in `step`, joined to one a buffer; all others are dropped. */
  take(step: ReadonlySet<GraphNode>): BufferWrite[] {
    const joined = new Map<StateRecord, BufferUpdate>();
    for (const update of this.updates) {
      if (!update.node.inputs.every((input) => step.has(input))) continue;
      const earlier = joined.get(update.record);
      joined.set(update.record, earlier === undefined ? update : join(earlier, update));
    }
    this.updates = [];
    return [...joined.values()].map(({ record, node, momentum }) => ({
      record,
      node,
      rule: { name: 'ema', momentum },
      optimizerId: 0,
    }));
  }
}

/** Two updates in a row as one: (1-q)((1-p)s + p·a) + q·b = (1-r)s + r·((1-q)p·a + q·b)/r with r = 1 - (1-p)(1-q). */
function join(first: BufferUpdate, second: BufferUpdate): BufferUpdate {
  const momentum = 1 - (1 - first.momentum) * (1 - second.momentum);
  if (momentum === 0) return second;
  const before = scale(first.node, ((1 - second.momentum) * first.momentum) / momentum);
  const after = scale(second.node, second.momentum / momentum);
  return { record: second.record, node: add(before, after), momentum };
}
