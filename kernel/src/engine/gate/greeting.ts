/** @file How a ZMTP 3 peer with CURVE begins (rfc.zeromq.org/spec/23): told from anything else before any library sees it. */

/** Signature, version, mechanism, as-server, filler. */
export const GREETING_BYTES = 64;
/** A peer sends this much before it hears anything. */
export const SIGNATURE_BYTES = 10;
const MAJOR_AT = 10;
const MECHANISM_AT = 12;
const AS_SERVER_AT = 32;
const MAJOR_MIN = 3;
const MECHANISM = Buffer.from('CURVE'.padEnd(AS_SERVER_AT - MECHANISM_AT, '\0'), 'latin1');

/** Whether bytes `at …` of a peer, of which the greeting's part is looked at, may be those of a CURVE client. */
export function mayGreet(bytes: Uint8Array, at: number): boolean {
  const end = Math.min(bytes.length, GREETING_BYTES - at);
  for (let i = 0; i < end; i++) if (!fits(bytes[i] ?? 0, at + i)) return false;
  return true;
}

function fits(byte: number, at: number): boolean {
  if (at === 0) return byte === 0xff;
  if (at === SIGNATURE_BYTES - 1) return byte === 0x7f;
  if (at === MAJOR_AT) return byte >= MAJOR_MIN && byte < 0x20;
  if (at >= MECHANISM_AT && at < AS_SERVER_AT) return byte === MECHANISM[at - MECHANISM_AT];
  return at !== AS_SERVER_AT || byte === 0;
}

/** ZMTP: length of a frame's header, and what CURVE adds to its body (nonce, box and flags of a MESSAGE). */
const SHORT_HEADER_BYTES = 2;
const LONG_HEADER_BYTES = 9;
const SHORT_MAX = 255;
const CURVE_BYTES = 33;

/** Bytes that these frames took on the wire. */
export function wireBytes(frames: readonly Uint8Array[]): number {
  let total = 0;
  for (const { byteLength } of frames) {
    const body = byteLength + CURVE_BYTES;
    total += body + (body > SHORT_MAX ? LONG_HEADER_BYTES : SHORT_HEADER_BYTES);
  }
  return total;
}
