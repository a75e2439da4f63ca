/** @file What a paid worker commits to is what arrived, however it came. */
import { createHash } from 'node:crypto';
import type { Hash32, LeaseId, ResultChunk } from '@ravenlab/protocol';
import { RemoteProtocolError } from '@ravenlab/protocol';
import { ResultDigests } from '../../../kernel/src/engine/resultDigests.js';

const LEASE = 7 as LeaseId;
const [FIRST, SECOND] = [Uint8Array.of(1, 2, 3, 4), Uint8Array.of(5, 6)] as const;
const digestOf = (...parts: readonly Uint8Array[]): Hash32 => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return `0x${hash.digest('hex')}` as Hash32;
};
const piece = (output: number, bytes: Uint8Array, offsetBytes = 0, lease = LEASE): ResultChunk => ({
  ...{ lease, output, offsetBytes, totalBytes: 4, bytes: [bytes] },
});

test('outputs in DONE are held against the digest in their order, however they are cut into frames', () => {
  const digests = new ResultDigests();
  const cut = [[FIRST.subarray(0, 1), FIRST.subarray(1)], [SECOND]];
  expect(() => {
    digests.check(LEASE, cut, digestOf(FIRST, SECOND));
  }).not.toThrow();
  expect(() => {
    digests.check(LEASE, [[SECOND], [FIRST]], digestOf(FIRST, SECOND));
  }).toThrow(RemoteProtocolError);
});

test('so are pieces that came ahead, of each lease by itself, even when their memory is used again', () => {
  const digests = new ResultDigests();
  const memory = FIRST.slice(0, 2);
  digests.piece(piece(0, memory));
  memory.fill(0);
  digests.piece(piece(0, SECOND, 0, 8 as LeaseId));
  digests.piece(piece(0, FIRST.subarray(2), 2));
  digests.piece(piece(1, SECOND));
  digests.check(LEASE, null, digestOf(FIRST, SECOND));
  digests.check(8 as LeaseId, null, digestOf(SECOND));
  expect(digests.size).toBe(0);
});

test('one flipped bit, a digest of nothing and a piece too much are no result', () => {
  for (const bytes of [Uint8Array.of(1, 2, 3, 5), new Uint8Array(0)]) {
    const digests = new ResultDigests();
    digests.piece(piece(0, bytes));
    expect(() => {
      digests.check(LEASE, null, digestOf(FIRST));
    }).toThrow(/lease 7 is not what its digest says/);
  }
  const digests = new ResultDigests();
  digests.piece(piece(0, FIRST));
  expect(() => {
    digests.check(LEASE, [[FIRST]], digestOf(FIRST));
  }).toThrow(RemoteProtocolError);
});

test('outputs go in order, and what is taken away is forgotten', () => {
  const digests = new ResultDigests();
  digests.piece(piece(1, SECOND));
  expect(() => {
    digests.piece(piece(0, FIRST));
  }).toThrow(/outputs go in order/);
  digests.forget([LEASE]);
  expect(digests.size).toBe(0);
});
