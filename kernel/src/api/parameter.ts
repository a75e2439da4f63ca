/** @file A tensor that lives in the engine and changes with each step: a weight, or a running statistic. */
import { formatShape, ShapeError } from '@ravenlab/protocol';
import type { LeafNode } from '../core/graph/node.js';
import { stateLeaf } from '../core/graph/node.js';
import type { HostArray } from './host.js';
import { convert } from './host.js';
import type { Runtime, StateRecord } from './runtime.js';
import { currentRuntime } from './runtime.js';
import { Tensor } from './tensor.js';

/**
 * A versioned tensor held by the engine. Reading `node` names the newest version, so a graph built after a step uses
 * the new weights and one built before keeps the old ones.
 */
export class Parameter extends Tensor {
  private state: StateRecord;
  private readonly runtime: Runtime;
  private leaf: LeafNode;

  /** `requiresGrad` false makes a buffer: saved with the module, not trained. */
  constructor(initial: HostArray, requiresGrad = true) {
    const runtime = currentRuntime();
    const type = { dtype: initial.dtype, shape: initial.shape };
    const record = runtime.createState(type, initial.data);
    const leaf = stateLeaf(record.stateId, record.updatedAt, type);
    super(leaf, requiresGrad);
    this.runtime = runtime;
    this.state = record;
    this.leaf = leaf;
    runtime.adopt(this, leaf, record);
  }

  get record(): StateRecord {
    return this.state;
  }

  override get node(): LeafNode {
    const { leaf, record } = this;
    this.runtime.steps.settleVersion();
    if (leaf.leaf.kind !== 'state' || leaf.leaf.version === record.updatedAt) return leaf;
    this.leaf = stateLeaf(record.stateId, record.updatedAt, leaf.type);
    this.runtime.adopt(this, this.leaf, record);
    return this.leaf;
  }

  /**
   * Replaces the values from here on; what was built before keeps the old ones. Optimizer slots start anew.
   * @throws ShapeError when the number of values is not the parameter's size.
   */
  set(values: ArrayLike<number>): void {
    if (values.length !== this.size) {
      throw new ShapeError(
        `parameter: ${String(values.length)} values do not fill shape ${formatShape(this.shape)} with ${String(this.size)} elements`,
        { shape: this.shape, length: values.length },
      );
    }
    const { type } = this.leaf;
    this.state = this.runtime.createState(type, convert(values, type.dtype));
    this.leaf = stateLeaf(this.state.stateId, this.state.updatedAt, type);
    this.runtime.adopt(this, this.leaf, this.state);
  }

  override toString(): string {
    return `Parameter(${this.dtype} ${formatShape(this.shape)})`;
  }
}
