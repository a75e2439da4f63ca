/**
 * @file The messages between engine and worker, one union per direction. Plain data: no bytes layout (codec.ts), no
 * transport, no behaviour. RFC 1 describes the dialogue.
 *
 * Rules that every type here follows
 * - A message is bounded by LIMITS; both the encoder (a caller's mistake) and the decoder (a peer's) check it.
 * - Ids of programs, states and data mean something within one engine only, program indices within one connection only.
 * - Byte counts and times are integers; durations are relative, because clocks of two machines differ.
 */
import type { ClipRule, UpdateRule } from './update.js';
import type {
  AcceptMessage,
  ChallengeMessage,
  IdentifyMessage,
  PresentedMessage,
  TermsMessage,
  VoucherAckMessage,
  VoucherMessage,
} from './deal.js';
import type { WireError } from './errors.js';
import type {
  DataId,
  EngineId,
  ExecutionId,
  LeaseId,
  ProgramHash,
  StateId,
  StateVersion,
  WorkerId,
} from './ids.js';
import type { TensorType } from './shape.js';
import type { DType } from './dtype.js';
import type { WireFormat } from './narrow.js';
import { WIRE_FORMATS } from './narrow.js';
import type { Address, Hash32 } from './voucher.js';

/** Version of the frames. Both sides speak exactly this one; HELLO of another version is answered by BYE `version`. */
export const WIRE_VERSION = 1;

/**
 * Bytes of one tensor or piece of it, in order. The sender's chunks are sent without a copy and must not change until
 * the receiver has answered; the receiver's chunks are views of received frames (copyChunks puts them together).
 */
export type Chunks = readonly Uint8Array[];

// ---------------------------------------------------------------- joining

/** Order is wire contract. `onnx-wasm` is the exact tier: equal bits on every machine. */
export const BACKENDS = [
  'onnx-cpu',
  'onnx-cuda',
  'onnx-wasm',
  'tfjs-cpu',
  'tfjs-node',
  'tfjs-node-gpu',
  'tfjs-webgpu',
] as const;
export type BackendName = (typeof BACKENDS)[number];

export interface WorkerCapabilities {
  readonly backend: BackendName;
  /** What a person calls it: "AMD EPYC 7B13", "NVIDIA RTX 3090". */
  readonly device: string;
  /** Compute threads; 0 on a GPU. */
  readonly threads: number;
  /** Budget for states, data and running units; the engine keeps what it sends below this. */
  readonly memoryBytes: number;
  /** Measured by the worker at start, float32 matrix product; a first guess for the scheduler, never for payment. */
  readonly gflops: number;
  readonly dtypes: readonly DType[];
  /** Workers of equal class promise equal bits: backend, its version, instruction set, threads where they matter. */
  readonly bitClass: string;
}

/** What a reconnecting worker still holds. Meaningful only to the engine that it names. */
export interface HeldBlobs {
  readonly engineId: EngineId;
  readonly programs: readonly ProgramHash[];
  readonly states: readonly StateRef[];
  readonly blocks: readonly BlockRef[];
}

export interface StateRef {
  readonly stateId: StateId;
  readonly version: StateVersion;
}

/** Rows `block · blockRows …` of a data tensor. */
export interface BlockRef {
  readonly dataId: DataId;
  readonly block: number;
}

/** First message on every connection, and again after every reconnect. */
export interface HelloMessage {
  readonly kind: 'hello';
  readonly workerId: WorkerId;
  /** Secret of the invite, or of the engine's own child process. */
  readonly token: string;
  /** Starts of this worker so far: a higher one makes every lease of a lower one void. */
  readonly incarnation: number;
  /** Name its owner gave it; shown, never trusted. */
  readonly name: string;
  readonly capabilities: WorkerCapabilities;
  /** Account that it wants to be paid on; null works unpaid. A claim until IDENTIFY proves it. */
  readonly payee: Address | null;
  readonly held: HeldBlobs | null;
}

