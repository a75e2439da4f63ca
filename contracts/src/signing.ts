/**
 * @file EIP-712 signatures of an escrow: vouchers, releases, and who speaks for a wallet or a job. Domains and encoders are computed
 * once; signing is then one hash and one signature. Says who signed, never whether that was the right one.
 */
import { Signature, SigningKey, TypedDataEncoder, concat, keccak256, recoverAddress } from 'ethers';
import type { Address, Hash32, JobId, TypedField, Voucher } from '@ravenlab/protocol';
import { ChainError, RELEASE_TYPES, VOUCHER_TYPES, escrowDomain } from '@ravenlab/protocol';
import type { Account } from './keystore.js';
import { curveKeyWord } from './z85.js';

/** ERC-2098: r, and s with the parity of y in its highest bit. */
export interface CompactSignature {
  readonly r: Hash32;
  readonly vs: Hash32;
}

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

/** Half the order of secp256k1: the other half are the same signatures again, and contracts refuse them. */
const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;
const PARITY = 1n << 255n;

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
  fieldsOf: (message: T) => Record<string, unknown>,
): Signed<T> {
  // Ethers wants lists that it may change.
  const own = Object.entries(types).map(([name, fields]) => [name, fields.map((f) => ({ ...f }))]);
  const encoder = TypedDataEncoder.from(Object.fromEntries(own) as ConstructorArgument);
  const prefix = concat(['0x1901', TypedDataEncoder.hashDomain({ ...domain })]);
  const keys = new WeakMap<Account, SigningKey>();
  const digest = (message: T): Hash32 =>
    keccak256(concat([prefix, encoder.hash(fieldsOf(message))])) as Hash32;
  return {
    digest,
    sign: (message, account) => {
      let key = keys.get(account);
      if (key === undefined) keys.set(account, (key = new SigningKey(account.privateKey)));
      const { r, yParityAndS } = key.sign(digest(message));
      return { r: r as Hash32, vs: yParityAndS as Hash32 };
    },
    recover: (message, signature) => recovered(digest(message), signature),
  };
}

type ConstructorArgument = Parameters<typeof TypedDataEncoder.from>[0];

function recovered(digest: string, { r, vs }: CompactSignature): Address | null {
  try {
    const s = BigInt(vs) & (PARITY - 1n);
    if (s > HALF_ORDER) return null;
    const signature = Signature.from({ r, yParityAndS: vs });
    return recoverAddress(digest, signature).toLowerCase() as Address;
  } catch {
    // Not every pair of words is a point.
    return null;
  }
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
