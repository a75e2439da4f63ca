/** @file Int32 words in and out: the reader that trusts nothing and the writer that refuses what does not fit. No message layout. */
import { RavenError, RemoteProtocolError } from './errors.js';

/** What decoding gives: the value, or the reason why these bytes are not one. Decoders never throw on bytes. */
export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: RemoteProtocolError };

const TWO_32 = 2 ** 32;
const WORD_BYTES = Int32Array.BYTES_PER_ELEMENT;
const INITIAL_WORDS = 1_024;
/** What is written into is used again up to this length. */
const SPARE_WORDS = 16_384;
const NO_WORDS = new Int32Array(0);
const float = new Float64Array(1);
const floatWords = new Int32Array(float.buffer);

/** Runs a decoder whose refusals are thrown RemoteProtocolErrors, and returns them as values. */
export function decoded<T>(decode: () => T): Decoded<T> {
  try {
    return { ok: true, value: decode() };
  } catch (error) {
    if (error instanceof RemoteProtocolError) return { ok: false, error };
    throw error;
  }
}

/** Words of `bytes`, little-endian; copied only when the view is not aligned. @throws RemoteProtocolError */
export function wordsOf(bytes: Uint8Array, what: string): Int32Array {
  if (bytes.byteLength % 4 !== 0) {
    throw new RemoteProtocolError(
      `${what}: ${String(bytes.byteLength)} bytes are not a whole number of 4-byte words`,
    );
  }
  // Not slice(): that of a Node Buffer is a view of the same memory.
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  return new Int32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}

