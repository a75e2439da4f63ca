/** @file What the treasury has its journal write, and what it gets back after a restart. Plain, clonable data. */
import type { Address, Hash32, JobId, Receipt, SignedVoucher, WorkerId } from '@ravenlab/protocol';
import type { CommittedWork, StoredPayee } from '../../core/ledger/payLane.js';

/** A judged unit. What its line says follows from these columns, so that the line itself need not be kept. */
export interface ReceiptRow {
  readonly kind: 'receipt';
  readonly receipt: Receipt;
  /** Of the lane with it. */
  readonly earned: bigint;
  readonly head: Hash32;
  /** The unit is to be done and paid again by another worker: what it was metered as. Null when it was accepted. */
  readonly refused: CommittedWork | null;
}

export interface VoucherRow {
  readonly kind: 'voucher';
  readonly voucher: SignedVoucher;
  /** Receipts of its lane that it pays for in all. */
  readonly count: number;
}

export interface SettlementRow {
  readonly kind: 'settlement';
  /** Numbers the settlements of one life of the engine. */
  readonly id: number;
  readonly job: JobId;
  readonly head: Hash32;
  /** What `head` is the hash of; null when it is a lane's own head. */
  readonly statement: string | null;
  readonly atMs: number;
}

export type PayRow =
  | ReceiptRow
  | VoucherRow
  | SettlementRow
  /** Committed, paid, and without a receipt. */
  | { readonly kind: 'held'; readonly work: CommittedWork }
  /** Held no more, and never paid. */
  | { readonly kind: 'waived'; readonly work: CommittedWork }
  /** Who is paid for a worker's units. */
  | { readonly kind: 'wallet'; readonly worker: WorkerId; readonly payee: Address }
  /** The worker has the voucher `seq`; older ones are worth nothing any more. */
  | {
      readonly kind: 'kept';
      readonly job: JobId;
      readonly payee: Address;
      readonly seq: number;
    };

/** Receipts on their way to the thread: there are as many as units. */
export interface ReceiptBatch {
  /** Nine for each: lane, n, lease, program, flops, sizeBytes, amount, result, verdict; texts as indices. */
  readonly numbers: Float64Array<ArrayBuffer>;
  readonly texts: readonly string[];
  /** Where each lane is after the batch. */
  readonly lanes: readonly LaneRow[];
}

export interface LaneRow {
  readonly job: JobId;
  readonly payee: Address;
  readonly count: number;
  readonly earned: bigint;
  readonly head: Hash32;
}

export interface PayBatch {
  readonly receipts: ReceiptBatch;
  /** All but receipts; a unit that is held and gets its receipt in one batch is not among them. */
  readonly rows: readonly Exclude<PayRow, ReceiptRow>[];
  readonly refused: readonly CommittedWork[];
}

/** What an earlier life left. */
export interface RestoredPay {
  readonly wallets: readonly { readonly worker: WorkerId; readonly payee: Address }[];
  readonly held: readonly CommittedWork[];
  readonly lanes: readonly (StoredPayee & { readonly job: JobId })[];
}

/** Where a page of the log begins: the first one at a null. */
export interface LogCursor {
  readonly lane: number;
  readonly n: number;
}

/** Receipts of one lane, in order. */
export interface LogPage {
  readonly lane: LaneRow | null;
  readonly lines: readonly string[];
  readonly voucher: SignedVoucher | null;
  /** Null after the last page of the last lane. */
  readonly next: LogCursor | null;
  /** With the last page: settlements of several lanes. */
  readonly settlements: readonly Omit<SettlementRow, 'kind' | 'id'>[];
}

const NUMBERS = 9;

/** Sorts rows by what is done with them. */
export function packPay(rows: readonly PayRow[]): PayBatch {
  const receipts = rows.filter((row) => row.kind === 'receipt');
  const done = new Set(receipts.map(({ receipt }) => receipt.lease));
  const isMoot = (row: PayRow): boolean => row.kind === 'held' && done.has(row.work.lease);
  return {
    receipts: packReceipts(receipts),
    rows: rows.filter((row) => row.kind !== 'receipt' && !isMoot(row)) as PayBatch['rows'],
    refused: receipts.flatMap(({ refused }) => (refused === null ? [] : [refused])),
  };
}

function packReceipts(rows: readonly ReceiptRow[]): ReceiptBatch {
  const numbers = new Float64Array(rows.length * NUMBERS);
  const indices = new Map<string, number>();
  const indexOf = (text: string): number => {
    let index = indices.get(text);
    if (index === undefined) {
      index = indices.size;
      indices.set(text, index);
    }
    return index;
  };
  const lanes = new Map<string, { readonly index: number; row: LaneRow }>();
  let at = 0;
  for (const { receipt, earned, head } of rows) {
    const { job, payee, n, lease, program, flops, sizeBytes, amount, result, verdict } = receipt;
    const row: LaneRow = { job, payee, count: n, earned, head };
    const name = `${job} ${payee}`;
    const lane = lanes.get(name) ?? { index: lanes.size, row };
    lane.row = row;
    lanes.set(name, lane);
    numbers[at++] = lane.index;
    numbers[at++] = n;
    numbers[at++] = lease;
    numbers[at++] = indexOf(program);
    numbers[at++] = flops;
    numbers[at++] = sizeBytes;
    numbers[at++] = indexOf(String(amount));
    numbers[at++] = indexOf(result);
    numbers[at++] = indexOf(verdict);
  }
  return {
    ...{ numbers, texts: [...indices.keys()] },
    lanes: [...lanes.values()].map(({ row }) => row),
  };
}

/** A receipt of a batch as its table has it. */
export interface PackedReceipt {
  readonly lane: number;
  readonly n: number;
  readonly lease: number;
  readonly program: string;
  readonly flops: number;
  readonly sizeBytes: number;
  readonly amount: string;
  readonly result: string;
  readonly verdict: string;
}

export function* unpackReceipts({ numbers, texts }: ReceiptBatch): Generator<PackedReceipt> {
  let at = 0;
  const next = (): number => numbers[at++] ?? 0;
  const nextText = (): string => texts[next()] ?? '';
  while (at < numbers.length) {
    yield {
      lane: next(),
      n: next(),
      lease: next(),
      program: nextText(),
      flops: next(),
      sizeBytes: next(),
      amount: nextText(),
      result: nextText(),
      verdict: nextText(),
    };
  }
}