export interface WelcomeMessage {
  readonly kind: 'welcome';
  readonly engineId: EngineId;
  readonly workerId: WorkerId;
  /** What the panel calls this worker. */
  readonly shortId: string;
  /** The engine sends PING this often; a side that hears nothing for `timeoutMs` treats the other as gone. */
  readonly heartbeatMs: number;
  readonly timeoutMs: number;
  /** Bytes that the engine keeps in flight to this worker at most. */
  readonly creditWindowBytes: number;
  /** Largest piece in one BLOB or RESULT, 64 KiB … LIMITS.frameBytes: small on slow links, so that PING is not stuck behind. */
  readonly chunkBytes: number;
  /** Price for people: "12 units/GFLOP". */
  readonly price: string;
}

// ---------------------------------------------------------------- what a unit needs

/** Defines `index` on this connection. May come after a RUN that names it: the worker then waits or asks with NEED. */
export interface ProgramMessage {
  readonly kind: 'program';
  readonly index: number;
  readonly hash: ProgramHash;
  /** encodeProgram; the worker checks the hash and decodes with decodeProgram. */
  readonly bytes: Chunks;
}

/**
 * Where the programs' inputs come from, in input order. `perUnit` values are given once a unit, in the order of `units`;
 * else one value serves all units of the message.
 */
export type RunInput =
  | { readonly kind: 'state'; readonly stateId: StateId; readonly version: StateVersion }
  | {
      /** Rows of a data tensor: input shape is `[rows, ...shape of a row]`. */
      readonly kind: 'rows';
      readonly dataId: DataId;
      /** Rows of the whole data tensor. */
      readonly dataRows: number;
      /** Rows of each of its blocks, the last one may have fewer: row r is in block ⌊r / blockRows⌋. */
      readonly blockRows: number;
      readonly perUnit: boolean;
      /** `rows` indices, or units × rows when `perUnit`; each in 0 … dataRows-1. */
      readonly indices: Int32Array;
    }
  | {
      /** A whole data tensor, in blocks as above. */
      readonly kind: 'data';
      readonly dataId: DataId;
      readonly dataRows: number;
      readonly blockRows: number;
    }
  | {
      /** A value in the message itself. The engine sends large ones as data instead: once, not once a lease. */
      readonly kind: 'inline';
      readonly type: TensorType;
      readonly perUnit: boolean;
      /** One entry, or one a unit when `perUnit`; each holds byteSizeOf(type) bytes. */
      readonly values: readonly Chunks[];
    }
  /** int32[4] RNG key (seedLow, seedHigh, step, shard of the unit). Any int32 each. */
  | {
      readonly kind: 'key';
      readonly seedLow: number;
      readonly seedHigh: number;
      readonly step: number;
    };

export interface RunUnit {
  readonly lease: LeaseId;
  /** Micro-shard index: the last word of RNG keys. */
  readonly shard: number;
}

/**
 * What an answer holds of an output: the first unit's, or the sum, as this format. A narrow sum is rounded wherever one is made:
 * each unit's own output, then every sum of two, so that its bits do not depend on who made it. Order is wire contract.
 */
export const SUM_FORMS = ['first', ...WIRE_FORMATS] as const;
export type SumForm = 'first' | WireFormat;

/**
 * Units that are answered together: the worker adds up their outputs and answers with the first one's lease, so a sum
 * travels once, not once a unit. A group is a whole subtree of the engine's sum, added in the same order, so the bits are
 * those that the engine would have made. Groups of one are of use where a sum is narrow. RFC 1 §3.
 */
export interface RunMerge {
  /** Sizes of the groups of consecutive units, in the order of `units`: powers of two that add up to their number. */
  readonly groups: readonly number[];
  /** By output. */
  readonly sums: readonly SumForm[];
}

/** Units of one execution and one program: common part once, then one row a unit. */
export interface RunMessage {
  readonly kind: 'run';
  readonly execution: ExecutionId;
  readonly program: number;
  /** How long the engine waits for each unit's result from the time the worker starts it; then it leases it again. */
  readonly leaseMs: number;
  readonly inputs: readonly RunInput[];
  readonly units: readonly RunUnit[];
  /** Null: every unit is answered by itself, as it is. */
  readonly merge: RunMerge | null;
}

