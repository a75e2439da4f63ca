/** @file The loops that round sums give the bits of their written form (protocol/src/narrow.ts), which is held against search by property tests. */
import type { NarrowFormat } from '@ravenlab/protocol';
import { NARROW } from '@ravenlab/protocol';
import { ROUND_LOOPS } from '../../../protocol/src/update.js';
import { makeBench, values } from './lib.js';

const FORMATS = Object.keys(NARROW) as NarrowFormat[];
/** Whole vectors and chunks, and what is left over after them. */
const LENGTHS = [1, 3, 4, 255, 256, 257, 1023, 4099];

function anyBits(length: number, seed: number): Float32Array {
  let state = seed;
  const bits = Int32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state ^ (state >>> 15);
  });
  return new Float32Array(bits.buffer);
}

/** Values whose sizes are within 40 octaves of 2^middle: a chunk of any bits is mostly NaN to int8. */
function around(middle: number, length: number): Float32Array {
  return values(length, 7 + middle).map((value) => value * 2 ** middle);
}

const EDGES = Float32Array.from([
  ...[0, -0, 65504, 65519.996, 65520, -65520, 2 ** -14, 2 ** -24, 2 ** -25, 1.5 * 2 ** -24],
  ...[2 ** -149, -(2 ** -149), 2 ** -126, 127 * 2 ** 121, 128 * 2 ** 121, NaN, Infinity, -Infinity],
  ...[1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -11, 1 + 3 * 2 ** -11],
]);
const CASES: readonly (readonly [string, readonly Float32Array[]])[] = [
  ['any bits', LENGTHS.map((length) => anyBits(length, length))],
  ['many sizes', LENGTHS.map((length) => around(0, length))],
  ['subnormal ones', LENGTHS.map((length) => around(-135, length))],
  ['the largest', LENGTHS.map((length) => around(122, length))],
  ['the edges, each alone', [...EDGES].map((value) => Float32Array.of(value))],
  ['one edge beside small values', [...EDGES].map((value) => Float32Array.of(value, 1e-3, -2e-5))],
];

describe.each(FORMATS)('%s', (format) => {
  test.each(CASES)('%s', (_, arrays) => {
    const { heap, kernels } = makeBench();
    for (const array of arrays) {
      const block = heap.allocateZeroed(array.byteLength);
      heap.bytes(block).set(new Uint8Array(array.buffer));
      kernels[ROUND_LOOPS[format]](block.ptr, array.length);
      const written = array.slice();
      NARROW[format].round(written);
      const found = Buffer.from(heap.bytes(block));
      expect(found.toString('hex')).toBe(Buffer.from(written.buffer).toString('hex'));
    }
  });
});