export function bytesOfWords(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** Reads words in order; every refusal names the field, what was expected and what was there. */
export class WordReader {
  readonly #words: Int32Array;
  readonly #what: string;
  #at = 0;

  constructor(words: Int32Array, what: string) {
    this.#words = words;
    this.#what = what;
  }

  get remaining(): number {
    return this.#words.length - this.#at;
  }

  refuse(message: string): never {
    throw new RemoteProtocolError(`${this.#what}: ${message}`);
  }

  /** Any int32. */
  int(field: string): number {
    const word = this.#words[this.#at];
    if (word === undefined) this.refuse(`ends before ${field}`);
    this.#at += 1;
    return word;
  }

  /** An integer in min … max. */
  range(field: string, min: number, max: number): number {
    const value = this.int(field);
    if (value < min || value > max) {
      this.refuse(`${field}: expected ${String(min)} … ${String(max)}, got ${String(value)}`);
    }
    return value;
  }

  /** A non-negative int32. */
  natural(field: string): number {
    return this.range(field, 0, 0x7fffffff);
  }

  /** Number of items that follow, `wordsEach` words each at least: refused before anything is allocated for them. */
  count(field: string, max: number, wordsEach: number): number {
    const count = this.range(field, 0, max);
    if (count * wordsEach > this.remaining) {
      this.refuse(`${field}: ${String(count)} announced, ${String(this.remaining)} words left`);
    }
    return count;
  }

  /** A safe integer ≥ 0 in two words, low first. */
  wide(field: string): number {
    const low = this.int(field) >>> 0;
    const value = this.int(field) * TWO_32 + low;
    if (!Number.isSafeInteger(value) || value < 0) {
      this.refuse(`${field}: expected an integer in 0 … 2^53-1, got ${String(value)}`);
    }
    return value;
  }

  /** A float64 in two words; NaN is refused, because it is not equal to itself. */
  float(field: string): number {
    const low = this.int(field);
    const high = this.int(field);
    floatWords[0] = low;
    floatWords[1] = high;
    const value = float[0] ?? NaN;
    if (Number.isNaN(value)) this.refuse(`${field}: NaN is not allowed`);
    return value;
  }

  flag(field: string): boolean {
    return this.range(field, 0, 1) === 1;
  }

  /** The entry of `table` that a code stands for. */
  code<T>(field: string, table: readonly T[]): T {
    const code = this.int(field);
    const entry = table[code];
    if (entry === undefined) this.refuse(`${field}: unknown code ${String(code)}`);
    return entry;
  }

  ints(field: string, max: number): number[] {
    const count = this.count(field, max, 1);
    return Array.from({ length: count }, () => this.int(field));
  }

  end(): void {
    if (this.remaining !== 0) this.refuse(`${String(this.remaining)} words after the end`);
  }
}

/** Memory of a writer that is through, for the next one: fresh memory costs a small message more than its words. */
let spare: Int32Array = new Int32Array(INITIAL_WORDS);

/** Collects words in a growing buffer of at most `maxWords`. Its refusals are the caller's mistakes, hence thrown. */
export class WordWriter {
  readonly #what: string;
  readonly #maxWords: number;
  #words: Int32Array;
  #at = 0;

  constructor(what: string, maxWords: number) {
    this.#what = what;
    this.#maxWords = maxWords;
    // One at a time: a writer within a writer, or after one that refused, begins with nothing.
    this.#words = spare.length <= maxWords ? spare : NO_WORDS;
    spare = NO_WORDS;
  }

  get length(): number {
    return this.#at;
  }

  refuse(message: string): never {
    throw new RavenError('limit', `${this.#what}: ${message}`, { fault: 'local' });
  }

  /** Makes room, so that the words that follow are bounds-checked once. */
  reserve(words: number): void {
    const needed = this.#at + words;
    if (needed <= this.#words.length) return;
    if (needed > this.#maxWords) {
      this.refuse(`more than ${String(this.#maxWords)} words; make it smaller or send it in parts`);
    }
    const wanted = Math.max(needed, this.#words.length * 2, INITIAL_WORDS);
    const grown = new Int32Array(Math.min(this.#maxWords, wanted));
    grown.set(this.#words.subarray(0, this.#at));
    this.#words = grown;
  }

  int(field: string, value: number): void {
    if ((value | 0) !== value) this.refuse(`${field}: ${String(value)} is not an int32`);
    this.reserve(1);
    this.#words[this.#at++] = value;
  }

  range(field: string, value: number, min: number, max: number): void {
    if (!(value >= min && value <= max)) {
      this.refuse(`${field}: expected ${String(min)} … ${String(max)}, got ${String(value)}`);
    }
    this.int(field, value);
  }

  natural(field: string, value: number): void {
    this.range(field, value, 0, 0x7fffffff);
  }

  wide(field: string, value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      this.refuse(`${field}: expected an integer in 0 … 2^53-1, got ${String(value)}`);
    }
    this.reserve(2);
    this.#words[this.#at++] = value | 0;
    this.#words[this.#at++] = Math.floor(value / TWO_32);
  }

  float(field: string, value: number): void {
    if (typeof value !== 'number' || Number.isNaN(value)) {
      this.refuse(`${field}: expected a number that is not NaN, got ${String(value)}`);
    }
    this.reserve(2);
    float[0] = value;
    this.#words[this.#at++] = floatWords[0] ?? 0;
    this.#words[this.#at++] = floatWords[1] ?? 0;
  }

  flag(field: string, value: boolean): void {
    if (typeof value !== 'boolean') this.refuse(`${field}: expected true or false`);
    this.int(field, value ? 1 : 0);
  }

  code<T>(field: string, value: T, table: readonly T[]): void {
    const code = table.indexOf(value);
    if (code < 0) this.refuse(`${field}: ${String(value)} has no code`);
    this.int(field, code);
  }

  ints(field: string, values: readonly number[], max: number): void {
    this.range(`${field} count`, values.length, 0, max);
    for (const value of values) this.int(field, value);
  }

  /** Overwrites a word written before, like a length that was not known then. */
  patch(at: number, value: number): void {
    if (at >= this.#at) this.refuse(`word ${String(at)} is not written yet`);
    this.#words[at] = value;
  }

  /** The words as bytes in memory of their own; the writer is empty then. */
  finish(): Uint8Array {
    const words = this.#words;
    const bytes = bytesOfWords(words).slice(0, this.#at * WORD_BYTES);
    this.#words = NO_WORDS;
    this.#at = 0;
    if (words.length <= SPARE_WORDS) spare = words;
    return bytes;
  }
}
