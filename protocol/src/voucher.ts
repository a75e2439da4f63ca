/**
 * @file Vouchers: what an engine promises a worker, as it is signed (EIP-712) and as it travels. RFC 3 §3 and §4. Signing
 * and recovering are done by who has a curve; nothing here is a secret or needs one.
 */
import type { Branded } from './ids.js';
import { VOUCHER_LIMITS } from './limits.js';
import type { Fields, Reader } from './read.js';
import { count, record, reject } from './read.js';
import type { Decoded } from './words.js';
import { decoded } from './words.js';

/** Account or contract of an EVM chain: 0x and 40 lower-case hex digits, so that equal accounts are equal strings. */
export type Address = Branded<string, 'Address'>;
/** 32 bytes: 0x and 64 lower-case hex digits. */
export type Hash32 = Branded<string, 'Hash32'>;
/** Job of an escrow: keccak256(chain id, escrow, payer, salt), so that it names its chain and its contract too. */
export type JobId = Branded<string, 'JobId'>;

/** The contract's name and version in every signature; a new version of either is a new escrow. */
export const ESCROW_NAME = 'LaneEscrow';
export const ESCROW_VERSION = '1';

/** EIP-712 domain: a signature for one chain and one escrow is worth nothing in another. */
export interface EscrowDomain {
  readonly name: typeof ESCROW_NAME;
  readonly version: typeof ESCROW_VERSION;
  readonly chainId: number;
  readonly verifyingContract: Address;
}

export function escrowDomain(chainId: number, escrow: Address): EscrowDomain {
  return { name: ESCROW_NAME, version: ESCROW_VERSION, chainId, verifyingContract: escrow };
}

/** A field of an EIP-712 struct; order is part of the hash. */
export interface TypedField {
  readonly name: string;
  readonly type: string;
}

/** Signed by the job's signer. */
export const VOUCHER_TYPES: { readonly Voucher: readonly TypedField[] } = {
  Voucher: [
    { name: 'job', type: 'bytes32' },
    { name: 'payee', type: 'address' },
    { name: 'cumulative', type: 'uint128' },
    { name: 'seq', type: 'uint64' },
    { name: 'ledgerHead', type: 'bytes32' },
  ],
};

/** Signed by a payee: its lane may shrink to `cap`, if its cap has not changed since. */
export const RELEASE_TYPES: { readonly Release: readonly TypedField[] } = {
  Release: [
    { name: 'job', type: 'bytes32' },
    { name: 'payee', type: 'address' },
    { name: 'cap', type: 'uint128' },
    { name: 'nonce', type: 'uint32' },
  ],
};

/** `payee` has earned `cumulative` of `job` in all; each voucher replaces those before it. */
export interface Voucher {
  readonly job: JobId;
  readonly payee: Address;
  /** Base units; never less than in an earlier voucher of the lane. */
  readonly cumulative: bigint;
  /** Counts up by one within a lane, from 1. */
  readonly seq: number;
  /** Hash of the lane's last receipt that `cumulative` pays for. */
  readonly ledgerHead: Hash32;
}

export interface SignedVoucher extends Voucher {
  /** ERC-2098: r, and s with the parity of y in its highest bit. */
  readonly r: Hash32;
  readonly vs: Hash32;
}

/** A voucher in a control message: money is a decimal string, because no number of JSON holds it. */
export type WireVoucher = Readonly<
  Record<'job' | 'payee' | 'cumulative' | 'ledgerHead' | 'r' | 'vs', string>
> & { readonly seq: number };

const DECIMAL = /^(0|[1-9][0-9]*)$/;

/** Lower-case hex of exactly `bytes` bytes, with 0x. */
function hex<T extends string>(bytes: number): Reader<T> {
  const pattern = new RegExp(`^0x[0-9a-f]{${String(bytes * 2)}}$`);
  return (value, path) =>
    typeof value === 'string' && pattern.test(value)
      ? (value as T)
      : reject(path, `0x and ${String(bytes * 2)} lower-case hex digits`, value);
}

/** A decimal string of at most `max`; its length is looked at before it is a number. */
export function baseUnits(max: bigint): Reader<bigint> {
  const digits = max.toString().length;
  return (value, path) => {
    const isDecimal = typeof value === 'string' && value.length <= digits && DECIMAL.test(value);
    if (!isDecimal) return reject(path, `base units of at most ${String(digits)} digits`, value);
    const amount = BigInt(value);
    return amount <= max ? amount : reject(path, `at most ${max.toString()} base units`, value);
  };
}

export const addressReader: Reader<Address> = hex(20);
export const hash32Reader: Reader<Hash32> = hex(32);
export const jobIdReader: Reader<JobId> = hex(32);

const FIELDS: Fields<SignedVoucher> = {
  job: jobIdReader,
  payee: addressReader,
  cumulative: baseUnits(VOUCHER_LIMITS.laneAmount),
  seq: count(),
  ledgerHead: hash32Reader,
  r: hash32Reader,
  vs: hash32Reader,
};

export function encodeVoucher(voucher: SignedVoucher): WireVoucher {
  const { job, payee, cumulative, seq, ledgerHead, r, vs } = voucher;
  return { job, payee, cumulative: cumulative.toString(), seq, ledgerHead, r, vs };
}

/** A well-formed voucher, bounded; unknown fields are dropped. */
export const voucherReader: Reader<SignedVoucher> = record(FIELDS);

/** A voucher from a peer: well-formed and bounded, which says nothing of who signed it. Unknown fields are dropped. */
export function decodeVoucher(value: unknown): Decoded<SignedVoucher> {
  return decoded(() => voucherReader(value, 'voucher'));
}
