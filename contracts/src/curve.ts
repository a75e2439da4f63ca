/**
 * @file libsecp256k1: as machine code where its package has some for this system, a quarter of the time of WebAssembly; else as
 * that. Both give the same bytes.
 */
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { recover, signRecoverable } from 'tiny-secp256k1';

export interface Curve {
  /** @param key 32 bytes. @returns 64 bytes, and which of the points with this r it is. */
  sign(
    digest: Uint8Array,
    key: Uint8Array,
  ): { readonly signature: Uint8Array; readonly parity: number };
  /** The signer's public key, 65 bytes; null when there is none. @throws Error when r or s is no number of the curve. */
  recover(digest: Uint8Array, signature: Uint8Array, parity: 0 | 1): Uint8Array | null;
}

/** What is used of the package. */
interface Bindings {
  /** Blinds what follows: nothing about a key shows in its time or power. */
  contextRandomize(seed: Uint8Array): void;
  ecdsaSign(
    digest: Uint8Array,
    key: Uint8Array,
  ): { readonly signature: Uint8Array; readonly recid: number };
  ecdsaRecover(
    signature: Uint8Array,
    parity: number,
    digest: Uint8Array,
    isCompressed: boolean,
  ): Uint8Array;
}

const SEED_BYTES = 32;

export const WASM_CURVE: Curve = {
  sign: (digest, key) => {
    const { signature, recoveryId } = signRecoverable(digest, key);
    return { signature, parity: recoveryId };
  },
  recover: (digest, signature, parity) => recover(digest, signature, parity, false),
};

/** Null where there is no machine code for this system. The package's own way out, a library in JavaScript, is never loaded. */
export function nativeCurve(): Curve | null {
  let bindings: Bindings;
  try {
    bindings = createRequire(import.meta.url)('secp256k1/bindings') as Bindings;
    bindings.contextRandomize(randomBytes(SEED_BYTES));
  } catch {
    return null;
  }
  return {
    sign: (digest, key) => {
      const { signature, recid } = bindings.ecdsaSign(digest, key);
      return { signature, parity: recid };
    },
    recover: (digest, signature, parity) => bindings.ecdsaRecover(signature, parity, digest, false),
  };
}

export const CURVE: Curve = nativeCurve() ?? WASM_CURVE;
