/** @file Reads an engine's ledger from its disk, after the engine: what was paid, and whether anything was paid twice. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';

export interface Audit {
  /** Rows of paid units, over all lives of the engine. */
  readonly units: number;
  /** Rows beyond the first for the same unit of the same request. */
  readonly paidTwice: number;
  /** Sum of all accounts, base units. */
  readonly posted: bigint;
  /** Sum of all rows; equals `posted` when the books balance. */
  readonly rows: bigint;
}

/** @throws Error when the home holds no engine's ledger. */
export function audit(home: string): Audit {
  const folder = join(home, 'engines');
  const files = readdirSync(folder).map((id) => join(folder, id, 'ledger.sqlite'));
  const books = files.filter((file) => existsSync(file)).map(readBook);
  if (books.length === 0) throw new Error(`${folder} holds no ledger`);
  return books.reduce((a, b) => ({
    units: a.units + b.units,
    paidTwice: a.paidTwice + b.paidTwice,
    posted: a.posted + b.posted,
    rows: a.rows + b.rows,
  }));
}

function readBook(file: string): Audit {
  const db = new Database(file, { readonly: true });
  try {
    const rows = db.prepare('SELECT unit, amount FROM unit').all() as {
      readonly unit: number;
      readonly amount: string;
    }[];
    const accounts = db.prepare('SELECT posted FROM account').all() as {
      readonly posted: string;
    }[];
    return {
      units: rows.length,
      paidTwice: rows.length - new Set(rows.map(({ unit }) => unit)).size,
      posted: accounts.reduce((sum, { posted }) => sum + BigInt(posted), 0n),
      rows: rows.reduce((sum, { amount }) => sum + BigInt(amount), 0n),
    };
  } finally {
    db.close();
  }
}
