/** @file Reads an engine's ledger from its disk: what was paid, and whether anything was paid twice. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';

export interface Audit {
  /** Rows of paid units, over all lives of the engine. */
  readonly units: number;
  /** Rows beyond the first for the same micro-shard of the same request of a kernel. */
  readonly paidTwice: number;
  /** Units of all accounts; equals `units` when the books balance. */
  readonly accountUnits: number;
  /** Sum of all accounts, base units. */
  readonly posted: bigint;
  /** Sum of all rows; equals `posted` when the books balance. */
  readonly rows: bigint;
}

interface UnitRow {
  readonly session: number;
  readonly request: number;
  readonly shard: number;
  readonly amount: string;
}

const FILE = 'journal.sqlite';

/** @throws Error when the home does not hold the ledger of exactly one engine. */
export function audit(home: string): Audit {
  const folder = join(home, 'engines');
  const files = readdirSync(folder)
    .map((id) => join(folder, id, FILE))
    .filter((file) => existsSync(file));
  const [file] = files;
  if (file === undefined || files.length > 1) {
    throw new Error(`${folder} holds ${String(files.length)} ledgers, expected 1`);
  }
  return readBook(file);
}

function readBook(file: string): Audit {
  const db = new Database(file, { readonly: true });
  try {
    const rows = db.prepare('SELECT session, request, shard, amount FROM unit').all() as UnitRow[];
    const accounts = db.prepare('SELECT posted, units FROM account').all() as {
      readonly posted: string;
      readonly units: number;
    }[];
    const names = rows.map(({ session, request, shard }) => [session, request, shard].join('/'));
    return {
      units: rows.length,
      paidTwice: rows.length - new Set(names).size,
      accountUnits: accounts.reduce((sum, { units }) => sum + units, 0),
      posted: accounts.reduce((sum, { posted }) => sum + BigInt(posted), 0n),
      rows: rows.reduce((sum, { amount }) => sum + BigInt(amount), 0n),
    };
  } finally {
    db.close();
  }
}
