/** @file What the network thread and the compute thread say to each other. Tensors move by transfer, never by copy. */
import type {
  AdvanceMessage,
  BackendName,
  DataId,
  ExecutionId,
  Hash32,
  ProgramHash,
  RunMerge,
  TensorData,
  UnitStatus,
  WireError,
} from '@ravenlab/protocol';
import type { BlobKey } from '../core/state.js';

/** What is to be computed with, and how. */
export interface ComputeWish {
  readonly backend: BackendName;
  readonly threads: number;
  /** Results are hashed: somebody pays for them. */
  readonly digests: boolean;
  /** Speed known from an earlier start, GFLOP/s; null: measure it. */
  readonly gflops: number | null;
  /** What its owner lets it take, bytes. */
  readonly memoryBytes: number;
}

/** Start values of the compute thread. */
export interface ComputeSettings extends ComputeWish {
  /** One Int32: when the unit that runs now began, ms of process uptime + 1; 0 when idle. */
  readonly busySince: SharedArrayBuffer;
}

export interface ComputeOptions extends ComputeWish {
  /** Instruction set of this machine: part of the promise of equal bits. */
  readonly instructions: string;
  /** A thread of this process, or a process that holds no keys and no connection. */
  readonly isolation: 'thread' | 'process';
}

/** Where an input of a batch comes from, with its small values in place. */
export type ComputeInput =
  | { readonly kind: 'state'; readonly key: BlobKey }
  | {
      readonly kind: 'rows';
      readonly dataId: DataId;
      readonly blockRows: number;
      readonly perUnit: boolean;
      readonly indices: Int32Array;
    }
  | {
      readonly kind: 'data';
      readonly dataId: DataId;
      readonly dataRows: number;
      readonly blockRows: number;
    }
  /** `bytes` holds one value, or one a unit, end to end. */
  | { readonly kind: 'inline'; readonly perUnit: boolean; readonly bytes: Uint8Array }
  | {
      readonly kind: 'key';
      readonly seedLow: number;
      readonly seedHigh: number;
      readonly step: number;
    };

export interface ComputeBatch {
  readonly kind: 'batch';
  readonly batch: number;
  readonly execution: ExecutionId;
  readonly hash: ProgramHash;
  /** Micro-shard index of each unit. */
  readonly shards: Int32Array;
  readonly inputs: readonly ComputeInput[];
  /** Groups of units that are answered as one. */
  readonly merge: RunMerge | null;
}

export type ToCompute =
  | { readonly kind: 'program'; readonly hash: ProgramHash; readonly bytes: Uint8Array }
  | { readonly kind: 'tensor'; readonly key: BlobKey; readonly bytes: Uint8Array }
  | ComputeBatch
  /** Overtakes what is queued: the update to make after an execution. */
  | { readonly kind: 'advance'; readonly message: AdvanceMessage }
  /** What was made for this execution is held under these names. */
  | {
      readonly kind: 'keep';
      readonly execution: ExecutionId;
      readonly keys: readonly BlobKey[];
    }
  | { readonly kind: 'forgetSlots' }
  /** Overtakes what is queued: memory of answers that have left. To a thread only. */
  | { readonly kind: 'spent'; readonly buffers: readonly ArrayBuffer[] }
  /** Overtakes what is queued: these units of the batch are not run any more. */
  | { readonly kind: 'skip'; readonly batch: number; readonly units: readonly number[] }
  | { readonly kind: 'forget'; readonly keys: readonly BlobKey[] }
  | { readonly kind: 'forgetProgram'; readonly hash: ProgramHash }
  /** Overtakes what is queued: the thread ends after the unit that runs now. */
  | { readonly kind: 'stop' };

export interface UnitOutcome {
  /** Position in the batch. An `ok` of a merged group is its first unit's and stands for all of them. */
  readonly unit: number;
  readonly status: UnitStatus;
  readonly computeUs: number;
  /** For `ok`; as bytes once they have crossed threads. */
  readonly outputs: readonly TensorData[];
  /** For `nonFinite`: the output that is not; else -1. */
  readonly output: number;
  readonly error: WireError | null;
  /** SHA-256 of the outputs one after the other, where the settings ask for it. */
  readonly digest?: Hash32;
  /** With these outputs the thread makes the update that was announced. */
  readonly isAdvancing?: boolean;
}

export interface ComputeReady {
  readonly kind: 'ready';
  readonly deviceName: string;
  readonly version: string;
  readonly gflops: number;
}

export interface ComputeResults {
  readonly kind: 'results';
  readonly batch: number;
  readonly outcomes: readonly UnitOutcome[];
}

export type FromCompute =
  | ComputeReady
  | ComputeResults
  /** The backend could not start; the thread ends. */
  | { readonly kind: 'unavailable'; readonly error: WireError };
