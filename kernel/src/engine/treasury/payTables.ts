/**
 * @file Receipts, lanes, vouchers and what is held back, in the journal's database and in its transactions. Money is TEXT:
 * SQLite's integers end at 9.22 coins of 18 decimals. Receipts are only ever added.
 */
import type Database from 'libsql';
import type {
  Address,
  Hash32,
  JobId,
  LeaseId,
  ProgramHash,
  Receipt,
  SignedVoucher,
  WorkerId,
} from '@ravenlab/protocol';
import { NO_RECEIPT, VOUCHER_LIMITS, receiptLine } from '@ravenlab/protocol';
import type { CommittedWork, IssuedVoucher, StoredPayee } from '../../core/ledger/payLane.js';
import type { LaneRow, LogCursor, LogPage, PayBatch, RestoredPay } from './payRows.js';
import { unpackReceipts } from './payRows.js';

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
CREATE TABLE IF NOT EXISTS word (
  id INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS receipt (
  lane INTEGER NOT NULL,
  n INTEGER NOT NULL,
  lease INTEGER NOT NULL,
  program INTEGER NOT NULL,
  flops INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  amount TEXT NOT NULL,
  result TEXT,
  is_accepted INTEGER NOT NULL,
  PRIMARY KEY (lane, n)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS receipt_lease ON receipt (lease);
CREATE TRIGGER IF NOT EXISTS receipt_stays BEFORE UPDATE ON receipt
  BEGIN SELECT RAISE(ABORT, 'a receipt is never changed'); END;
CREATE TRIGGER IF NOT EXISTS receipt_remains BEFORE DELETE ON receipt
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
CREATE TABLE IF NOT EXISTS held (
  lease INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  request INTEGER NOT NULL,
  shard INTEGER NOT NULL,
  worker TEXT NOT NULL,
  payee TEXT NOT NULL,
  program TEXT NOT NULL,
  flops INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  amount TEXT NOT NULL,
  result TEXT NOT NULL
);
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

interface ReceiptRecord {
  readonly n: number;
  readonly lease: number;
  readonly program: ProgramHash;
  readonly flops: number;
  readonly size_bytes: number;
  readonly amount: string;
  readonly result: Hash32 | null;
  readonly is_accepted: number;
}

interface HeldRecord {
  readonly lease: number;
  readonly session: number;
  readonly request: number;
  readonly shard: number;
  readonly worker: WorkerId;
  readonly payee: Address;
  readonly program: ProgramHash;
  readonly flops: number;
  readonly size_bytes: number;
  readonly amount: string;
  readonly result: Hash32;
}

const SELECT_RECEIPTS = `
SELECT n, lease, text AS program, flops, size_bytes, amount, result, is_accepted
FROM receipt JOIN word ON word.id = program
WHERE lane = ? AND n > ? AND n <= ? ORDER BY n LIMIT ?`;

export class PayTables {
  private readonly db: Database.Database;
  private readonly words = new Map<string, number>();
  private readonly statements: ReturnType<typeof prepare>;

  constructor(db: Database.Database) {
    this.db = db;
    db.exec(SCHEMA);
    this.statements = prepare(db);
  }

  /** Within the caller's transaction. */
  write({ receipts, rows }: Pick<PayBatch, 'receipts' | 'rows'>): void {
    const { statements } = this;
    statements.hold.run(rows.flatMap((row) => (row.kind === 'held' ? [heldValues(row.work)] : [])));
    const ids = receipts.lanes.map((lane) => this.advance(lane));
    const added: Values[] = [];
    const released: Values[] = [];
    for (const receipt of unpackReceipts(receipts)) {
      const { lane, n, lease, flops, sizeBytes, amount } = receipt;
      const program = this.wordOf(receipt.program);
      const result = receipt.result === NO_RECEIPT ? null : receipt.result;
      const isAccepted = receipt.verdict === 'accepted' ? 1 : 0;
      const id = ids[lane] ?? 0;
      added.push([id, n, lease, program, flops, sizeBytes, amount, result, isAccepted]);
      released.push([lease]);
    }
    statements.addReceipt.run(added);
    statements.release.run(released);
    for (const row of rows) {
      switch (row.kind) {
        case 'held':
          break;
        case 'wallet':
          statements.setWallet.run(row.worker, row.payee);
          break;
        case 'waived':
          statements.release.run([[row.work.lease]]);
          break;
        case 'voucher': {
          const { job, payee, seq, cumulative, ledgerHead, r, vs } = row.voucher;
          const lane = this.laneIdOf(job, payee);
          statements.addVoucher.run(
            ...[lane, seq, String(cumulative), row.count, ledgerHead, r, vs],
          );
          break;
        }
        case 'kept': {
          const lane = this.laneIdOf(row.job, row.payee);
          statements.keep.run(row.seq, lane);
          statements.dropVouchers.run(lane, row.seq);
          break;
        }
        case 'settlement':
          statements.addSettlement.run(row.job, row.head, row.statement, row.atMs);
      }
    }
  }

  /** A transaction that named new programs was undone: their numbers were never given. */
  rolledBack(): void {
    this.words.clear();
  }

  restore(): RestoredPay {
    const held = this.db.prepare('SELECT * FROM held ORDER BY lease').all() as HeldRecord[];
    const lanes = this.db.prepare('SELECT * FROM lane ORDER BY id').all() as LaneRecord[];
    const wallets = this.db.prepare('SELECT worker, payee FROM wallet').all() as {
      readonly worker: WorkerId;
      readonly payee: Address;
    }[];
    return {
      wallets: wallets.map(({ worker, payee }) => ({ worker, payee })),
      held: held.map(workOf),
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

  private lines(lane: LaneRecord, after: number, upTo: number, limit: number): string[] {
    const { job, payee } = lane;
    const records = this.statements.receipts.all(lane.id, after, upTo, limit) as ReceiptRecord[];
    return records.map((record) => {
      const { n, lease, program, flops, size_bytes: sizeBytes, amount, result } = record;
      const receipt: Receipt = {
        ...{ n, job, payee, program, flops, sizeBytes },
        lease: lease as LeaseId,
        amount: BigInt(amount),
        result: result ?? NO_RECEIPT,
        verdict: record.is_accepted === 1 ? 'accepted' : 'refused',
      };
      return receiptLine(receipt);
    });
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

  /** @returns its number. */
  private advance({ job, payee, count, earned, head }: LaneRow): number {
    const id = this.laneIdOf(job, payee);
    this.statements.advance.run(count, String(earned), head, id);
    return id;
  }

  private laneIdOf(job: JobId, payee: Address): number {
    this.statements.addLane.run(job, payee, NO_RECEIPT);
    return (this.statements.findLane.get(job, payee) as { readonly id: number }).id;
  }

  private wordOf(text: string): number {
    const known = this.words.get(text);
    if (known !== undefined) return known;
    this.statements.addWord.run(text);
    const { id } = this.statements.findWord.get(text) as { readonly id: number };
    this.words.set(text, id);
    return id;
  }
}

type Values = readonly (string | number | null)[];

/** Rows of one statement: most of what a row costs is the call. */
const ROWS_PER_CALL = 32;

/** A statement for any number of rows, a few at a time. */
function manyOf(
  db: Database.Database,
  columns: number,
  before: string,
  after = '',
): { readonly run: (rows: readonly Values[]) => void } {
  const row = `(${Array.from({ length: columns }, () => '?').join(', ')})`;
  const textOf = (count: number) =>
    `${before}${Array.from({ length: count }, () => row).join(', ')}${after}`;
  const one = db.prepare(textOf(1));
  const many = db.prepare(textOf(ROWS_PER_CALL));
  return {
    run: (rows) => {
      let at = 0;
      for (; at + ROWS_PER_CALL <= rows.length; at += ROWS_PER_CALL) {
        many.run(...rows.slice(at, at + ROWS_PER_CALL).flat());
      }
      for (const values of rows.slice(at)) one.run(...values);
    },
  };
}

function heldValues(work: CommittedWork): Values {
  const { lease, session, request, shard, worker, payee, program, flops, sizeBytes } = work;
  const { amount, result } = work;
  return [
    ...[lease, session, request, shard, worker, payee, program, flops, sizeBytes],
    ...[String(amount), result],
  ];
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
    addWord: db.prepare('INSERT INTO word (text) VALUES (?) ON CONFLICT (text) DO NOTHING'),
    findWord: db.prepare('SELECT id FROM word WHERE text = ?'),
    addReceipt: manyOf(db, 9, 'INSERT INTO receipt VALUES '),
    receipts: db.prepare(SELECT_RECEIPTS),
    hold: manyOf(db, 11, 'INSERT INTO held VALUES '),
    release: manyOf(db, 1, 'DELETE FROM held WHERE (lease) IN (VALUES ', ')'),
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

function workOf(record: HeldRecord): CommittedWork {
  const { lease, size_bytes: sizeBytes, amount, ...rest } = record;
  return { ...rest, lease: lease as LeaseId, sizeBytes, amount: BigInt(amount) };
}

function laneRowOf({ job, payee, count, earned, head }: LaneRecord): LaneRow {
  return { job, payee, count, earned: BigInt(earned), head };
}

function voucherOf({ job, payee }: LaneRecord, record: VoucherRecord): SignedVoucher {
  const { seq, cumulative, head, r, vs } = record;
  return { job, payee, cumulative: BigInt(cumulative), seq, ledgerHead: head, r, vs };
}
