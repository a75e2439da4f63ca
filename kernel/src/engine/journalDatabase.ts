/**
 * @file The journal's database: the ledger's rows and the record of the image to restore from, in one transaction. A unit's
 * row is unique, so a batch that is written twice counts once. Money is TEXT: SQLite's integers end at 9.22 coins of 18
 * decimals.
 */
import { join } from 'node:path';
import Database from 'libsql';
import type { PaidKey, RequestPoint } from '../core/journal/paidBook.js';
import { JOURNAL_FILE } from './journalMessages.js';
import type {
  AccountRow,
  JournalBlob,
  JournalRecord,
  LedgerRow,
  Restored,
  VoidedUnits,
} from './journalMessages.js';
import type { LogCursor, LogPage, PayBatch } from './treasury/payRows.js';
import { PayTables } from './treasury/payTables.js';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS unit (
  session INTEGER NOT NULL,
  request INTEGER NOT NULL,
  shard INTEGER NOT NULL,
  worker TEXT NOT NULL,
  flops INTEGER NOT NULL,
  amount TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (session, request, shard)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS carried (
  session INTEGER NOT NULL,
  request INTEGER NOT NULL,
  shard INTEGER NOT NULL,
  PRIMARY KEY (session, request, shard)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (
  session INTEGER NOT NULL,
  request INTEGER NOT NULL,
  shard INTEGER NOT NULL,
  worker TEXT NOT NULL,
  amount TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (session, request, shard, worker)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS account (
  worker TEXT PRIMARY KEY,
  posted TEXT NOT NULL,
  units INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
  name TEXT PRIMARY KEY,
  text TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blob (
  key TEXT PRIMARY KEY,
  bytes BLOB NOT NULL
) WITHOUT ROWID;
`;

const REFUSED_COLUMNS = 'session, request, shard, worker, amount, at_ms';

const UNIT_OF = 'session = ? AND request = ? AND shard = ? AND worker = ?';
/** Rows of requests after a point, given as session, session, request. */
const ABOVE = '(session > ? OR (session = ? AND request > ?))';
/** Rows that a start found above its image: they stay paid, unless their worker is found to be a cheat later. */
const IS_CARRIED = '(session, request, shard) IN (SELECT session, request, shard FROM carried)';

/** Names in `record`. */
const CURRENT = 'current';
const LAST_SYNCED = 'lastSynced';
const BOOT = 'boot';
const REMOTE = 'remote';
const BEGINNING = 'beginning';

const LAST_SESSION = 'SELECT max(session) AS last FROM unit';

/** Rows of one statement: half of what a row costs is the call. */
const ROWS_PER_INSERT = 32;
const LOCK_FILE = 'lock.sqlite';
const START: RequestPoint = { session: 0, request: 0 };

/** The engine's folder belongs to another process. */
export class FolderLockedError extends Error {}

export class JournalDatabase {
  private readonly lock: Database.Database;
  private readonly db: Database.Database;
  private readonly bootId: string;
  private readonly pay: PayTables;
  private readonly insertUnit: Database.Statement;
  private readonly insertMany: Database.Statement;
  private readonly keepRefused: Database.Statement;
  private readonly removeUnit: Database.Statement;
  private readonly readAmount: Database.Statement;
  private readonly readAccount: Database.Statement;
  private readonly writeAccount: Database.Statement;
  private readonly putRecord: Database.Statement;
  private readonly putBlob: Database.Statement;

  /**
   * @param bootId of the machine as it runs now.
   * @throws FolderLockedError when another engine has the folder.
   */
  constructor(folder: string, bootId: string) {
    this.bootId = bootId;
    this.lock = takeLock(join(folder, LOCK_FILE));
    this.db = new Database(join(folder, JOURNAL_FILE));
    this.db.exec('PRAGMA journal_mode = WAL');
    this.db.exec('PRAGMA busy_timeout = 5000');
    this.db.exec(SCHEMA);
    this.pay = new PayTables(this.db);
    this.insertUnit = this.db.prepare(insertUnits(1));
    this.insertMany = this.db.prepare(insertUnits(ROWS_PER_INSERT));
    this.keepRefused = this.db.prepare(
      `INSERT OR IGNORE INTO refused (${REFUSED_COLUMNS}) SELECT ${REFUSED_COLUMNS} FROM unit ` +
        `WHERE ${UNIT_OF}`,
    );
    this.removeUnit = this.db.prepare(`DELETE FROM unit WHERE ${UNIT_OF}`);
    this.readAmount = this.db.prepare(`SELECT amount FROM unit WHERE ${UNIT_OF}`);
    this.readAccount = this.db.prepare(
      'SELECT worker, posted, units FROM account WHERE worker = ?',
    );
    this.writeAccount = this.db.prepare(
      'INSERT INTO account (worker, posted, units) VALUES (?, ?, ?) ' +
        'ON CONFLICT (worker) DO UPDATE SET posted = excluded.posted, units = excluded.units',
    );
    this.putRecord = this.db.prepare(
      'INSERT INTO record (name, text) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET text = excluded.text',
    );
    this.putBlob = this.db.prepare(
      'INSERT INTO blob (key, bytes) VALUES (?, ?) ON CONFLICT (key) DO NOTHING',
    );
  }

  /**
   * What there is, and one start more: no number of this life may have been given out in an earlier one.
   * @param caught workers that cheated: their rows above the image are refused.
   */
  open(caught: readonly string[] = []): Restored {
    const boot = Number(this.recordText(BOOT) ?? '0') + 1;
    this.synced(true);
    this.putRecord.run(BOOT, String(boot));
    const lastSynced = this.record(LAST_SYNCED);
    const current = this.trusted(this.record(CURRENT)) ?? lastSynced;
    const { session, request } = current?.image.point ?? this.beginning();
    for (const worker of caught) this.refuse(worker, { session, request });
    this.carry({ session, request });
    const units = this.db
      .prepare(`SELECT session, request, shard FROM unit WHERE ${ABOVE}`)
      .all(session, session, request) as Restored['paid'];
    const highest = this.db.prepare(LAST_SESSION).get() as {
      readonly last: number | null;
    };
    const accounts = this.db
      .prepare('SELECT worker, posted, units FROM account')
      .all() as AccountRow[];
    return {
      boot,
      current,
      lastSynced,
      accounts: accounts.map(({ worker, posted, units: count }) => ({
        worker,
        posted,
        units: count,
      })),
      paid: units.map((row) => ({
        session: row.session,
        request: row.request,
        shard: row.shard,
      })),
      pay: this.pay.restore(),
      lastSession: Math.max(highest.last ?? 0, session),
      blobs: current === null ? [] : this.blobs(),
      remote: this.recordText(REMOTE),
    };
  }

  /** Without an image everything is done again, but for what belonged to notebooks that were shut down. */
  private beginning(): RequestPoint {
    const text = this.recordText(BEGINNING);
    return text === null ? START : (JSON.parse(text) as RequestPoint);
  }

  /** Work that is done again from here on, by whoever gets it: that it was paid is remembered, and that nobody checked it. */
  private carry({ session, request }: RequestPoint): void {
    this.db
      .prepare(
        `INSERT OR IGNORE INTO carried SELECT session, request, shard FROM unit WHERE ${ABOVE}`,
      )
      .run(session, session, request);
  }

  /**
   * What a cheat was paid above the image will be done again by somebody who is paid for it. So was what an earlier life left
   * above its image: nobody had checked it when that life ended. The rows stay as evidence.
   */
  private refuse(worker: string, { session, request }: RequestPoint): void {
    const where = `worker = ? AND (${ABOVE} OR ${IS_CARRIED})`;
    const which = [worker, session, session, request];
    const transaction = this.db.transaction(() => {
      const rows = this.db.prepare(`SELECT amount FROM unit WHERE ${where}`).all(...which) as {
        readonly amount: string;
      }[];
      if (rows.length === 0) return;
      this.db
        .prepare(
          `INSERT OR IGNORE INTO refused (${REFUSED_COLUMNS}) SELECT ${REFUSED_COLUMNS} FROM unit WHERE ${where}`,
        )
        .run(...which);
      this.db.prepare(`DELETE FROM unit WHERE ${where}`).run(...which);
      const before = this.readAccount.get(worker) as AccountRow | undefined;
      const posted = rows.reduce(
        (sum, { amount }) => sum - BigInt(amount),
        BigInt(before?.posted ?? '0'),
      );
      this.writeAccount.run(worker, posted.toString(), (before?.units ?? 0) - rows.length);
    });
    transaction();
  }

  /** One transaction: all of it or nothing. @throws the database's error, of which nothing has happened. */
  write(
    ledger: {
      readonly rows: readonly LedgerRow[];
      readonly voided: readonly VoidedUnits[];
      readonly pay: PayBatch;
    },
    blobs: readonly JournalBlob[],
    record: JournalRecord | null,
    isSynced: boolean,
  ): void {
    this.synced(isSynced);
    const transaction = this.db.transaction(() => {
      this.addRows(ledger.rows);
      this.pay.write(ledger.pay);
      for (const work of ledger.pay.refused) this.unmeter(work);
      for (const { count, ...first } of ledger.voided) {
        for (let index = 0; index < count; index++) {
          this.unmeter({ ...first, shard: first.shard + index });
        }
      }
      for (const { key, bytes } of blobs) this.putBlob.run(key, Buffer.from(bytes));
      if (record === null) return;
      const text = JSON.stringify(record);
      this.putRecord.run(CURRENT, text);
      if (record.image.isSynced) this.putRecord.run(LAST_SYNCED, text);
    });
    try {
      transaction();
    } catch (error) {
      this.pay.rolledBack();
      throw error;
    }
  }

  /** Receipts that are on the disk. */
  log(cursor: LogCursor | null, limit: number): LogPage {
    return this.pay.page(cursor, limit);
  }

  /** Nothing can be restored any more; accounts, units and the count of starts stay. */
  forget(): void {
    this.synced(false);
    const transaction = this.db.transaction(() => {
      this.db
        .prepare('DELETE FROM record WHERE name IN (?, ?, ?)')
        .run(CURRENT, LAST_SYNCED, REMOTE);
      this.db.exec('DELETE FROM blob');
      this.db.exec('DELETE FROM carried');
      const { last } = this.db.prepare(LAST_SESSION).get() as { readonly last: number | null };
      const point = { session: last ?? 0, request: Number.MAX_SAFE_INTEGER };
      this.putRecord.run(BEGINNING, JSON.stringify(point));
    });
    transaction();
  }

  /** Keys of the remote access: on the disk itself before anybody is invited with them. */
  writeRemote(text: string): void {
    this.synced(true);
    this.putRecord.run(REMOTE, text);
  }

  close(): void {
    this.db.close();
    this.lock.close();
  }

  private addRows(rows: readonly LedgerRow[]): void {
    const added = new Map<string, { amount: bigint; units: number }>();
    for (let at = 0; at < rows.length; at += ROWS_PER_INSERT) {
      for (const { worker, amount } of this.insert(rows.slice(at, at + ROWS_PER_INSERT))) {
        const sum = added.get(worker) ?? { amount: 0n, units: 0 };
        added.set(worker, { amount: sum.amount + BigInt(amount), units: sum.units + 1 });
      }
    }
    for (const [worker, sum] of added) {
      const before = this.readAccount.get(worker) as AccountRow | undefined;
      const posted = BigInt(before?.posted ?? '0') + sum.amount;
      this.writeAccount.run(worker, posted.toString(), (before?.units ?? 0) + sum.units);
    }
  }

  /** A unit whose result was refused: whoever does it again is paid for it. */
  private unmeter({
    session,
    request,
    shard,
    worker,
  }: PaidKey & { readonly worker: string }): void {
    const key = [session, request, shard, worker];
    const row = this.readAmount.get(...key) as { readonly amount: string } | undefined;
    if (row === undefined) return;
    this.keepRefused.run(...key);
    this.removeUnit.run(...key);
    const before = this.readAccount.get(worker) as AccountRow | undefined;
    const posted = BigInt(before?.posted ?? '0') - BigInt(row.amount);
    this.writeAccount.run(worker, posted.toString(), (before?.units ?? 1) - 1);
  }

  /** @returns those that were not there. */
  private insert(rows: readonly LedgerRow[]): readonly LedgerRow[] {
    if (rows.length === ROWS_PER_INSERT) {
      this.db.exec('SAVEPOINT many');
      const { changes } = this.insertMany.run(...rows.flatMap(valuesOf));
      // Which ones were there it does not say: after a crash, they go one by one.
      if (changes < rows.length) this.db.exec('ROLLBACK TO many');
      this.db.exec('RELEASE many');
      if (changes === rows.length) return rows;
    }
    return rows.filter((row) => this.insertUnit.run(...valuesOf(row)).changes > 0);
  }

  /** In WAL mode NORMAL leaves a commit to the page cache, FULL waits for the disk. */
  private synced(isSynced: boolean): void {
    this.db.exec(`PRAGMA synchronous = ${isSynced ? 'FULL' : 'NORMAL'}`);
  }

  private trusted(record: JournalRecord | null): JournalRecord | null {
    if (record === null) return null;
    return record.image.isSynced || record.bootId === this.bootId ? record : null;
  }

  private record(name: string): JournalRecord | null {
    const text = this.recordText(name);
    return text === null ? null : (JSON.parse(text) as JournalRecord);
  }

  private recordText(name: string): string | null {
    const row = this.db.prepare('SELECT text FROM record WHERE name = ?').get(name) as
      { readonly text: string } | undefined;
    return row?.text ?? null;
  }

  private blobs(): JournalBlob[] {
    const rows = this.db.prepare('SELECT key, bytes FROM blob').all() as {
      readonly key: string;
      readonly bytes: ArrayBuffer;
    }[];
    return rows.map(({ key, bytes }) => ({ key, bytes: new Uint8Array(bytes) }));
  }
}

function insertUnits(count: number): string {
  const places = Array.from({ length: count }, () => '(?, ?, ?, ?, ?, ?, ?)').join(', ');
  return (
    `INSERT INTO unit (session, request, shard, worker, flops, amount, at_ms) VALUES ${places} ` +
    'ON CONFLICT (session, request, shard) DO NOTHING'
  );
}

function valuesOf(row: LedgerRow): (number | string)[] {
  const { session, request, shard, worker, flops, amount, atMs } = row;
  return [session, request, shard, worker, flops, amount, atMs];
}

/** A lock that ends with the process, however that ends: a transaction that is never finished. */
function takeLock(file: string): Database.Database {
  const lock = new Database(file);
  try {
    lock.exec('PRAGMA busy_timeout = 0');
    lock.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    const message = error instanceof Error ? error.message : String(error);
    throw new FolderLockedError(`another engine works in this folder (${message})`, {
      cause: error,
    });
  }
  return lock;
}
