/** @file What happens to a worker and what it answers: the whole interface of the lease machine. Plain data. */
import type {
  AdvanceMessage,
  DataId,
  DoneUnit,
  ExecutionId,
  LeaseId,
  ProgramHash,
  RunMessage,
  StateRef,
  BlockRef,
  WireError,
} from '@ravenlab/protocol';
import type { Batch, BlobKey, BlobRef, ProgramEntry } from './state.js';

export type WorkerEvent =
  | { readonly kind: 'program'; readonly index: number; readonly entry: ProgramEntry }
  /** A piece of a tensor: `bytes` of it, from `offsetBytes` on. */
  | {
      readonly kind: 'chunk';
      readonly ref: BlobRef;
      readonly offsetBytes: number;
      readonly totalBytes: number;
      readonly bytes: number;
    }
  | { readonly kind: 'run'; readonly run: RunMessage }
  | { readonly kind: 'advance'; readonly message: AdvanceMessage }
  /** The compute thread makes the update that was announced for this execution. */
  | { readonly kind: 'advanced'; readonly execution: ExecutionId }
  | {
      readonly kind: 'keep';
      readonly execution: ExecutionId;
      readonly states: readonly StateRef[];
    }
  | {
      readonly kind: 'cancel';
      readonly executions: readonly ExecutionId[];
      readonly leases: readonly LeaseId[];
    }
  | {
      readonly kind: 'drop';
      readonly programs: readonly number[];
      readonly states: readonly StateRef[];
      readonly data: readonly DataId[];
      readonly blocks: readonly BlockRef[];
    }
  /** The compute thread is through with these units (positions in the batch). */
  | { readonly kind: 'computed'; readonly batch: number; readonly units: readonly number[] }
  /** The compute thread died; what it held is gone. */
  | { readonly kind: 'crashed'; readonly error: WireError }
  | { readonly kind: 'disconnected' };

export type WorkerEffect =
  | {
      readonly kind: 'need';
      readonly programs: readonly number[];
      readonly states: readonly StateRef[];
      readonly blocks: readonly BlockRef[];
    }
  /** Copy the piece of the event to its place; `begins`: make room first; `ends`: hand the tensor to the compute thread. */
  | {
      readonly kind: 'store';
      readonly key: BlobKey;
      readonly begins: boolean;
      readonly ends: boolean;
    }
  | { readonly kind: 'start'; readonly batch: Batch; readonly hash: ProgramHash }
  /** These units of the event (positions in the batch) still matter: send their results. */
  | { readonly kind: 'answer'; readonly batch: Batch; readonly units: readonly number[] }
  /** Units that never ran, or whose results are lost. */
  | {
      readonly kind: 'fail';
      readonly execution: ExecutionId;
      readonly units: readonly DoneUnit[];
    }
  /** Do not start these units of a started batch (positions in it). */
  | { readonly kind: 'skip'; readonly batch: number; readonly units: readonly number[] }
  | { readonly kind: 'advance'; readonly message: AdvanceMessage }
  /** The update of this execution is not made after all. */
  | { readonly kind: 'unmade'; readonly execution: ExecutionId }
  /** What was made for this execution is held under these names. */
  | {
      readonly kind: 'keep';
      readonly execution: ExecutionId;
      readonly keys: readonly BlobKey[];
    }
  | { readonly kind: 'forgetSlots' }
  | { readonly kind: 'forget'; readonly keys: readonly BlobKey[] }
  | { readonly kind: 'forgetProgram'; readonly hash: ProgramHash };
