/**
 * @file Entry of the journal thread: committed units into SQLite, a batch a transaction. A unit's row is unique, so a batch
 * that is written twice counts once. Money is TEXT: SQLite's integers end at 9.22 coins of 18 decimals.
 */
import { parentPort, workerData } from 'node:worker_threads';
import Database from 'libsql';
import type { LedgerRequest, LedgerResponse, LedgerRow, LedgerThreadData } from './ledgerStore.js';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS unit (
  unit INTEGER PRIMARY KEY,
  worker TEXT NOT NULL,
  flops INTEGER NOT NULL,
  amount TEXT NOT NULL,
  at_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS account (
  worker TEXT PRIMARY KEY,
  posted TEXT NOT NULL,
  units INTEGER NOT NULL
) WITHOUT ROWID;
`;

interface AccountRow {
  readonly worker: string;
  readonly posted: string;
  readonly units: number;
}

const { file } = workerData as LedgerThreadData;
const db = new Database(file);
db.exec('PRAGMA journal_mode = WAL');
db.exec('PRAGMA synchronous = NORMAL');
db.exec('PRAGMA busy_timeout = 5000');
db.exec(SCHEMA);
const insertUnit = db.prepare(
  'INSERT INTO unit (unit, worker, flops, amount, at_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT (unit) DO NOTHING',
);
const readAccount = db.prepare('SELECT worker, posted, units FROM account WHERE worker = ?');
const writeAccount = db.prepare(
  'INSERT INTO account (worker, posted, units) VALUES (?, ?, ?) ' +
    'ON CONFLICT (worker) DO UPDATE SET posted = excluded.posted, units = excluded.units',
);

function writeBatch(rows: readonly LedgerRow[]): void {
  const added = new Map<string, { amount: bigint; units: number }>();
  for (const { unit, worker, flops, amount, atMs } of rows) {
    const { changes } = insertUnit.run(BigInt(unit), worker, BigInt(flops), amount, BigInt(atMs));
    if (changes === 0) continue;
    const sum = added.get(worker) ?? { amount: 0n, units: 0 };
    added.set(worker, { amount: sum.amount + BigInt(amount), units: sum.units + 1 });
  }
  for (const [worker, sum] of added) {
    const before = readAccount.get(worker) as AccountRow | undefined;
    const posted = BigInt(before?.posted ?? '0') + sum.amount;
    writeAccount.run(worker, posted.toString(), BigInt((before?.units ?? 0) + sum.units));
  }
}

const write = db.transaction(writeBatch);

function answer(request: LedgerRequest): LedgerResponse {
  switch (request.kind) {
    case 'totals': {
      const accounts = db
        .prepare('SELECT worker, posted, units FROM account')
        .all() as AccountRow[];
      const last = db.prepare('SELECT max(unit) AS last FROM unit').get() as {
        last: number | null;
      };
      const totals = accounts.map(({ worker, posted, units }) => ({ worker, posted, units }));
      return { kind: 'totals', accounts: totals, lastUnit: last.last ?? 0 };
    }
    case 'write':
      try {
        write(request.rows);
        return { kind: 'written', rows: request.rows.length };
      } catch (error) {
        return { kind: 'refused', message: error instanceof Error ? error.message : String(error) };
      }
    case 'close':
      db.close();
      return { kind: 'closed' };
  }
}

parentPort?.on('message', (request: LedgerRequest) => {
  parentPort?.postMessage(answer(request));
});
