/**
 * @file In which precision a session makes its products. 'float16' rounds what goes into a matrix product or a convolution, forward
 * and backward, and adds up in float32; weights and all else stay float32. What to multiply losses by comes with it.
 */
import type { LossScale } from '@ravenlab/protocol';
import { FIRST_LOSS_SCALE, LOSS_SCALE_TYPE } from '@ravenlab/protocol';
import type { GraphNode, LeafNode } from '../core/graph/node.js';
import { isOp, stateLeaf } from '../core/graph/node.js';
import { emit } from './emit.js';
import type { Runtime, StateRecord } from './runtime.js';

export const COMPUTE_FORMATS = ['float32', 'float16'] as const;
export type ComputeFormat = (typeof COMPUTE_FORMATS)[number];

/** An operand of a product, in the precision that products are made in. */
export function rounded(x: GraphNode, compute: ComputeFormat): GraphNode {
  const isNarrow = x.type.dtype !== 'float32' || isOp(x, 'roundFloat16');
  return compute === 'float32' || isNarrow ? x : emit('roundFloat16', [x], {});
}

/** The loss scale of a session: a state of the engine, which every step reads and changes. */
export class LossScaler {
  private readonly runtime: Runtime;
  private state: StateRecord | null = null;
  private leaf: LeafNode | null = null;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  /** Null until a loss was scaled. */
  get record(): StateRecord | null {
    return this.state;
  }

  /** The scale as the next step will find it. */
  get node(): LeafNode {
    this.runtime.steps.settleVersion();
    const record = this.state ?? this.set(FIRST_LOSS_SCALE);
    const { leaf } = this;
    if (leaf?.leaf.kind === 'state' && leaf.leaf.version === record.updatedAt) return leaf;
    const now = stateLeaf(record.stateId, record.updatedAt, LOSS_SCALE_TYPE);
    this.runtime.adopt(null, now, record);
    this.leaf = now;
    return now;
  }

  /** Goes on with this scale. */
  set(scale: LossScale): StateRecord {
    this.state = this.runtime.createState(LOSS_SCALE_TYPE, Float32Array.from(scale));
    this.leaf = null;
    return this.state;
  }

  /** Begins anew with the next loss. */
  reset(): void {
    this.state = null;
    this.leaf = null;
  }
}
