/** @file Rows of the ledger on their way to the journal's thread: what arrives is what was paid. */
import { packRows, unpackRows } from '../../../kernel/src/engine/ledgerBatch.js';
import type { LedgerRow } from '../../../kernel/src/engine/journalMessages.js';

const row = (shard: number, worker: string, amount: string): LedgerRow => ({
  ...{ session: 3, request: 2 ** 40, shard, worker, amount },
  flops: Number.MAX_SAFE_INTEGER,
  atMs: 1_790_000_000_000,
});

it('brings rows across as they were, with every text once', () => {
  const rows = [row(0, 'a', '12345678901234567890'), row(1, 'b', '7'), row(2, 'a', '7')];
  const batch = packRows(rows);
  expect(batch.texts).toEqual(['a', '12345678901234567890', 'b', '7']);
  expect(unpackRows(structuredClone(batch))).toEqual(rows);
});

it('keeps what does not count apart from what does', () => {
  const voided = {
    kind: 'voided',
    session: 3,
    request: 4,
    shard: 0,
    count: 2,
    worker: 'a',
  } as const;
  const batch = packRows([row(0, 'a', '7'), voided]);
  expect(batch.voided).toEqual([voided]);
  expect(unpackRows(batch)).toHaveLength(1);
});

it('makes nothing of nothing', () => {
  expect(unpackRows(packRows([]))).toEqual([]);
});
