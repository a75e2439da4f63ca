/**
 * @file Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers, SC 2011). A
 * value is a pure function of key, stream and index, so that any machine makes the same bits. Not for secrets.
 */

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
/** Weyl increments of the key, ⌊2³²·(golden ratio - 1)⌋ and ⌊2³²·(√3 - 1)⌋. */
const WEYL_0 = 0x9e3779b9 | 0;
const WEYL_1 = 0xbb67ae85 | 0;
const ROUNDS = 10;
const LANES = 4;
const TAIL = LANES - 1;
/** 24 bits fill the significand of a float32: every value is exact and below 1. */
const UNIT = 2 ** -24;
const UNUSED_BITS = 8;

const HIGH_0 = MULTIPLIER_0 >>> 16;
const LOW_0 = MULTIPLIER_0 & 0xffff;
const HIGH_1 = MULTIPLIER_1 >>> 16;
const LOW_1 = MULTIPLIER_1 & 0xffff;

/** What stays fixed while the first counter word runs: key and the three upper counter words, int32 each. */
interface PhiloxState {
  readonly k0: number;
  readonly k1: number;
  readonly c1: number;
  readonly c2: number;
  readonly c3: number;
}

/**
 * Writes blocks `firstBlock …` until `out` is full; its length must be a multiple of 4.
 * The high half of a product is built from 16-bit halves, as JavaScript has no 32 × 32 → 64 multiplication.
 */
function fillWords(state: PhiloxState, firstBlock: number, out: Int32Array): void {
  for (let at = 0, block = firstBlock | 0; at < out.length; at += LANES, block = (block + 1) | 0) {
    let c0 = block;
    let { c1, c2, c3, k0, k1 } = state;
    for (let round = 0; round < ROUNDS; round++) {
      const a = c0 >>> 16;
      const b = c0 & 0xffff;
      const middle0 = (Math.imul(a, LOW_0) + (Math.imul(b, LOW_0) >>> 16)) | 0;
      const cross0 = (Math.imul(b, HIGH_0) + (middle0 & 0xffff)) | 0;
      const high0 = (Math.imul(a, HIGH_0) + (middle0 >>> 16) + (cross0 >>> 16)) | 0;
      const d = c2 >>> 16;
      const e = c2 & 0xffff;
      const middle1 = (Math.imul(d, LOW_1) + (Math.imul(e, LOW_1) >>> 16)) | 0;
      const cross1 = (Math.imul(e, HIGH_1) + (middle1 & 0xffff)) | 0;
      const high1 = (Math.imul(d, HIGH_1) + (middle1 >>> 16) + (cross1 >>> 16)) | 0;
      const low0 = Math.imul(c0, MULTIPLIER_0);
      c0 = high1 ^ c1 ^ k0;
      c1 = Math.imul(c2, MULTIPLIER_1);
      c2 = high0 ^ c3 ^ k1;
      c3 = low0;
      k0 = (k0 + WEYL_0) | 0;
      k1 = (k1 + WEYL_1) | 0;
    }
    out[at] = c0;
    out[at + 1] = c1;
    out[at + 2] = c2;
    out[at + 3] = c3;
  }
}

/** Four random words of one counter and key: the bare Philox4x32-10, for tests against published vectors. */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): Int32Array {
  const [c0, c1, c2, c3] = counter;
  const out = new Int32Array(LANES);
  fillWords({ k0: key[0], k1: key[1], c1, c2, c3 }, c0, out);
  return out;
}

/**
 * `length` float32 values in [0, 1), multiples of 2⁻²⁴. Element i is lane `i mod 4` of the block with counter
 * (⌊i/4⌋, stream, step, micro-shard) and key (seed low, seed high), its upper 24 bits.
 * @param key int32[4] = (seed low, seed high, step, micro-shard), as the input of op `randomUniform`
 * @param stream distinguishes the draws of one program; an int32
 * @param out filled from its start when given
 * @throws RangeError when `key` has not four words or `out` is too short: a caller's mistake
 */
export function uniform(
  key: Int32Array,
  stream: number,
  length: number,
  out: Float32Array = new Float32Array(length),
): Float32Array {
  const [k0, k1, step, shard, ...rest] = key;
  if (
    k0 === undefined ||
    k1 === undefined ||
    step === undefined ||
    shard === undefined ||
    rest.length > 0
  ) {
    throw new RangeError(`a key has 4 words, got ${String(key.length)}`);
  }
  if (out.length < length) {
    throw new RangeError(`out holds ${String(out.length)} values, ${String(length)} are asked for`);
  }
  const state = { k0, k1, c1: stream | 0, c2: step, c3: shard };
  const whole = length & ~TAIL;
  // Words are made in the memory of the result and turned into floats there.
  const words = new Int32Array(out.buffer, out.byteOffset, whole);
  fillWords(state, 0, words);
  for (let i = 0; i < whole; i++) out[i] = ((words[i] ?? 0) >>> UNUSED_BITS) * UNIT;
  if (whole < length) {
    const last = new Int32Array(LANES);
    fillWords(state, whole / LANES, last);
    for (let i = whole; i < length; i++) {
      out[i] = ((last[i - whole] ?? 0) >>> UNUSED_BITS) * UNIT;
    }
  }
  return out;
}
