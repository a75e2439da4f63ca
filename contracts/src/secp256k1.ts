/**
 * @file Signatures over secp256k1 of 32-byte digests: the same bytes as any other implementation gives (RFC 6979), in constant
 * time. Knows no messages.
 */
import { keccak256 } from 'ethers';
import type { Address, Hash32 } from '@ravenlab/protocol';
import { CURVE } from './curve.js';

/** ERC-2098: r, and s with the parity of y in its highest bit. */
export interface CompactSignature {
  readonly r: Hash32;
  readonly vs: Hash32;
}

/** Half the order of secp256k1: the other half are the same signatures again, and contracts refuse them. */
const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;
const WORD_BYTES = 32;
const PARITY_BIT = 0x80;

/** @param privateKey 32 bytes */
export function signDigest(digest: Uint8Array, privateKey: Uint8Array): CompactSignature {
  const { signature, parity } = CURVE.sign(digest, privateKey);
  // An r beyond the order of the curve would need a third bit; nobody has ever seen one.
  if (parity > 1) throw new Error('a signature does not fit the compact form');
  const r = hexOf(signature.subarray(0, WORD_BYTES));
  const vs = signature.slice(WORD_BYTES);
  if (parity === 1) vs[0] = (vs[0] ?? 0) | PARITY_BIT;
  return { r, vs: hexOf(vs) };
}

/** Who signed the digest; null when it is no signature, or one that a contract would refuse. */
export function recoverDigest(digest: Uint8Array, { r, vs }: CompactSignature): Address | null {
  const signature = Buffer.from(r.slice(2) + vs.slice(2), 'hex');
  if (signature.length !== 2 * WORD_BYTES) return null;
  const parity = ((signature[WORD_BYTES] ?? 0) & PARITY_BIT) === 0 ? 0 : 1;
  signature[WORD_BYTES] = (signature[WORD_BYTES] ?? 0) & ~PARITY_BIT;
  if (BigInt(`0x${signature.toString('hex', WORD_BYTES)}`) > HALF_ORDER) return null;
  try {
    const key = CURVE.recover(digest, signature, parity);
    return key === null ? null : (`0x${keccak256(key.subarray(1)).slice(-40)}` as Address);
  } catch {
    // Not every pair of words is a point.
    return null;
  }
}

function hexOf(bytes: Uint8Array): Hash32 {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}` as Hash32;
}