/** One piece of a tensor. The worker allocates `totalBytes` at the first piece, within its budget. */
export type BlobChunk = {
  readonly offsetBytes: number;
  readonly totalBytes: number;
  /** At most LIMITS.frameBytes together; more pieces make a larger tensor. */
  readonly bytes: Chunks;
} & (({ readonly kind: 'state' } & StateRef) | ({ readonly kind: 'block' } & BlockRef));

/** Pieces of several small tensors, or one piece of a large one. */
export interface BlobMessage {
  readonly kind: 'blob';
  readonly chunks: readonly BlobChunk[];
}

/** An update that the worker makes on its own copy of a state. */
export interface AdvanceUpdate {
  /** The version that it begins with. */
  readonly state: StateRef;
  /** Output of the execution that holds the gradient or the value. */
  readonly output: number;
  readonly rule: UpdateRule;
  readonly optimizerId: number;
  /** Updates that the optimizer's slots have seen. */
  readonly stepsDone: number;
  /** The execution that they were made by, and kept; 0: those that were sent, else they begin with zeros. */
  readonly slotsOf: ExecutionId;
  /** The slots as they were sent, in order: as versions of the state from LIMITS.firstSlotVersion on. */
  readonly slots: readonly StateRef[];
  /** Index into `clips`, -1 without. */
  readonly clip: number;
}

/**
 * Before a RUN that has all units of an execution in one group: the worker, which then has the whole sum, makes the update too,
 * beside the engine and to the same bits, so that the next weights need not travel. A hint: a worker that cannot ignores it.
 */
export interface AdvanceMessage {
  readonly kind: 'advance';
  readonly execution: ExecutionId;
  readonly clips: readonly ClipRule[];
  readonly updates: readonly AdvanceUpdate[];
}

/** What ADVANCE made counts: the states of its updates, in their order, are these versions. */
export interface KeepMessage {
  readonly kind: 'keep';
  readonly execution: ExecutionId;
  readonly states: readonly StateRef[];
}

/** Leases and executions whose results nobody waits for; unknown ones are ignored. Nothing is answered. */
export interface CancelMessage {
  readonly kind: 'cancel';
  readonly executions: readonly ExecutionId[];
  readonly leases: readonly LeaseId[];
}

/** What the worker forgets; eviction is the engine's decision. Unknown ones are ignored. */
export interface DropMessage {
  readonly kind: 'drop';
  readonly programs: readonly number[];
  readonly states: readonly StateRef[];
  /** Whole data tensors. */
  readonly data: readonly DataId[];
  readonly blocks: readonly BlockRef[];
}

export interface PingMessage {
  readonly kind: 'ping';
  readonly seq: number;
  /** Clock of the sender, ms; comes back in PONG. */
  readonly sentMs: number;
}

/** What the worker has earned so far, for its owner to see. Not a promise to pay: that is a voucher. */
export interface MeterMessage {
  readonly kind: 'meter';
  readonly committedUnits: number;
  readonly earnedUnits: bigint;
}

// ---------------------------------------------------------------- answers

/** What RUN named and the worker does not hold. The units wait; the engine sends it or lets the leases run out. */
export interface NeedMessage {
  readonly kind: 'need';
  readonly programs: readonly number[];
  readonly states: readonly StateRef[];
  readonly blocks: readonly BlockRef[];
}

/** Order is wire contract. */
export const UNIT_STATUSES = ['ok', 'nonFinite', 'cancelled', 'failed'] as const;
export type UnitStatus = (typeof UNIT_STATUSES)[number];

export type DoneUnit = { readonly lease: LeaseId; readonly computeUs: number } & (
  | {
      readonly status: 'ok';
      /** One entry an output, or null when they went ahead in RESULT messages. */
      readonly outputs: readonly Chunks[] | null;
      /** SHA-256 of the outputs one after the other, by a worker that is paid for them; else null. */
      readonly digest: Hash32 | null;
    }
  /** Output `output` holds a NaN or an infinity; no output is sent. */
  | { readonly status: 'nonFinite'; readonly output: number }
  | { readonly status: 'cancelled' }
  | { readonly status: 'failed'; readonly error: WireError }
);

