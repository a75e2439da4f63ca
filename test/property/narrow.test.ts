/**
 * @file float32 in fewer bytes: nearest value with ties to even, in place and on the wire alike, and every byte string is read
 * without harm. The nearest values are found here by search in float64, not by the arithmetic that is tested.
 */
import fc from 'fast-check';
import type { NarrowFormat } from '../../protocol/src/index.js';
import { NARROW } from '../../protocol/src/index.js';

const FORMATS = Object.keys(NARROW) as NarrowFormat[];
const RUNS = { numRuns: 300 };

const anyFloat = fc.oneof(
  fc.float(),
  // As many of each exponent, subnormal ones and those at the edges too.
  fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }).map((bits) => {
    return new Float32Array(Int32Array.of(bits).buffer)[0] ?? 0;
  }),
  fc.constantFrom(65504, 65519.996, 65520, 2 ** -14, 2 ** -24, 2 ** -25, 1.5 * 2 ** -24, -0),
);
const finiteFloat = anyFloat.filter(Number.isFinite);
const floats = (value: fc.Arbitrary<number>) =>
  fc.array(value, { maxLength: 700 }).map((values) => Float32Array.from(values));

function rounded(format: NarrowFormat, values: Float32Array): Float32Array {
  const copy = values.slice();
  NARROW[format].round(copy);
  return copy;
}

function sent(format: NarrowFormat, values: Float32Array, offset = 0): Float32Array {
  const { sizeBytes, encode, decode } = NARROW[format];
  const bytes = new Uint8Array(offset + sizeBytes(values.length)).subarray(offset);
  encode(values, bytes);
  const back = new Float32Array(values.length);
  decode(bytes, back);
  return back;
}

describe.each(FORMATS)('%s', (format) => {
  test('what is sent is what rounding in place makes of it, at any place in a message', () => {
    fc.assert(
      fc.property(floats(anyFloat), fc.nat(3), (values, offset) => {
        expect(sent(format, values, offset)).toEqual(rounded(format, values));
      }),
      RUNS,
    );
  });

  test('rounding twice is rounding once', () => {
    fc.assert(
      fc.property(floats(anyFloat), (values) => {
        const once = rounded(format, values);
        expect(rounded(format, once)).toEqual(once);
      }),
      RUNS,
    );
  });

  test('neither NaN nor infinity becomes a number', () => {
    fc.assert(
      fc.property(
        floats(finiteFloat),
        fc.nat(),
        fc.constantFrom(NaN, Infinity, -Infinity),
        (values, place, bad) => {
          fc.pre(values.length > 0);
          const at = place % values.length;
          values[at] = bad;
          expect(Number.isFinite(sent(format, values)[at])).toBe(false);
        },
      ),
      RUNS,
    );
  });

  test('all bytes are read, whatever they are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (noise) => {
        const { sizeBytes, decode } = NARROW[format];
        let elements = 0;
        while (sizeBytes(elements + 1) <= noise.length) elements++;
        const values = new Float32Array(elements);
        decode(noise.subarray(0, sizeBytes(elements)), values);
        expect(values).toHaveLength(elements);
      }),
      RUNS,
    );
  });
});

/** The nearest value of a format with `digits` bits of fraction, its exponent at least `minExponent`; ties to even. */
function nearest(value: number, digits: number, minExponent: number, largest: number): number {
  let exponent = minExponent;
  while (2 ** (exponent + 1) <= Math.abs(value)) exponent++;
  const step = 2 ** (exponent - digits);
  const below = Math.floor(value / step);
  const rest = value / step - below;
  const isUp = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
  const result = (isUp ? below + 1 : below) * step;
  if (Math.abs(result) > largest) return Math.sign(result) * Infinity;
  return result === 0 && (value < 0 || Object.is(value, -0)) ? -0 : result;
}

const HALVES = [
  { format: 'bfloat16', digits: 7, minExponent: -126, largest: 2 ** 128 - 2 ** 120 },
  { format: 'float16', digits: 10, minExponent: -14, largest: 65504 },
] as const;

test.each(HALVES)('$format holds the nearest value', ({ format, ...row }) => {
  fc.assert(
    fc.property(finiteFloat, (value) => {
      const expected = nearest(value, row.digits, row.minExponent, row.largest);
      expect(rounded(format, Float32Array.of(value))[0]).toBe(expected);
    }),
    { numRuns: 3_000 },
  );
});

test.each(HALVES)('every pattern of $format comes back as it was sent', ({ format }) => {
  const { decode, encode } = NARROW[format];
  const words = Uint16Array.from({ length: 65_536 }, (_, i) => i);
  const values = new Float32Array(words.length);
  decode(new Uint8Array(words.buffer), values);
  const again = new Uint16Array(words.length);
  encode(values, new Uint8Array(again.buffer));
  values.forEach((value, i) => {
    if (!Number.isNaN(value)) expect(again[i]).toBe(i);
  });
});

/** What 127 steps of the largest power of two reach; beyond it a chunk is refused. */
const INT8_LARGEST = 127 * 2 ** 121;

test('int8 is off by half a step at most, a step being at most a 64th of the largest value nearby', () => {
  const small = finiteFloat.filter((value) => Math.abs(value) <= INT8_LARGEST);
  fc.assert(
    fc.property(floats(small), (values) => {
      rounded('int8', values).forEach((value, i) => {
        const start = i - (i % 256);
        const nearby = values.subarray(start, start + 256);
        const largest = nearby.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
        const step = Math.max(largest / 63.5, 2 ** -126);
        expect(Math.abs(value - (values[i] ?? NaN))).toBeLessThanOrEqual(step / 2);
      });
    }),
    RUNS,
  );
});

test('a chunk of int8 knows nothing of the next', () => {
  const values = new Float32Array(512).fill(1e-6).fill(1e6, 0, 256);
  expect(rounded('int8', values).subarray(256)).toEqual(rounded('int8', values.slice(256)));
  values[0] = NaN;
  const isKnown = sent('int8', values).map((value) => (Number.isNaN(value) ? 0 : 1));
  expect([...isKnown].indexOf(1)).toBe(256);
});
