/**
 * @file Receipts, lanes, vouchers and what is held back, in the journal's database and in its transactions. Money is TEXT:
 * SQLite's integers end at 9.22 coins of 18 decimals. Receipts are only ever added, those of a lane that come at once in one
 * row: what a row costs hardly depends on what is in it.
 */
import type Database from 'libsql';
import type { Address, Hash32, JobId, SignedVoucher, WorkerId } from '@ravenlab/protocol';
import { NO_RECEIPT, VOUCHER_LIMITS, receiptLine } from '@ravenlab/protocol';
import type { IssuedVoucher, StoredPayee } from '../../core/ledger/payLane.js';
import { HeldTable } from './heldTable.js';
import { PayBytes, RECEIPT_BYTES, WORK_BYTES } from './payBytes.js';
import type {
  LaneReceipts,
  LaneRow,
  LogCursor,
  LogPage,
  PayBatch,
  RestoredPay,
} from './payRows.js';
import { laneNameOf } from './payRows.js';
import { upgradePay } from './payUpgrade.js';
import { WordTable } from './wordTable.js';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS lane (
  id INTEGER PRIMARY KEY,
  job TEXT NOT NULL,
  payee TEXT NOT NULL,
  count INTEGER NOT NULL,
  earned TEXT NOT NULL,
  head TEXT NOT NULL,
  acknowledged INTEGER NOT NULL,
  UNIQUE (job, payee)
);
CREATE TABLE IF NOT EXISTS receipts (
  id INTEGER PRIMARY KEY,
  lane INTEGER NOT NULL,
  last INTEGER NOT NULL,
  bytes BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS receipts_of ON receipts (lane, last);
CREATE TRIGGER IF NOT EXISTS receipts_stay BEFORE UPDATE ON receipts
  BEGIN SELECT RAISE(ABORT, 'a receipt is never changed'); END;
CREATE TRIGGER IF NOT EXISTS receipts_remain BEFORE DELETE ON receipts
  BEGIN SELECT RAISE(ABORT, 'a receipt is never removed'); END;
CREATE TABLE IF NOT EXISTS voucher (
  lane INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  cumulative TEXT NOT NULL,
  count INTEGER NOT NULL,
  head TEXT NOT NULL,
  r TEXT NOT NULL,
  vs TEXT NOT NULL,
  PRIMARY KEY (lane, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS wallet (
  worker TEXT PRIMARY KEY,
  payee TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settlement (
  job TEXT NOT NULL,
  head TEXT NOT NULL,
  statement TEXT,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (job, head)
) WITHOUT ROWID;
`;

interface LaneRecord {
  readonly id: number;
  readonly job: JobId;
  readonly payee: Address;
  readonly count: number;
  readonly earned: string;
  readonly head: Hash32;
  readonly acknowledged: number;
}

interface VoucherRecord {
  readonly seq: number;
  readonly cumulative: string;
  readonly count: number;
  readonly head: Hash32;
  readonly r: Hash32;
  readonly vs: Hash32;
}

interface ReceiptsRecord {
  /** Number of its last receipt. */
  readonly last: number;
  readonly bytes: ArrayBuffer;
}

/** Rows of receipts that are read at once. */
const ROWS_PER_READ = 16;

export class PayTables {
  private readonly db: Database.Database;
  private readonly words: WordTable;
  private readonly held: HeldTable;
  private readonly laneIds = new Map<string, number>();
  private readonly statements: ReturnType<typeof prepare>;

  constructor(db: Database.Database) {
    this.db = db;
    db.exec(SCHEMA);
    this.words = new WordTable(db);
    this.held = new HeldTable(db, this.words);
    upgradePay(db, this.words, this.held);
    this.statements = prepare(db);
  }

  /** Within the caller's transaction. */
  write({ texts, works, receipts, lanes, rows }: Omit<PayBatch, 'refused'>): void {
    const { statements } = this;
    const ids = texts.map((text) => this.words.idOf(text));
    const idOf = (number: number): number => ids[number] ?? 0;
    new PayBytes(works, WORK_BYTES).renumber(idOf);
    const records = new PayBytes(receipts, RECEIPT_BYTES);
    records.renumber(idOf);
    this.held.hold(works);
    let at = 0;
    for (const lane of lanes) {
      this.addReceipts(lane, receipts.subarray(at * RECEIPT_BYTES));
      at += lane.added;
    }
    this.held.release(leasesOf(records));
    for (const row of rows) {
      switch (row.kind) {
        case 'wallet':
          statements.setWallet.run(row.worker, row.payee);
          break;
        case 'waived':
          this.held.release([row.work.lease]);
          break;
        case 'voucher': {
          const { job, payee, seq, cumulative, ledgerHead, r, vs } = row.voucher;
          const lane = this.laneIdOf({ job, payee });
          statements.addVoucher.run(
            ...[lane, seq, String(cumulative), row.count, ledgerHead, r, vs],
          );
          break;
        }
        case 'kept': {
          const lane = this.laneIdOf(row);
          statements.keep.run(row.seq, lane);
          statements.dropVouchers.run(lane, row.seq);
          break;
        }
        case 'settlement':
          statements.addSettlement.run(row.job, row.head, row.statement, row.atMs);
      }
    }
  }

  /** A transaction was undone: what it gave out was never given. */
  rolledBack(): void {
    this.words.forget();
    this.laneIds.clear();
    this.held.reload();
  }

  restore(): RestoredPay {
    const lanes = this.db.prepare('SELECT * FROM lane ORDER BY id').all() as LaneRecord[];
    const wallets = this.db.prepare('SELECT worker, payee FROM wallet').all() as {
      readonly worker: WorkerId;
      readonly payee: Address;
    }[];
    return {
      wallets: wallets.map(({ worker, payee }) => ({ worker, payee })),
      held: [...this.held.all()],
      lanes: lanes.map((lane) => ({ job: lane.job, ...this.storedPayee(lane) })),
    };
  }

  /** @param limit receipts of the page, at most. */
  page(cursor: LogCursor | null, limit: number): LogPage {
    const { lane: from, n } = cursor ?? { lane: 0, n: 0 };
    const lane = this.db.prepare('SELECT * FROM lane WHERE id >= ? ORDER BY id').get(from) as
      LaneRecord | undefined;
    if (lane === undefined) {
      const settlements = this.settlements();
      return { lane: null, lines: [], voucher: null, next: null, settlements };
    }
    const after = lane.id === from ? n : 0;
    const lines = this.lines(lane, after, lane.count, limit);
    const last = after + lines.length;
    const isWhole = last >= lane.count;
    const next = isWhole ? { lane: lane.id + 1, n: 0 } : { lane: lane.id, n: last };
    const newest = this.vouchers(lane).at(-1);
    const voucher = newest === undefined ? null : voucherOf(lane, newest);
    return { lane: laneRowOf(lane), lines, voucher, next, settlements: [] };
  }

  private storedPayee(lane: LaneRecord): StoredPayee {
    const { payee, count, acknowledged } = lane;
    const vouchers = this.vouchers(lane);
    const issued: IssuedVoucher[] = [];
    vouchers.forEach((voucher, index) => {
      const isNewest = index === vouchers.length - 1;
      if (voucher.seq <= acknowledged && !isNewest) return;
      // What the voucher before pays for, if it is still known; else it is a lane's first, or one that was kept.
      const before = vouchers[index - 1];
      const from = before === undefined && voucher.seq > 1 ? voucher.count : (before?.count ?? 0);
      const lines = this.lines(lane, from, voucher.count, VOUCHER_LIMITS.linesPerVoucher);
      issued.push({ voucher: voucherOf(lane, voucher), lines });
    });
    const promised = vouchers.at(-1)?.count ?? 0;
    const isPromised = count - promised <= VOUCHER_LIMITS.linesPerVoucher;
    const { earned, head } = laneRowOf(lane);
    return {
      ...{ payee, chain: { count, earned, head }, issued, acknowledged },
      lines: isPromised ? this.lines(lane, promised, count, VOUCHER_LIMITS.linesPerVoucher) : [],
    };
  }

  /** @param limit lines, at most. */
  private lines(lane: LaneRecord, after: number, upTo: number, limit: number): string[] {
    const { job, payee } = lane;
    const end = Math.min(upTo, after + limit);
    const lines: string[] = [];
    while (after + lines.length < end) {
      const from = after + lines.length;
      const rows = this.statements.receipts.all(lane.id, from, ROWS_PER_READ) as ReceiptsRecord[];
      if (rows.length === 0) {
        throw new Error(`ledger: the lane of ${payee} lacks receipts after ${String(from)}`);
      }
      for (const { last, bytes } of rows) {
        const records = new PayBytes(new Uint8Array(bytes), RECEIPT_BYTES);
        const before = last - records.count;
        for (let n = after + lines.length + 1; n <= Math.min(last, end); n++) {
          const receipt = records.receiptAt(n - before - 1, { job, payee, n }, (id) =>
            this.words.textOf(id),
          );
          lines.push(receiptLine(receipt));
        }
      }
    }
    return lines;
  }

  private vouchers(lane: LaneRecord): readonly VoucherRecord[] {
    return this.statements.vouchers.all(lane.id) as VoucherRecord[];
  }

  private settlements(): LogPage['settlements'] {
    const rows = this.db.prepare('SELECT * FROM settlement ORDER BY at_ms, head').all() as {
      readonly job: JobId;
      readonly head: Hash32;
      readonly statement: string | null;
      readonly at_ms: number;
    }[];
    return rows.map(({ job, head, statement, at_ms: atMs }) => ({ job, head, statement, atMs }));
  }

  /** @param bytes begins with those of the lane. */
  private addReceipts(lane: LaneReceipts, bytes: Uint8Array<ArrayBuffer>): void {
    const { count, earned, head, added } = lane;
    const id = this.laneIdOf(lane);
    const { receiptsPerRow } = VOUCHER_LIMITS;
    for (let at = 0; at < added; at += receiptsPerRow) {
      const upTo = Math.min(added, at + receiptsPerRow);
      const own = bytes.subarray(at * RECEIPT_BYTES, upTo * RECEIPT_BYTES);
      const blob = Buffer.from(own.buffer, own.byteOffset, own.byteLength);
      this.statements.addReceipts.run(id, count - added + upTo, blob);
    }
    this.statements.advance.run(count, String(earned), head, id);
  }

  private laneIdOf(lane: Pick<LaneRow, 'job' | 'payee'>): number {
    const name = laneNameOf(lane);
    const known = this.laneIds.get(name);
    if (known !== undefined) return known;
    const { job, payee } = lane;
    this.statements.addLane.run(job, payee, NO_RECEIPT);
    const { id } = this.statements.findLane.get(job, payee) as { readonly id: number };
    this.laneIds.set(name, id);
    return id;
  }
}

function* leasesOf(receipts: PayBytes): Generator<number> {
  for (let i = 0; i < receipts.count; i++) yield receipts.leaseAt(i);
}

function prepare(db: Database.Database) {
  return {
    addLane: db.prepare(
      "INSERT INTO lane (job, payee, count, earned, head, acknowledged) VALUES (?, ?, 0, '0', ?, 0) " +
        'ON CONFLICT (job, payee) DO NOTHING',
    ),
    findLane: db.prepare('SELECT id FROM lane WHERE job = ? AND payee = ?'),
    advance: db.prepare('UPDATE lane SET count = ?, earned = ?, head = ? WHERE id = ?'),
    keep: db.prepare('UPDATE lane SET acknowledged = max(acknowledged, ?) WHERE id = ?'),
    addReceipts: db.prepare('INSERT INTO receipts (lane, last, bytes) VALUES (?, ?, ?)'),
    receipts: db.prepare(
      'SELECT last, bytes FROM receipts WHERE lane = ? AND last > ? ORDER BY last LIMIT ?',
    ),
    setWallet: db.prepare(
      'INSERT INTO wallet VALUES (?, ?) ON CONFLICT (worker) DO UPDATE SET payee = excluded.payee',
    ),
    addVoucher: db.prepare(
      'INSERT INTO voucher VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (lane, seq) DO NOTHING',
    ),
    vouchers: db.prepare(
      'SELECT seq, cumulative, count, head, r, vs FROM voucher WHERE lane = ? ORDER BY seq',
    ),
    dropVouchers: db.prepare('DELETE FROM voucher WHERE lane = ? AND seq < ?'),
    addSettlement: db.prepare(
      'INSERT INTO settlement VALUES (?, ?, ?, ?) ON CONFLICT (job, head) DO NOTHING',
    ),
  };
}

function laneRowOf({ job, payee, count, earned, head }: LaneRecord): LaneRow {
  return { job, payee, count, earned: BigInt(earned), head };
}

function voucherOf({ job, payee }: LaneRecord, record: VoucherRecord): SignedVoucher {
  const { seq, cumulative, head, r, vs } = record;
  return { job, payee, cumulative: BigInt(cumulative), seq, ledgerHead: head, r, vs };
}
