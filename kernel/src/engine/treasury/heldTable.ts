/**
 * @file Units that are committed, paid for, and without a receipt yet. Those of one transaction are one row, which goes with the last
 * of them: a payee's units get their receipts in the order in which they were committed, so a count for each payee says which of
 * a row's units are still held.
 */
import type Database from 'libsql';
import type { CommittedWork } from '../../core/ledger/payLane.js';
import { PayBytes, WORK_BYTES } from './payBytes.js';
import type { WordTable } from './wordTable.js';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS works (
  id INTEGER PRIMARY KEY,
  bytes BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS holder (
  payee INTEGER PRIMARY KEY,
  done INTEGER NOT NULL
);
`;

/** A payee: its held units are numbered from 1, and those up to `done` are held no more. */
interface Holder {
  last: number;
  done: number;
}

/** A row, and how many of its units are held. */
interface Row {
  readonly id: number;
  held: number;
}

interface Hold {
  readonly row: Row;
  readonly payee: number;
  readonly ordinal: number;
}

export class HeldTable {
  private readonly db: Database.Database;
  private readonly words: WordTable;
  private readonly holders = new Map<number, Holder>();
  private readonly holds = new Map<number, Hold>();
  private nextRow = 1;
  private readonly add: Database.Statement;
  private readonly remove: Database.Statement;
  private readonly count: Database.Statement;

  constructor(db: Database.Database, words: WordTable) {
    this.db = db;
    this.words = words;
    db.exec(SCHEMA);
    this.add = db.prepare('INSERT INTO works (id, bytes) VALUES (?, ?)');
    this.remove = db.prepare('DELETE FROM works WHERE id = ?');
    this.count = db.prepare(
      'INSERT INTO holder VALUES (?, ?) ON CONFLICT (payee) DO UPDATE SET done = excluded.done',
    );
    this.reload();
  }

  /** @param bytes units whose texts have the numbers of the table of words */
  hold(bytes: Uint8Array<ArrayBuffer>): void {
    const works = new PayBytes(bytes, WORK_BYTES);
    if (works.count === 0) return;
    for (let i = 0; i < works.count; i++) {
      const holder = this.holderOf(works.holdAt(i).payee);
      works.setOrdinal(i, ++holder.last);
    }
    const id = this.nextRow++;
    this.add.run(id, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    this.note(id, works);
  }

  /** Units got their receipts, or are given up; one that is not held is passed over. @throws Error when an older one is held. */
  release(leases: Iterable<number>): void {
    const touched = new Set<number>();
    for (const lease of leases) {
      const hold = this.holds.get(lease);
      if (hold === undefined) continue;
      const holder = this.holderOf(hold.payee);
      if (hold.ordinal !== holder.done + 1) {
        throw new Error(
          `ledger: held unit ${String(hold.ordinal)} of a payee is released before ${String(holder.done + 1)}`,
        );
      }
      holder.done = hold.ordinal;
      touched.add(hold.payee);
      this.holds.delete(lease);
      if (--hold.row.held === 0) this.remove.run(hold.row.id);
    }
    for (const payee of touched) this.count.run(payee, this.holderOf(payee).done);
  }

  /** What is held, oldest first. */
  *all(): Generator<CommittedWork> {
    for (const { works, index } of this.held()) {
      yield works.workAt(index, (id) => this.words.textOf(id));
    }
  }

  /** A transaction was undone, or this is a start: what the disk has. */
  reload(): void {
    this.holds.clear();
    this.holders.clear();
    const holders = this.db.prepare('SELECT payee, done FROM holder').all() as {
      readonly payee: number;
      readonly done: number;
    }[];
    for (const { payee, done } of holders) this.holders.set(payee, { last: done, done });
    this.nextRow = 1;
    for (const { id, works } of this.rows()) {
      this.note(id, works);
      this.nextRow = id + 1;
    }
  }

  private note(id: number, works: PayBytes): void {
    const row: Row = { id, held: 0 };
    for (let i = 0; i < works.count; i++) {
      const { payee, ordinal } = works.holdAt(i);
      const holder = this.holderOf(payee);
      if (ordinal <= holder.done) continue;
      holder.last = Math.max(holder.last, ordinal);
      row.held++;
      this.holds.set(works.leaseAt(i), { row, payee, ordinal });
    }
  }

  private *held(): Generator<{ readonly works: PayBytes; readonly index: number }> {
    for (const { works } of this.rows()) {
      for (let index = 0; index < works.count; index++) {
        const { payee, ordinal } = works.holdAt(index);
        if (ordinal > this.holderOf(payee).done) yield { works, index };
      }
    }
  }

  private *rows(): Generator<{ readonly id: number; readonly works: PayBytes }> {
    const rows = this.db.prepare('SELECT id, bytes FROM works ORDER BY id').all() as {
      readonly id: number;
      readonly bytes: ArrayBuffer;
    }[];
    for (const { id, bytes } of rows) {
      yield { id, works: new PayBytes(new Uint8Array(bytes), WORK_BYTES) };
    }
  }

  private holderOf(payee: number): Holder {
    let holder = this.holders.get(payee);
    if (holder === undefined) {
      holder = { last: 0, done: 0 };
      this.holders.set(payee, holder);
    }
    return holder;
  }
}
