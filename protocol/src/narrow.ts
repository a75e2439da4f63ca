/**
 * @file float32 in fewer bytes, for sums on their way: bfloat16, float16, and int8 with a scale for each chunk. Which tensors
 * travel so is not its business. Every value is rounded to the nearest that the format holds, ties to even, by integer
 * arithmetic and exact products only: the same bits on every machine. What is rounded once is not changed by rounding it again.
 */

/** What the gradients of a run travel as. Order is wire contract. */
export const WIRE_FORMATS = ['float32', 'bfloat16', 'float16', 'int8'] as const;
export type WireFormat = (typeof WIRE_FORMATS)[number];
export type NarrowFormat = Exclude<WireFormat, 'float32'>;

export interface NarrowRow {
  /** From one value to the next, as a share of the larger of them; for int8 of the largest in its chunk. */
  readonly step: number;
  sizeBytes(elements: number): number;
  /** Each value becomes the nearest that the format holds; too large ones infinity, in int8 a whole chunk NaN. */
  round(values: Float32Array): void;
  /** Rounds while it writes. @param bytes `sizeBytes` of them */
  encode(values: Float32Array, bytes: Uint8Array): void;
  /** Total: all bytes mean something. @param bytes `sizeBytes` of them */
  decode(bytes: Uint8Array, values: Float32Array): void;
}

const FLOAT32_BYTES = 4;
const INFINITY_BITS = 0x7f80_0000;
const SIZE_BITS = 0x7fff_ffff;

/** The bits of float32 values; the loops below want integers. */
function bitsOf({ buffer, byteOffset, length }: Float32Array): Int32Array {
  return new Int32Array(buffer, byteOffset, length);
}

/** 16-bit words over bytes, or over a copy where they lie at an odd place; `store` writes a copy back. */
function wordsOf(bytes: Uint8Array): { readonly words: Uint16Array; readonly store: () => void } {
  const isEven = bytes.byteOffset % 2 === 0;
  const { buffer, byteOffset, byteLength } = isEven ? bytes : bytes.slice();
  const words = new Uint16Array(buffer, byteOffset, byteLength >> 1);
  const store = (): void => {
    if (!isEven) bytes.set(new Uint8Array(buffer, byteOffset, byteLength));
  };
  return { words, store };
}

// ── bfloat16: the upper half of a float32 ──────────────────────────────────────────────────────────────────────────

