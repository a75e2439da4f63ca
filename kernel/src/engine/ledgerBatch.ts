/** @file Rows of the ledger as the loop sends them to its journal thread: numbers in one array that is moved, texts once. */
import type { JournalRow, LedgerBatch, LedgerRow, VoidedUnits } from './journalMessages.js';
import type { PayRow } from './treasury/payRows.js';
import { packPay } from './treasury/payRows.js';

const NUMBERS_PER_ROW = 7;

export function packRows(all: readonly JournalRow[]): LedgerBatch {
  const rows: LedgerRow[] = [];
  const voided: VoidedUnits[] = [];
  const pay: PayRow[] = [];
  for (const row of all) {
    if (!('kind' in row)) rows.push(row);
    else if (row.kind === 'voided') voided.push(row);
    else pay.push(row);
  }
  const numbers = new Float64Array(rows.length * NUMBERS_PER_ROW);
  const indices = new Map<string, number>();
  const indexOf = (text: string): number => {
    let index = indices.get(text);
    if (index === undefined) {
      index = indices.size;
      indices.set(text, index);
    }
    return index;
  };
  let at = 0;
  for (const { session, request, shard, worker, flops, amount, atMs } of rows) {
    numbers[at++] = session;
    numbers[at++] = request;
    numbers[at++] = shard;
    numbers[at++] = indexOf(worker);
    numbers[at++] = indexOf(amount);
    numbers[at++] = flops;
    numbers[at++] = atMs;
  }
  return { numbers, texts: [...indices.keys()], voided, pay: packPay(pay) };
}

export function unpackRows({
  numbers,
  texts,
}: Pick<LedgerBatch, 'numbers' | 'texts'>): LedgerRow[] {
  const rows: LedgerRow[] = [];
  let at = 0;
  const next = (): number => numbers[at++] ?? 0;
  const nextText = (): string => texts[next()] ?? '';
  while (at < numbers.length) {
    rows.push({
      session: next(),
      request: next(),
      shard: next(),
      worker: nextText(),
      amount: nextText(),
      flops: next(),
      atMs: next(),
    });
  }
  return rows;
}
