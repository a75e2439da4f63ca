/** @file Texts that many rows of the ledger share, under a number each: programs, workers, payees. Never removed. */
import type Database from 'libsql';
import { VOUCHER_LIMITS } from '@ravenlab/protocol';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS word (
  id INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
);
`;

export class WordTable {
  private readonly ids = new Map<string, number>();
  private readonly texts = new Map<number, string>();
  private readonly add: Database.Statement;
  private readonly findId: Database.Statement;
  private readonly findText: Database.Statement;

  constructor(db: Database.Database) {
    db.exec(SCHEMA);
    this.add = db.prepare('INSERT INTO word (text) VALUES (?) ON CONFLICT (text) DO NOTHING');
    this.findId = db.prepare('SELECT id FROM word WHERE text = ?');
    this.findText = db.prepare('SELECT text FROM word WHERE id = ?');
  }

  /** Within the caller's transaction: it may be given out now. */
  idOf(text: string): number {
    const known = this.ids.get(text);
    if (known !== undefined) return known;
    this.add.run(text);
    const { id } = this.findId.get(text) as { readonly id: number };
    this.remember(id, text);
    return id;
  }

  /** @throws Error for a number that no row can name. */
  textOf(id: number): string {
    const known = this.texts.get(id);
    if (known !== undefined) return known;
    const row = this.findText.get(id) as { readonly text: string } | undefined;
    if (row === undefined) throw new Error(`the ledger names a text ${String(id)} that it lacks`);
    this.remember(id, row.text);
    return row.text;
  }

  /** A transaction was undone: numbers that it gave out were never given. */
  forget(): void {
    this.ids.clear();
    this.texts.clear();
  }

  private remember(id: number, text: string): void {
    if (this.ids.size >= VOUCHER_LIMITS.wordsCached) this.forget();
    this.ids.set(text, id);
    this.texts.set(id, text);
  }
}
