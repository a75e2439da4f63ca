/** @file Both builds of libsecp256k1 give the same bytes, and find the same signers. */
import { createHash } from 'node:crypto';
import { WASM_CURVE, nativeCurve } from '../../../contracts/src/curve.js';
import type { Curve } from '../../../contracts/src/curve.js';

const sha256 = (text: string): Uint8Array => createHash('sha256').update(text).digest();
const KEYS = Array.from({ length: 8 }, (_, i) => sha256(`key ${String(i)}`));
const DIGESTS = Array.from({ length: 25 }, (_, i) => sha256(`digest ${String(i)}`));
/** Where the package has machine code; the tests run on such systems only, the worker on others too. */
const HAS_NATIVE = ['linux-x64', 'darwin-arm64', 'win32-x64'].includes(
  `${process.platform}-${process.arch}`,
);

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const signed = (curve: Curve): string[] =>
  KEYS.flatMap((key) =>
    DIGESTS.map((digest) => {
      const { signature, parity } = curve.sign(digest, key);
      return `${hex(signature)} ${String(parity)}`;
    }),
  );

test('machine code is found where there is some', () => {
  expect(nativeCurve() !== null).toBe(HAS_NATIVE);
});

test('both sign with the same bytes and recover the same keys', () => {
  const native = nativeCurve() ?? WASM_CURVE;
  expect(signed(native)).toEqual(signed(WASM_CURVE));
  const [key = new Uint8Array(32)] = KEYS;
  const owners = new Set<string>();
  for (const digest of DIGESTS) {
    const { signature, parity } = native.sign(digest, key);
    for (const curve of [native, WASM_CURVE]) {
      owners.add(hex(curve.recover(digest, signature, parity === 0 ? 0 : 1) ?? new Uint8Array()));
    }
  }
  expect(owners.size).toBe(1);
  expect([...owners][0]).toMatch(/^04[0-9a-f]{128}$/);
});

test.each([
  ['zeros', new Uint8Array(64)],
  ['more than the order of the curve', new Uint8Array(64).fill(0xff)],
  ['no point', Uint8Array.from({ length: 64 }, (_, i) => (i === 31 || i === 63 ? 5 : 0))],
])('a signature of %s has no signer', (_what, signature) => {
  const digest = DIGESTS[0] ?? new Uint8Array(32);
  for (const curve of [nativeCurve() ?? WASM_CURVE, WASM_CURVE]) {
    const found = (): Uint8Array | null => {
      try {
        return curve.recover(digest, signature, 0);
      } catch {
        return null;
      }
    };
    expect(found()).toBeNull();
  }
});