/** Upper 16 bits, rounded; a NaN stays one though its lower half goes. */
function bfloat16Of(bits: number): number {
  if ((bits & SIZE_BITS) > INFINITY_BITS) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

const BFLOAT16: NarrowRow = {
  step: 2 ** -7,
  sizeBytes: (elements) => 2 * elements,
  round: (values) => {
    const bits = bitsOf(values);
    for (let i = 0; i < bits.length; i++) bits[i] = bfloat16Of(bits[i] ?? 0) << 16;
  },
  encode: (values, bytes) => {
    const bits = bitsOf(values);
    const { words, store } = wordsOf(bytes);
    for (let i = 0; i < bits.length; i++) words[i] = bfloat16Of(bits[i] ?? 0);
    store();
  },
  decode: (bytes, values) => {
    const bits = bitsOf(values);
    const { words } = wordsOf(bytes);
    for (let i = 0; i < bits.length; i++) bits[i] = (words[i] ?? 0) << 16;
  },
};

// ── float16: 5 bits of exponent, 10 of fraction ────────────────────────────────────────────────────────────────────

/** 65520, from where on infinity is nearer than 65504; 2^-14, the smallest normal one. */
const HALF_OVERFLOW_BITS = 0x477f_f000;
const HALF_NORMAL_BITS = 0x3880_0000;
/** From the exponent of a float32 to that of a float16. */
const REBIAS = (127 - 15) << 23;
const TWO_24 = 2 ** 24;
/** In float64: what is added and taken away again leaves an integer, ties to even. */
const TO_INTEGER = 1.5 * 2 ** 52;

function float16Of(bits: number, value: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & SIZE_BITS;
  if (size >= HALF_OVERFLOW_BITS) return sign | (size > INFINITY_BITS ? 0x7e00 : 0x7c00);
  if (size >= HALF_NORMAL_BITS)
    return sign | ((size - REBIAS + 0xfff + ((size >>> 13) & 1)) >>> 13);
  // Multiples of 2^-24; the one after the largest is the smallest normal one, also in its bits.
  return sign | (Math.abs(value) * TWO_24 + TO_INTEGER - TO_INTEGER);
}

/** Bits of the float32 that a float16 is. */
function float32BitsOf(half: number): number {
  const sign = (half & 0x8000) << 16;
  const size = half & 0x7fff;
  if (size >= 0x7c00) return sign | INFINITY_BITS | ((size & 0x3ff) << 13);
  if (size >= 0x400) return sign | ((size << 13) + REBIAS);
  if (size === 0) return sign;
  // size · 2^-24, with the leading one where a float32 does not write it.
  const exponent = 31 - Math.clz32(size);
  return sign | ((exponent - 24 + 127) << 23) | ((size << (23 - exponent)) & 0x7f_ffff);
}

const FLOAT16: NarrowRow = {
  step: 2 ** -10,
  sizeBytes: (elements) => 2 * elements,
  round: (values) => {
    const bits = bitsOf(values);
    for (let i = 0; i < bits.length; i++)
      bits[i] = float32BitsOf(float16Of(bits[i] ?? 0, values[i] ?? 0));
  },
  encode: (values, bytes) => {
    const bits = bitsOf(values);
    const { words, store } = wordsOf(bytes);
    for (let i = 0; i < bits.length; i++) words[i] = float16Of(bits[i] ?? 0, values[i] ?? 0);
    store();
  },
  decode: (bytes, values) => {
    const bits = bitsOf(values);
    const { words } = wordsOf(bytes);
    for (let i = 0; i < bits.length; i++) bits[i] = float32BitsOf(words[i] ?? 0);
  },
};

// ── int8: one exponent for 256 values, then a signed byte each ─────────────────────────────────────────────────────

const CHUNK = 256;
/** A chunk of this exponent is all NaN. */
const NOT_FINITE = 127;
/** The smallest exponent: its power of two is still a normal float32. */
const MIN_EXPONENT = -126;
/** 127 = 1.984375 · 2^6: the fraction bits of the largest value that 127 steps reach. */
const LARGEST_FRACTION = 0x7e_0000;
/** 127 · 2^121. */
const INT8_LARGEST_BITS = 0x7f7e_0000;

/** 2^e for an exponent byte e, at e + 128. */
const POWERS = Float64Array.from({ length: 256 }, (_, i) => 2 ** (i - 128));

/** The smallest e with max |value| ≤ 127 · 2^e. A power of two keeps what is a multiple of it exact, so rounding twice changes nothing. */
function exponentOf(bits: Int32Array, start: number, end: number): number {
  let largest = 0;
  for (let i = start; i < end; i++) largest = Math.max(largest, (bits[i] ?? 0) & SIZE_BITS);
  // From where on 64 steps would be infinity.
  if (largest > INT8_LARGEST_BITS) return NOT_FINITE;
  const exponent = (largest >>> 23) - 127 - 6;
  return Math.max(MIN_EXPONENT, (largest & 0x7f_ffff) > LARGEST_FRACTION ? exponent + 1 : exponent);
}

const INT8: NarrowRow = {
  step: 2 ** -6,
  sizeBytes: (elements) => elements + Math.ceil(elements / CHUNK),
  round: (values) => {
    const bits = bitsOf(values);
    for (let start = 0; start < values.length; start += CHUNK) {
      const end = Math.min(values.length, start + CHUNK);
      const exponent = exponentOf(bits, start, end);
      if (exponent === NOT_FINITE) values.fill(NaN, start, end);
      else roundChunk(values, start, end, exponent);
    }
  },
  encode: (values, bytes) => {
    const bits = bitsOf(values);
    const { exponents, steps } = partsOf(bytes, values.length);
    for (let start = 0, chunk = 0; start < values.length; start += CHUNK, chunk++) {
      const end = Math.min(values.length, start + CHUNK);
      const exponent = exponentOf(bits, start, end);
      exponents[chunk] = exponent;
      const inverse = exponent === NOT_FINITE ? 0 : (POWERS[128 - exponent] ?? 0);
      for (let i = start; i < end; i++)
        steps[i] = inverse === 0 ? 0 : (values[i] ?? 0) * inverse + TO_INTEGER - TO_INTEGER;
    }
  },
  decode: (bytes, values) => {
    const { exponents, steps } = partsOf(bytes, values.length);
    for (let start = 0, chunk = 0; start < values.length; start += CHUNK, chunk++) {
      const end = Math.min(values.length, start + CHUNK);
      const exponent = exponents[chunk] ?? 0;
      const scale = exponent === NOT_FINITE ? NaN : (POWERS[exponent + 128] ?? 0);
      for (let i = start; i < end; i++) values[i] = (steps[i] ?? 0) * scale;
    }
  },
};

function roundChunk(values: Float32Array, start: number, end: number, exponent: number): void {
  const scale = POWERS[exponent + 128] ?? 0;
  const inverse = POWERS[128 - exponent] ?? 0;
  for (let i = start; i < end; i++)
    values[i] = ((values[i] ?? 0) * inverse + TO_INTEGER - TO_INTEGER) * scale;
}

/** All exponents, then all steps. */
function partsOf(
  { buffer, byteOffset }: Uint8Array,
  elements: number,
): { readonly exponents: Int8Array; readonly steps: Int8Array } {
  const chunks = Math.ceil(elements / CHUNK);
  return {
    exponents: new Int8Array(buffer, byteOffset, chunks),
    steps: new Int8Array(buffer, byteOffset + chunks, elements),
  };
}

/** Bytes of a tensor of `sizeBytes` that travels as `format`; the same for 'float32', and for what is no float32. */
export function wireBytes(sizeBytes: number, format: WireFormat | 'first'): number {
  const row = narrowRow(format);
  return row === null ? sizeBytes : row.sizeBytes(sizeBytes / FLOAT32_BYTES);
}

/** Null where values travel as they are. */
export function narrowRow(format: WireFormat | 'first'): NarrowRow | null {
  return format === 'first' || format === 'float32' ? null : NARROW[format];
}

export const NARROW: Readonly<Record<NarrowFormat, NarrowRow>> = {
  bfloat16: BFLOAT16,
  float16: FLOAT16,
  int8: INT8,
};
