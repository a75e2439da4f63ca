/** @file What one life of the engine has to send: a program, versions of the weights, blocks of data. */
import type { ResourceId, UnitSpec } from '../../kernel/src/core/cluster/state.js';
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

/** The units of an execution, one a shard. */
export function unitsOf({ blocks, state }: Needed, shards: number): UnitSpec[] {
  const units: UnitSpec[] = [];
  for (let shard = 0; shard < shards; shard++) {
    const resources = [blocks[shard % BLOCKS] ?? state];
    units.push({ program: 0, resources, messageBytes: 20, samples: 1 });
  }
  return units;
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

  /** Those of them that are still there. */
  found(ids: readonly ResourceId[]): SimResource[] {
    const found: SimResource[] = [];
    for (const id of ids) {
      const resource = this.resources.get(id);
      if (resource !== undefined) found.push(resource);
    }
    return found;
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
    const blocks = this.found(blocksOf(dataId));
    if (program === undefined || state === undefined || blocks.length < BLOCKS) return null;
    return { program, state, blocks };
  }

  private define(id: ResourceId, sizeBytes: number, value: number): void {
    this.resources.set(id, { id, sizeBytes, value });
  }
}
