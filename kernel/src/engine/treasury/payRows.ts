/** @file What the treasury has its journal write, and what it gets back after a restart. Plain, clonable data. */
import type { Address, Hash32, JobId, SignedVoucher, WorkerId } from '@ravenlab/protocol';
import type { ReceiptRun } from '../../core/ledger/payEvents.js';
import type { CommittedWork, StoredPayee } from '../../core/ledger/payLane.js';
import { PayBytes, RECEIPT_BYTES, TextNumbers, WORK_BYTES } from './payBytes.js';

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
  /** Judged units of a lane. A refused one is to be done and paid again by another worker. */
  | ({ readonly kind: 'receipts' } & ReceiptRun)
  | VoucherRow
  | SettlementRow
  /** Committed, paid, and without a receipt; a payee's get theirs in the order in which they are written. */
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

/** Receipts of one lane on their way to the thread: so many of the batch's. */
export interface LaneReceipts extends LaneRow {
  readonly added: number;
}

export interface LaneRow {
  readonly job: JobId;
  readonly payee: Address;
  readonly count: number;
  readonly earned: bigint;
  readonly head: Hash32;
}

/** There are as many receipts and held units as units: they cross as bytes, which are moved. */
export interface PayBatch {
  /** What the numbers in the bytes stand for. */
  readonly texts: readonly string[];
  /** Held units, in order. */
  readonly works: Uint8Array<ArrayBuffer>;
  /** In order of the lanes. */
  readonly receipts: Uint8Array<ArrayBuffer>;
  readonly lanes: readonly LaneReceipts[];
  readonly rows: readonly Exclude<PayRow, { readonly kind: 'receipts' | 'held' }>[];
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

/** Sorts rows by what is done with them. */
export function packPay(all: readonly PayRow[]): PayBatch {
  const works: CommittedWork[] = [];
  const runs: ReceiptRun[] = [];
  const rows: PayBatch['rows'][number][] = [];
  for (const row of all) {
    if (row.kind === 'held') works.push(row.work);
    else if (row.kind === 'receipts') runs.push(row);
    else rows.push(row);
  }
  const texts = new TextNumbers();
  const held = new PayBytes(new Uint8Array(works.length * WORK_BYTES), WORK_BYTES);
  works.forEach((work, index) => {
    held.putWork(index, work, texts);
  });
  return { works: held.bytes, ...packReceipts(runs, texts), texts: texts.texts(), rows };
}

/** Receipts, lane by lane: a lane whose units get theirs one by one is one row all the same. */
function packReceipts(
  runs: readonly ReceiptRun[],
  texts: TextNumbers,
): Pick<PayBatch, 'receipts' | 'lanes' | 'refused'> {
  const byLane = new Map<string, ReceiptRun[]>();
  let total = 0;
  for (const run of runs) {
    total += run.entries.length;
    const name = laneNameOf(run);
    const others = byLane.get(name);
    if (others === undefined) byLane.set(name, [run]);
    else others.push(run);
  }
  const receipts = new PayBytes(new Uint8Array(total * RECEIPT_BYTES), RECEIPT_BYTES);
  const lanes: LaneReceipts[] = [];
  const refused: CommittedWork[] = [];
  let at = 0;
  for (const own of byLane.values()) {
    const first = at;
    for (const { entries } of own) {
      for (const entry of entries) {
        receipts.putReceipt(at++, entry, texts);
        if (entry.verdict === 'refused') refused.push(entry.work);
      }
    }
    const last = own[own.length - 1];
    if (last === undefined) continue;
    const { job, payee, chain } = last;
    const { count, earned, head } = chain;
    lanes.push({ job, payee, count, earned, head, added: at - first });
  }
  return { receipts: receipts.bytes, lanes, refused };
}

/** A lane, as a text that names it. */
export const laneNameOf = ({ job, payee }: Pick<LaneRow, 'job' | 'payee'>): string =>
  `${job} ${payee}`;
