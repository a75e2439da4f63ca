/**
 * @file What the engine can ask of the chain, and what it is told. A seam: the treasury knows this and no RPC, no key and no
 * transaction. Nothing here waits for a block: what is asked is stored and followed, and `status` tells how far it is.
 */
import type { CompactSignature, Hello } from '@ravenlab/contracts';
import type { Address, Hash32, JobId, SignedVoucher, Voucher } from '@ravenlab/protocol';
import type { OutboxStatus } from '../../core/chain/outboxTable.js';
import type { SettleRule } from '../../core/chain/settling.js';
import type { SpendLimits } from '../../core/chain/spendCaps.js';
import type { Finality } from './nodes.js';

export type { SpendLimits } from '../../core/chain/spendCaps.js';
export type { CompactSignature, Hello as HelloClaim } from '@ravenlab/contracts';

/** `off`: no pay was asked for. `problem`: the text says what is wrong; it is tried again by itself. */
export const CHAIN_PHASES = ['off', 'starting', 'ready', 'problem'] as const;
export type ChainPhase = (typeof CHAIN_PHASES)[number];

export interface ChainNetwork {
  readonly chainId: number;
  /** For people: 'simulated chain', or what the settings call it. */
  readonly name: string;
  /** Nothing on it is worth anything. */
  readonly isSimulated: boolean;
  readonly rpcUrl: string;
  /** Of a transaction's page, with `{hash}`; null where there is none. */
  readonly explorerUrl: string | null;
  /** When a block counts: with so many blocks from it on, or when the network calls it final. */
  readonly finality: Finality;
}

export interface ChainToken {
  readonly address: Address;
  readonly symbol: string;
  readonly decimals: number;
}

/**
 * `open`: takes and pays. `expired`: pays, reserves no more. `closed`: past the grace, only the refund is left.
 */
export const JOB_STATES = ['open', 'expired', 'closed'] as const;
export type JobState = (typeof JOB_STATES)[number];

/** The job as the chain's newest block has it; amounts in base units. */
export interface ChainJob {
  readonly id: JobId;
  readonly payer: Address;
  readonly signer: Address;
  /** Block time, seconds since 1970. */
  readonly expiry: number;
  /** All that was ever put in. */
  readonly deposit: bigint;
  readonly free: bigint;
  readonly reserved: bigint;
  readonly state: JobState;
}

export const TRANSACTION_KINDS = [
  'deployEscrow',
  'deployToken',
  'mint',
  'approve',
  'open',
  'topUp',
  'reserve',
  'settle',
  'refund',
] as const;
export type TransactionKind = (typeof TRANSACTION_KINDS)[number];

/**
 * `waiting`: not signed yet (behind another one, or gas is dearer than the ceiling). `sent`: signed, stored and broadcast.
 * `mined`: in a block that may still be reorganised. `confirmed`: final. `reverted`: in a block, without effect. `refused`: the
 * chain would not take it, so it was not sent. `replaced`: its nonce was used by another transaction of the account.
 */
export type TransactionState = OutboxStatus;

export interface ChainTransaction {
  /** Counts up; stays the same when a bump changes the hash. */
  readonly id: number;
  readonly kind: TransactionKind;
  readonly state: TransactionState;
  /** Null until it is signed. */
  readonly hash: Hash32 | null;
  readonly block: number | null;
  /** Base units that it moves; null where it moves none. */
  readonly amount: bigint | null;
  /** Wall clock of the request. */
  readonly atMs: number;
  /** Why it waits or failed; null when there is nothing to say. */
  readonly note: string | null;
}

export interface ChainStatus {
  readonly phase: ChainPhase;
  readonly problem: string | null;
  /** Two nodes contradict each other: nothing is signed. */
  readonly isDisputed: boolean;
  readonly network: ChainNetwork | null;
  readonly escrow: Address | null;
  readonly token: ChainToken | null;
  readonly job: ChainJob | null;
  /** Newest first, at most CHAIN_LIMITS.transactionsShown. */
  readonly transactions: readonly ChainTransaction[];
  /** Accounts that local workers may be paid to: well-known ones of a simulated chain, none elsewhere. */
  readonly localPayees: readonly Address[];
  /** The payer's key is at hand: reserve, settle, deposit, extend and refund work. */
  readonly canPay: boolean;
  /** What may be signed at most. */
  readonly limits: SpendLimits;
  /** When lanes are settled by themselves; null: when somebody asks. */
  readonly settling: SettleRule | null;
}

/** What the chain says of a lane, confirmed. */
export interface LaneOnChain {
  readonly job: JobId;
  readonly payee: Address;
  readonly cap: bigint;
  readonly paid: bigint;
}

/**
 * Promises reject with ChainError, and with nothing else. Those that name a transaction resolve with its id as soon as it
 * cannot be lost; calls are targets, not increments, so that asking again after a crash does nothing twice.
 */
export interface ChainService {
  status(): ChainStatus;
  /** @returns what ends it. */
  onChange(listener: (status: ChainStatus) => void): () => void;
  /** Told of every lane once after `ready`, then of each change. @returns what ends it. */
  onLane(listener: (lane: LaneOnChain) => void): () => void;

  /** Rejects when it would exceed a spend limit, or when the job is not this engine's. */
  signVoucher(voucher: Voucher): Promise<CompactSignature>;
  /** Whether the job's signer signed it: what a returning worker presents. */
  isOwnVoucher(voucher: SignedVoucher): Promise<boolean>;
  /** Whether the wallet of the claim signed it. */
  isHello(claim: Hello, signature: CompactSignature): Promise<boolean>;
  /** Signed by the job's signer: this CURVE key (Z85) serves this job. */
  signServer(serverKey: string): Promise<CompactSignature>;

  /** Raises caps to these; a lane that has or will have as much is left out. Null when there was nothing to do. */
  reserve(
    caps: readonly { readonly payee: Address; readonly cap: bigint }[],
  ): Promise<number | null>;
  /** Pays lanes up to these; one that is paid, or will be, is left out. Null when there was nothing to do. */
  settle(
    lanes: readonly { readonly payee: Address; readonly cumulative: bigint }[],
    ledgerHead: Hash32,
  ): Promise<number | null>;
  /** Adds to the deposit. */
  deposit(amount: bigint): Promise<number>;
  /** Moves the job's expiry to at least this; seconds since 1970. Null when it is there already. */
  extend(expiry: number): Promise<number | null>;
  /** Sends the payer what is free, and after the grace what is reserved. */
  refund(): Promise<number>;
  /** Counts from now on; stays until the engine ends. */
  setLimits(limits: SpendLimits): Promise<void>;

  /** What is asked for and not sent stays stored. Resolves when a simulated chain has written its state. */
  close(): Promise<void>;
}
