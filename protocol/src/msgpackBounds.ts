/**
 * @file What a hostile msgpack value could cost, found by walking its bytes before any decoder sees them. It knows the
 * format's lengths only (github.com/msgpack/msgpack/blob/master/spec.md); values are the decoder's job.
 */
import { RemoteProtocolError } from './errors.js';
import { LIMITS } from './limits.js';

/** What the bytes after a type byte are: a fixed number, text of a stated length, or values. */
type Layout =
  | { readonly kind: 'skip'; readonly bytes: number }
  | { readonly kind: 'text'; readonly sizeBytes: number }
  | { readonly kind: 'array' | 'map'; readonly sizeBytes: number };

const skip = (bytes: number): Layout => ({ kind: 'skip', bytes });

/** Type bytes 0xc0 … 0xdf; null is refused. Binary and extension types have no use here, and extensions make decoders create objects. */
const LAYOUTS: readonly (Layout | null)[] = [
  ...[skip(0), null, skip(0), skip(0)], // nil, (never used), false, true
  ...[null, null, null], // bin
  ...[null, null, null], // ext
  ...[skip(4), skip(8)], // float
  ...[skip(1), skip(2), skip(4), skip(8)], // uint
  ...[skip(1), skip(2), skip(4), skip(8)], // int
  ...[null, null, null, null, null], // fixext
  ...([1, 2, 4] as const).map((sizeBytes): Layout => ({ kind: 'text', sizeBytes })),
  ...([2, 4] as const).map((sizeBytes): Layout => ({ kind: 'array', sizeBytes })),
  ...([2, 4] as const).map((sizeBytes): Layout => ({ kind: 'map', sizeBytes })),
];
const FIRST_LAYOUT = 0xc0;
const FIRST_NEGATIVE = 0xe0;

/**
 * Accepts exactly one value of nil, booleans, numbers, text, arrays and maps with text keys within LIMITS.control*.
 * @throws RemoteProtocolError
 */
export function checkMsgpack(what: string, bytes: Uint8Array): void {
  if (bytes.byteLength > LIMITS.controlBytes) {
    throw new RemoteProtocolError(
      `${what}: ${String(bytes.byteLength)} bytes, at most ${String(LIMITS.controlBytes)}`,
    );
  }
  const walk = new Walk(what, bytes);
  walk.value(0);
  walk.end();
}

class Walk {
  readonly #what: string;
  readonly #bytes: Uint8Array;
  #at = 0;
  #values = 0;

  constructor(what: string, bytes: Uint8Array) {
    this.#what = what;
    this.#bytes = bytes;
  }

  value(depth: number): void {
    this.#values += 1;
    if (this.#values > LIMITS.controlValues) {
      this.#refuse(`more than ${String(LIMITS.controlValues)} values`);
    }
    const type = this.#unsigned(1);
    if (type < 0x80 || type >= FIRST_NEGATIVE) return;
    if (type < 0x90) this.#items(type & 0x0f, depth, true);
    else if (type < 0xa0) this.#items(type & 0x0f, depth, false);
    else if (type < FIRST_LAYOUT) this.#skip(type & 0x1f);
    else this.#layout(type, depth);
  }

  end(): void {
    if (this.#at !== this.#bytes.byteLength) {
      this.#refuse(`${String(this.#bytes.byteLength - this.#at)} bytes after the end`);
    }
  }

  #layout(type: number, depth: number): void {
    const layout = LAYOUTS[type - FIRST_LAYOUT] ?? null;
    if (layout === null) this.#refuse(`type 0x${type.toString(16)} is not allowed`);
    if (layout.kind === 'skip') this.#skip(layout.bytes);
    else if (layout.kind === 'text') this.#skip(this.#unsigned(layout.sizeBytes));
    else this.#items(this.#unsigned(layout.sizeBytes), depth, layout.kind === 'map');
  }

  #items(count: number, depth: number, isMap: boolean): void {
    if (depth >= LIMITS.controlDepth)
      this.#refuse(`nested deeper than ${String(LIMITS.controlDepth)}`);
    // Each item has a byte at least: a count beyond that is a lie, and decoders allocate by it.
    if (count * (isMap ? 2 : 1) > this.#bytes.byteLength - this.#at) {
      this.#refuse(
        `${String(count)} items announced, ${String(this.#bytes.byteLength - this.#at)} bytes left`,
      );
    }
    for (let i = 0; i < count; i++) {
      if (isMap) this.#key();
      this.value(depth + 1);
    }
  }

  #key(): void {
    const type = this.#unsigned(1);
    const layout = LAYOUTS[type - FIRST_LAYOUT] ?? null;
    if (type >= 0xa0 && type < FIRST_LAYOUT) this.#skip(type & 0x1f);
    else if (layout?.kind === 'text') this.#skip(this.#unsigned(layout.sizeBytes));
    else this.#refuse('map keys must be text');
  }

  /** Big-endian, as msgpack is. */
  #unsigned(sizeBytes: number): number {
    const start = this.#at;
    this.#skip(sizeBytes);
    let value = 0;
    for (let i = start; i < start + sizeBytes; i++) value = value * 256 + (this.#bytes[i] ?? 0);
    return value;
  }

  #skip(bytes: number): void {
    if (bytes > this.#bytes.byteLength - this.#at) {
      this.#refuse(
        `ends at byte ${String(this.#bytes.byteLength)}, ${String(bytes)} more are needed`,
      );
    }
    this.#at += bytes;
  }

  #refuse(message: string): never {
    throw new RemoteProtocolError(`${this.#what}: malformed msgpack: ${message}`);
  }
}
