/** @file What a worker knows about its work: programs, tensors, units. Metadata only; bytes live in the shell and the compute thread. */
import type {
  BlockRef,
  DataId,
  ExecutionId,
  LeaseId,
  ProgramHash,
  RunMessage,
  StateRef,
  TensorType,
  WireError,
  Work,
} from '@ravenlab/protocol';
import type { LeaseStatus } from './leaseTable.js';

/** Names one tensor or piece of one: a version of a state, or a row block of a data tensor. */
export type BlobKey = string;

export function stateKey({ stateId, version }: StateRef): BlobKey {
  return `s${String(stateId)}@${String(version)}`;
}

export function blockKey({ dataId, block }: BlockRef): BlobKey {
  return `d${String(dataId)}/${String(block)}`;
}

/** What the machine needs to know of a program; the program itself is the compute thread's. */
export interface ProgramInfo {
  readonly hash: ProgramHash;
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
  /** Upper estimate of the memory that one run takes on top of states and data. */
  readonly peakBytes: number;
  /** Units of it that a batch may run on the network thread; 0: it is no small program. */
  readonly quickUnits: number;
  /** What one unit of it is paid for. */
  readonly work: Work;
}

export type ProgramEntry =
  | { readonly kind: 'known'; readonly info: ProgramInfo }
  /** Its bytes were not a program; every unit of it fails with this. */
  | { readonly kind: 'refused'; readonly error: WireError };

export type BlobRef =
  ({ readonly kind: 'state' } & StateRef) | ({ readonly kind: 'block' } & BlockRef);

export interface Blob {
  readonly ref: BlobRef;
  readonly totalBytes: number;
  receivedBytes: number;
  /** It does not come: the compute thread makes it. */
  isMaking: boolean;
}

export interface Unit {
  readonly lease: LeaseId;
  readonly batch: Batch;
  /** Position in the RUN message. */
  readonly index: number;
  status: LeaseStatus;
}

/** The units of one RUN. */
export interface Batch {
  readonly id: number;
  readonly run: RunMessage;
  readonly units: readonly Unit[];
  /** Tensors that have not arrived in full. */
  readonly missing: Set<BlobKey>;
  /** Units that are neither answered nor dropped. */
  open: number;
  started: boolean;
  /** Which of the started ones it is; they run in this order. */
  order: number;
  /** Bytes of each output of its program; known once it has started. */
  outputBytes: readonly number[];
  /** Known once it has started. */
  program: ProgramInfo | null;
}

/** An update that the compute thread makes of its own after an execution, as ADVANCE said. */
export interface Advancing {
  readonly execution: ExecutionId;
  /** Bytes of each state that it makes, in order. */
  readonly sizes: readonly number[];
  /** Its units have come. */
  isBegun: boolean;
  isMade: boolean;
  /** What KEEP called them. */
  kept: readonly BlobKey[] | null;
}

export interface WorkerState {
  readonly budgetBytes: number;
  /** By index on this connection. */
  readonly programs: Map<number, ProgramEntry>;
  readonly blobs: Map<BlobKey, Blob>;
  readonly batches: Map<number, Batch>;
  readonly leases: Map<LeaseId, Unit>;
  heldBytes: number;
  /** Memory of optimizer slots and of states in the making. */
  reservedBytes: number;
  /** Those that were announced, until they are made and have their names. */
  readonly advances: Map<ExecutionId, Advancing>;
  nextBatch: number;
  /** Batches that were started. */
  startedBatches: number;
  draining: boolean;
}

export function initialState(budgetBytes: number): WorkerState {
  return {
    budgetBytes,
    programs: new Map(),
    blobs: new Map(),
    batches: new Map(),
    leases: new Map(),
    heldBytes: 0,
    reservedBytes: 0,
    advances: new Map(),
    nextBatch: 1,
    startedBatches: 0,
    draining: false,
  };
}

/** Bytes of the budget that are taken. */
export function usedBytes(state: WorkerState): number {
  return state.heldBytes + state.reservedBytes;
}

export function isComplete(blob: Blob | undefined): boolean {
  return blob !== undefined && !blob.isMaking && blob.receivedBytes === blob.totalBytes;
}

/** Blocks of a data tensor that rows lie in, in order of first use; all of them when no rows are given. */
export function blocksOf(input: {
  readonly dataId: DataId;
  readonly dataRows: number;
  readonly blockRows: number;
  readonly indices?: Int32Array;
}): BlockRef[] {
  const { dataId, dataRows, blockRows, indices } = input;
  const blocks = new Set<number>();
  if (indices === undefined) {
    for (let block = 0; block * blockRows < dataRows; block++) blocks.add(block);
  } else {
    for (const row of indices) blocks.add(Math.floor(row / blockRows));
  }
  return [...blocks].map((block) => ({ dataId, block }));
}

/** Tensors that the units of a RUN read. */
export function keysOf({ inputs }: RunMessage): BlobKey[] {
  return inputs.flatMap((input) => {
    switch (input.kind) {
      case 'state':
        return [stateKey(input)];
      case 'rows':
      case 'data':
        return blocksOf(input).map(blockKey);
      case 'inline':
      case 'key':
        return [];
    }
  });
}

/** @throws Error with the first invariant that does not hold. */
export function checkInvariants(state: WorkerState): void {
  let heldBytes = 0;
  for (const blob of state.blobs.values()) {
    heldBytes += blob.totalBytes;
    check(blob.receivedBytes <= blob.totalBytes, 'a blob received more than all of it');
    check(!blob.isMaking || blob.receivedBytes === 0, 'what is made here does not come');
  }
  check(heldBytes === state.heldBytes, 'held bytes are the sum over blobs');
  check(usedBytes(state) <= state.budgetBytes, 'used bytes are within the budget');
  const open = new Map<ExecutionId, number>();
  for (const unit of state.leases.values()) {
    check(
      unit.status === 'waiting' || unit.status === 'queued',
      'an open lease is waiting or queued',
    );
    check(state.batches.get(unit.batch.id) === unit.batch, 'an open lease has its batch');
    open.set(unit.batch.run.execution, (open.get(unit.batch.run.execution) ?? 0) + 1);
  }
  let openUnits = 0;
  for (const batch of state.batches.values()) {
    check(batch.open > 0, 'a batch without open units is forgotten');
    openUnits += batch.open;
    if (!batch.started) continue;
    check(batch.missing.size === 0, 'a started batch misses nothing');
  }
  check(openUnits === state.leases.size, 'open units are the open leases');
  const kept = new Set([...state.advances.values()].flatMap(({ kept: keys }) => keys ?? []));
  for (const [key, { isMaking }] of state.blobs) {
    check(!isMaking || kept.has(key), 'what is being made has an update that makes it');
  }
}

function check(condition: boolean, message: string): void {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}
