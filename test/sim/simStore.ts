/** @file What one life of the engine has to send: a program, versions of the weights, blocks of data. */
import type { ResourceId } from '../../kernel/src/core/cluster/state.js';
import type { SimResource } from './messages.js';
import {
  BLOCKS,
  BLOCK_BYTES,
  PROGRAM,
  PROGRAM_BYTES,
  STATE_BYTES,
  blocksOf,
  nameOf,
  stateResource,
} from './messages.js';
import type { SimImage } from './simDisk.js';

interface Needed {
  readonly program: SimResource;
  readonly state: SimResource;
  readonly blocks: readonly SimResource[];
}

export class SimStore {
  readonly resources = new Map<ResourceId, SimResource>();

  /** What a life begins with. */
  begin({ wire, weight, dataId, data }: SimImage): void {
    this.define(PROGRAM, PROGRAM_BYTES, 0);
    this.defineState(wire, weight);
    if (dataId > 0) this.defineData(dataId, data);
  }

  defineState(wire: number, weight: number): void {
    this.define(stateResource(wire), STATE_BYTES, weight);
  }

  defineData(dataId: number, data: number): void {
    for (const block of blocksOf(dataId)) this.define(block, BLOCK_BYTES, data);
  }

  drop(ids: readonly ResourceId[]): void {
    for (const id of ids) this.resources.delete(id);
  }

  /** Versions but the one in use. */
  oldStates(wire: number): ResourceId[] {
    const current = stateResource(wire);
    return [...this.resources.keys()].filter((id) => id !== current && nameOf(id).kind === 'state');
  }

  /** All that an execution reads; null when some of it is not there. */
  needed(wire: number, dataId: number): Needed | null {
    const program = this.resources.get(PROGRAM);
    const state = this.resources.get(stateResource(wire));
    const blocks = blocksOf(dataId).flatMap((block) => this.resources.get(block) ?? []);
    if (program === undefined || state === undefined || blocks.length < BLOCKS) return null;
    return { program, state, blocks };
  }

  private define(id: ResourceId, sizeBytes: number, value: number): void {
    this.resources.set(id, { id, sizeBytes, value });
  }
}
