/**
 * @file EIP-712 signatures of an escrow: vouchers, releases, and who speaks for a wallet or a job. Domains and encoders are computed
 * once; signing is then one hash and one signature. Says who signed, never whether that was the right one.
 */
import { Signature, getBytes, hexlify } from 'ethers';
import type { Address, Hash32, JobId, TypedField, Voucher } from '@ravenlab/protocol';
import { ChainError, RELEASE_TYPES, VOUCHER_TYPES, escrowDomain } from '@ravenlab/protocol';
import type { Account } from './keystore.js';
import type { CompactSignature } from './secp256k1.js';
import { recoverDigest, signDigest } from './secp256k1.js';
import { typedDigest } from './typedData.js';
import { curveKeyWord } from './z85.js';

export type { CompactSignature } from './secp256k1.js';

export interface Release {
  readonly job: JobId;
  readonly payee: Address;
  readonly cap: bigint;
  /** The lane's. */
  readonly nonce: number;
}

/** A wallet answers an engine's challenge; `serverKey` is in it so that no engine can pass it on to another. */
export interface Hello {
  readonly wallet: Address;
  /** CURVE public keys, Z85. */
  readonly serverKey: string;
  readonly clientKey: string;
  /** The engine's; good for one answer. */
  readonly nonce: Hash32;
  /** Seconds since 1970. */
  readonly expiry: number;
}

/** A job's signer says that an engine's CURVE key works for the job. */
export interface ServerClaim {
  /** Z85. */
  readonly serverKey: string;
  readonly escrow: Address;
  readonly job: JobId;
}

export const HELLO_TYPES: { readonly Hello: readonly TypedField[] } = {
  Hello: [
    { name: 'wallet', type: 'address' },
    { name: 'serverKey', type: 'bytes32' },
    { name: 'clientKey', type: 'bytes32' },
    { name: 'nonce', type: 'bytes32' },
    { name: 'expiry', type: 'uint64' },
  ],
};

export const SERVER_TYPES: { readonly Server: readonly TypedField[] } = {
  Server: [
    { name: 'serverKey', type: 'bytes32' },
    { name: 'escrow', type: 'address' },
    { name: 'job', type: 'bytes32' },
  ],
};

/** One kind of message of one escrow. */
export interface Signed<T> {
  /** What is signed. */
  digest(message: T): Hash32;
  sign(message: T, account: Account): CompactSignature;
  /** Who signed this message; null when it is no signature, or one that a contract would refuse. */
  recover(message: T, signature: CompactSignature): Address | null;
}

export interface EscrowSignatures {
  readonly voucher: Signed<Voucher>;
  readonly release: Signed<Release>;
  readonly hello: Signed<Hello>;
  readonly server: Signed<ServerClaim>;
}

/** Everything that is signed for one escrow on one chain. */
export function escrowSignatures(chainId: number, escrow: Address): EscrowSignatures {
  const domain = escrowDomain(chainId, escrow);
  // A wallet that shows a signature request shows this name: whoever reads it knows that no money is promised.
  const helloDomain = { ...domain, name: 'Hello' };
  return {
    voucher: signed(domain, VOUCHER_TYPES, (voucher) => ({ ...voucher })),
    release: signed(domain, RELEASE_TYPES, (release) => ({ ...release })),
    hello: signed(helloDomain, HELLO_TYPES, (hello) => ({
      ...hello,
      serverKey: curveKeyWord(hello.serverKey),
      clientKey: curveKeyWord(hello.clientKey),
    })),
    server: signed(helloDomain, SERVER_TYPES, (claim) => ({
      ...claim,
      serverKey: curveKeyWord(claim.serverKey),
    })),
  };
}

type Domain = Readonly<Omit<ReturnType<typeof escrowDomain>, 'name'>> & { readonly name: string };

function signed<T>(
  domain: Domain,
  types: Readonly<Record<string, readonly TypedField[]>>,
  fieldsOf: (message: T) => Readonly<Record<string, string | number | bigint>>,
): Signed<T> {
  const [type] = Object.entries(types);
  if (type === undefined) throw new Error('there is no type to sign');
  const digestOf = typedDigest({ ...domain }, type);
  const keys = new WeakMap<Account, Uint8Array>();
  return {
    digest: (message) => hexlify(digestOf(fieldsOf(message))) as Hash32,
    sign: (message, account) => {
      let key = keys.get(account);
      if (key === undefined) keys.set(account, (key = getBytes(account.privateKey)));
      return signDigest(digestOf(fieldsOf(message)), key);
    },
    recover: (message, signature) => recoverDigest(digestOf(fieldsOf(message)), signature),
  };
}

/** A 65-byte signature, as wallets and `release` have it. */
export function longSignature({ r, vs }: CompactSignature): string {
  return Signature.from({ r, yParityAndS: vs }).serialized;
}

/** @throws ChainError when it is no signature of 64 or 65 bytes. */
export function compactSignature(signature: string): CompactSignature {
  try {
    const { r, yParityAndS } = Signature.from(signature);
    return { r: r as Hash32, vs: yParityAndS as Hash32 };
  } catch (cause) {
    throw new ChainError('a signature is 64 or 65 bytes of hex; this is none', { cause });
  }
}
