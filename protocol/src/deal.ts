/**
 * @file The deal between an engine and an invited worker: who the worker is paid as, on what terms, and each voucher. Plain
 * data: what is signed and who recovers it is the business of who has a curve. RFC 1 §3.1.
 */
import type { Address, Hash32, JobId, SignedVoucher } from './voucher.js';

/** A signature of secp256k1 in ERC-2098: r, and s with the parity of y in its highest bit. */
export interface Signature {
  readonly r: Hash32;
  readonly vs: Hash32;
}

// ---------------------------------------------------------------- who is it

/** Asks a worker that named a payee to prove that it is the payee. Single use, within LIMITS.challengeMs. */
export interface ChallengeMessage {
  readonly kind: 'challenge';
  /** Random; the engine takes it once. */
  readonly nonce: Hash32;
  /** Unix seconds of the engine's clock: a part of what is signed. When it ends is the engine's to measure. */
  readonly expiry: number;
  readonly chainId: number;
  readonly escrow: Address;
  /** CURVE public key of the engine, Z85. A worker MUST compare it with its invite's before it signs. */
  readonly serverKey: string;
}

/** The answer to CHALLENGE. */
export interface IdentifyMessage {
  readonly kind: 'identify';
  /** By the payee's key, over the struct Hello of both keys, nonce and expiry. */
  readonly signature: Signature;
  /** CURVE public key of this connection, Z85; in hex it is the workerId. */
  readonly clientKey: string;
}

// ---------------------------------------------------------------- on what terms

/**
 * What the worker is paid from, for and by. After WELCOME to those that have a payee, and again when cap, expiry or job
 * changes. Nothing here is to be believed before the chain says the same.
 */
export interface TermsMessage {
  readonly kind: 'terms';
  readonly chainId: number;
  readonly escrow: Address;
  readonly job: JobId;
  readonly payer: Address;
  /** Whose key signs the vouchers. */
  readonly signer: Address;
  readonly token: Address;
  /** For people. */
  readonly tokenSymbol: string;
  readonly decimals: number;
  /** Unix seconds by the clock of the chain. */
  readonly expiry: number;
  /** Base units reserved for this payee, and of these already paid out. */
  readonly cap: bigint;
  readonly paid: bigint;
  /** Base units per 10^9 floating point operations, and per MiB of inputs and outputs. */
  readonly perGflop: bigint;
  readonly perMib: bigint;
  /** A result is paid when this many younger ones of the worker have been accepted as well. */
  readonly holdbackUnits: number;
  /** By the signer's key, over the struct Server of the engine's CURVE key, escrow and job: this engine, and no other, works for the job. */
  readonly serverSignature: Signature;
}

/** The worker has checked the terms of this job on the chain and works for it; units are leased to it from now on. */
export interface AcceptMessage {
  readonly kind: 'accept';
  readonly job: JobId;
}

// ---------------------------------------------------------------- vouchers

/** What the worker may take from the escrow from now on, and for what. */
export interface VoucherMessage {
  readonly kind: 'voucher';
  readonly voucher: SignedVoucher;
  /** Receipts since the voucher before, oldest first, as `receiptLine` writes them: they hash to its ledgerHead. */
  readonly lines: readonly string[];
}

/** The worker has the voucher on its disk. */
export interface VoucherAckMessage {
  readonly kind: 'voucherAck';
  readonly job: JobId;
  readonly seq: number;
}

/** The last voucher that the worker holds of the job that TERMS named: the engine goes on from the later of the two. */
export interface PresentedMessage {
  readonly kind: 'presented';
  readonly voucher: SignedVoucher | null;
}