/**
 * Results of units of one execution and one program. FLOPs are not in it: the engine counts them itself. At most
 * LIMITS.segmentsPerMessage outputs in all, LIMITS.messageBytes together; the worker sends several DONE when there are more.
 * A merged group that went well is answered once, by its first lease, with the time of all its units; when a unit of it
 * fails, each of them answers by itself: the others as cancelled.
 */
export interface DoneMessage {
  readonly kind: 'done';
  readonly execution: ExecutionId;
  /** Bytes of each output, equal for all units; the engine compares them with its own program. */
  readonly outputBytes: readonly number[];
  readonly units: readonly DoneUnit[];
}

/**
 * The update that was announced for this execution will be made here, once its units are through. Said at once, so that the next
 * step can be here before this one ends.
 */
export interface MakingMessage {
  readonly kind: 'making';
  readonly execution: ExecutionId;
}

/** It was not made after all: a unit failed or was taken away, or the machine had no room for it. */
export interface UnmadeMessage {
  readonly kind: 'unmade';
  readonly execution: ExecutionId;
}

/** One piece of one output of a unit; all pieces of a unit come before its DONE, on the same connection. */
export interface ResultChunk {
  readonly lease: LeaseId;
  readonly output: number;
  readonly offsetBytes: number;
  readonly totalBytes: number;
  readonly bytes: Chunks;
}

/** Outputs too large for one DONE, so that the engine adds the first pieces while the last are on the way. */
export interface ResultMessage {
  readonly kind: 'result';
  readonly chunks: readonly ResultChunk[];
}

/**
 * Bytes of PROGRAM, RUN and BLOB messages (all frames, messageBytes) that the worker has taken out of its receive queue
 * since WELCOME. A running total: repeating it is harmless. In flight = sent - consumed ≤ creditWindowBytes.
 */
export interface CreditMessage {
  readonly kind: 'credit';
  readonly consumedBytes: number;
}

/** Answer to PING, written by the thread that talks to the compute thread: it tells a busy worker from a stuck one. */
export interface PongMessage {
  readonly kind: 'pong';
  readonly seq: number;
  /** From the PING. */
  readonly sentMs: number;
  readonly queuedUnits: number;
  /** How long the unit on the compute thread has been running; 0 when idle. */
  readonly busyMs: number;
  /** Bytes of states and data held. */
  readonly heldBytes: number;
}

// ---------------------------------------------------------------- either direction

/** Something went wrong that belongs to no unit. Informs; whoever wants to part says BYE. */
export interface ErrorMessage {
  readonly kind: 'error';
  readonly error: WireError;
}

/**
 * Order is wire contract. From a worker: `drain` = no new units, I finish those I have; `leave` = my leases are void now.
 * From the engine: `shutdown` = it ends; `refused` = wrong token or banned, do not come back; `version` = update yourself;
 * `protocol` = your last message broke the protocol; `replaced` = a newer incarnation of you joined; `leave` = drained, go.
 */
export const BYE_REASONS = [
  'drain',
  'leave',
  'shutdown',
  'refused',
  'version',
  'protocol',
  'replaced',
  'expelled',
] as const;
export type ByeReason = (typeof BYE_REASONS)[number];

export interface ByeMessage {
  readonly kind: 'bye';
  readonly reason: ByeReason;
  /** For people. */
  readonly message: string;
}

export type EngineToWorker =
  | WelcomeMessage
  | ProgramMessage
  | RunMessage
  | BlobMessage
  | AdvanceMessage
  | KeepMessage
  | CancelMessage
  | DropMessage
  | PingMessage
  | MeterMessage
  | ChallengeMessage
  | TermsMessage
  | VoucherMessage
  | ErrorMessage
  | ByeMessage;

export type WorkerToEngine =
  | HelloMessage
  | NeedMessage
  | MakingMessage
  | UnmadeMessage
  | ResultMessage
  | DoneMessage
  | CreditMessage
  | PongMessage
  | IdentifyMessage
  | AcceptMessage
  | VoucherAckMessage
  | PresentedMessage
  | ErrorMessage
  | ByeMessage;

export type WireMessage = EngineToWorker | WorkerToEngine;
