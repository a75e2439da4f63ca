/** @file What engine and workers say to each other in simulation: the messages of the protocol with one number for a tensor. */
import type { DataId, LeaseId, StateVersion, UnitStatus, WireError } from '@ravenlab/protocol';
import type { GrantedLease } from '../../kernel/src/core/cluster/events.js';
import type { Resource, ResourceId } from '../../kernel/src/core/cluster/state.js';

/** A resource with its content: weights, the value of a block; a program has none. */
export interface SimResource extends Resource {
  readonly value: number;
}

export const BLOCKS = 3;
export const PROGRAM_BYTES = 2_000;
export const STATE_BYTES = 8_000;
export const BLOCK_BYTES = 3_000;

/** Ids say what they name, so both ends and the codec can tell without a table. */
export const PROGRAM = 0 as ResourceId;
export function stateResource(version: number): ResourceId {
  return (version * 3 + 1) as ResourceId;
}
export function blockResource(dataId: number, block: number): ResourceId {
  return ((dataId * BLOCKS + block) * 3 + 2) as ResourceId;
}

export function blocksOf(dataId: number): ResourceId[] {
  const blocks: ResourceId[] = [];
  for (let block = 0; block < BLOCKS; block++) blocks.push(blockResource(dataId, block));
  return blocks;
}

export type ResourceName =
  | { readonly kind: 'program' }
  | { readonly kind: 'state'; readonly version: StateVersion }
  | { readonly kind: 'block'; readonly dataId: DataId; readonly block: number };

export function nameOf(id: ResourceId): ResourceName {
  const index = Math.trunc(id / 3);
  if (id % 3 === 0) return { kind: 'program' };
  if (id % 3 === 1) return { kind: 'state', version: index as StateVersion };
  return { kind: 'block', dataId: Math.trunc(index / BLOCKS) as DataId, block: index % BLOCKS };
}

export interface SimRun {
  readonly kind: 'run';
  readonly execution: number;
  readonly salt: number;
  readonly version: number;
  readonly dataId: number;
  readonly leaseMs: number;
  readonly groups: readonly (readonly GrantedLease[])[];
}

export interface SimResult {
  readonly lease: LeaseId;
  readonly status: UnitStatus;
  readonly computeUs: number;
  readonly error: WireError | null;
  readonly value: number;
  /** Of its output; a liar may say anything. */
  readonly sizeBytes: number;
}

export type ToWorker =
  | { readonly kind: 'provide'; readonly resources: readonly SimResource[] }
  | SimRun
  | { readonly kind: 'drop'; readonly resources: readonly ResourceId[] }
  | { readonly kind: 'revoke'; readonly leases: readonly LeaseId[] }
  | { readonly kind: 'revokeExecution'; readonly execution: number }
  | { readonly kind: 'ping'; readonly sentMs: number };

export type ToEngine =
  | {
      readonly kind: 'hello';
      readonly incarnation: number;
      readonly held: readonly ResourceId[];
    }
  | { readonly kind: 'done'; readonly execution: number; readonly results: readonly SimResult[] }
  | { readonly kind: 'need'; readonly resources: readonly ResourceId[] }
  | { readonly kind: 'credit' }
  | { readonly kind: 'pong'; readonly sentMs: number };

/** Bytes of one float32. */
export const OUTPUT_BYTES = 4;

const MESSAGE_BYTES = 100;

export function sizeOfToWorker(message: ToWorker): number {
  if (message.kind === 'run') return MESSAGE_BYTES + 20 * message.groups.length;
  if (message.kind !== 'provide') return MESSAGE_BYTES;
  let sizeBytes = MESSAGE_BYTES;
  for (const resource of message.resources) sizeBytes += resource.sizeBytes;
  return sizeBytes;
}

export function sizeOfToEngine(message: ToEngine): number {
  return message.kind === 'done' ? MESSAGE_BYTES + 20 * message.results.length : MESSAGE_BYTES;
}
