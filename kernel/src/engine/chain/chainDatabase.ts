/**
 * @file What the engine keeps of a chain: the outbox, the events of its jobs, what was promised. One file for each account that pays, which
 * several engines may share; every change is one transaction, and a state changes only from the one it is thought to be in. Money is
 * TEXT. What is signed is on the disk before it leaves.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'libsql';
import type { Address, Hash32, JobId } from '@ravenlab/protocol';
import type { ChainEvent } from '../../core/chain/eventWindow.js';
import type { GasFees } from '../../core/chain/fees.js';
import type { OutboxCause } from '../../core/chain/outboxTable.js';
import { nextOutboxStatus } from '../../core/chain/outboxTable.js';
import type { SpendRecord } from '../../core/chain/spendCaps.js';
import type { TransactionKind, TransactionState } from './chainService.js';
import type { Intent } from './intents.js';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS tx (
  id INTEGER PRIMARY KEY,
  chain TEXT NOT NULL,
  job TEXT,
  kind TEXT NOT NULL,
  intent TEXT NOT NULL,
  amount TEXT,
  state TEXT NOT NULL,
  nonce INTEGER,
  block INTEGER,
  note TEXT,
  at_ms INTEGER NOT NULL,
  sent_ms INTEGER,
  UNIQUE (chain, nonce)
);
CREATE INDEX IF NOT EXISTS tx_open ON tx (chain, state);
CREATE TABLE IF NOT EXISTS attempt (
  tx INTEGER NOT NULL REFERENCES tx (id),
  hash TEXT NOT NULL,
  raw TEXT NOT NULL,
  max_fee TEXT NOT NULL,
  max_tip TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (tx, hash)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS job (
  id TEXT PRIMARY KEY,
  chain TEXT NOT NULL,
  owner TEXT,
  opened_block INTEGER NOT NULL,
  scanned INTEGER,
  counted INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
  job TEXT NOT NULL,
  block_hash TEXT NOT NULL,
  log_index INTEGER NOT NULL,
  block INTEGER NOT NULL,
  name TEXT NOT NULL,
  payee TEXT,
  fields TEXT NOT NULL,
  PRIMARY KEY (job, block_hash, log_index)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (
  chain TEXT PRIMARY KEY,
  escrow TEXT NOT NULL,
  token TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS promised (
  lane TEXT PRIMARY KEY,
  cumulative TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
  minute INTEGER PRIMARY KEY,
  amount TEXT NOT NULL
) WITHOUT ROWID;
`;

export interface OutboxRow {
  readonly id: number;
  readonly job: JobId | null;
  readonly intent: Intent;
  readonly state: TransactionState;
  readonly nonce: number | null;
  readonly block: number | null;
  /** When it, or its replacement, was signed. */
  readonly sentMs: number | null;
}

export interface Attempt extends GasFees {
  readonly hash: Hash32;
  readonly raw: string;
}

export interface JobRow {
  readonly id: JobId;
  readonly owner: string | null;
  readonly openedBlock: number;
  /** Newest block whose events were read; null before the first. */
  readonly scanned: number | null;
  /** Newest block whose events were read when they could not change any more; null before the first. */
  readonly counted: number | null;
}

/** An event of a job as it is kept: numbers as decimal strings. */
export interface StoredEvent extends ChainEvent {
  readonly name: string;
  readonly payee: Address | null;
  readonly fields: Readonly<Record<string, string>>;
}

export interface ShownTransaction {
  readonly id: number;
  readonly kind: TransactionKind;
  readonly state: TransactionState;
  readonly hash: Hash32 | null;
  readonly block: number | null;
  readonly amount: bigint | null;
  readonly atMs: number;
  readonly note: string | null;
}

interface TxRecord {
  readonly id: number;
  readonly job: string | null;
  readonly kind: string;
  readonly intent: string;
  readonly amount: string | null;
  readonly state: string;
  readonly nonce: number | null;
  readonly block: number | null;
  readonly note: string | null;
  readonly at_ms: number;
  readonly sent_ms: number | null;
  readonly hash?: string | null;
}

const rowOf = (row: TxRecord): OutboxRow => ({
  id: row.id,
  job: row.job as JobId | null,
  intent: JSON.parse(row.intent) as Intent,
  state: row.state as TransactionState,
  nonce: row.nonce,
  block: row.block,
  sentMs: row.sent_ms,
});

export class ChainDatabase {
  private readonly db: Database.Database;
  /** Names the chain by its first block: a simulated one that begins anew is another chain. */
  private chain = '';

  constructor(file: string) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    this.db = new Database(file);
    chmodSync(file, 0o600);
    this.db.exec('PRAGMA journal_mode = WAL');
    this.db.exec('PRAGMA busy_timeout = 5000');
    this.db.exec('PRAGMA synchronous = FULL');
    this.db.exec(SCHEMA);
    this.upgrade();
  }

  useChain(chain: string): void {
    this.chain = chain;
  }

  /** @returns its id. */
  request(intent: Intent, job: JobId | null, amount: bigint | null, atMs: number): number {
    const { lastInsertRowid } = this.db
      .prepare(
        'INSERT INTO tx (chain, job, kind, intent, amount, state, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)',
      )
      .run(
        this.chain,
        job,
        intent.kind,
        JSON.stringify(intent),
        amount?.toString() ?? null,
        'waiting',
        atMs,
      );
    return Number(lastInsertRowid);
  }

  row(id: number): OutboxRow | null {
    const row = this.db.prepare('SELECT * FROM tx WHERE id = ?').get(id) as TxRecord | undefined;
    return row === undefined ? null : rowOf(row);
  }

  /** Requests in the order in which they were made. */
  waiting(): readonly OutboxRow[] {
    return this.select("state = 'waiting' ORDER BY id");
  }

  /** What may still change on the chain: sent, or in a block above `finalBlock`. */
  followed(finalBlock: number): readonly OutboxRow[] {
    const rows = this.db
      .prepare(
        "SELECT * FROM tx WHERE chain = ? AND (state IN ('sent', 'mined') OR (state = 'reverted' AND block > ?)) " +
          'ORDER BY nonce',
      )
      .all(this.chain, finalBlock) as TxRecord[];
    return rows.map(rowOf);
  }

  /** Newest offer first. */
  attempts(id: number): readonly Attempt[] {
    const rows = this.db
      .prepare(
        'SELECT * FROM attempt WHERE tx = ? ORDER BY at_ms DESC, length(max_fee) DESC, max_fee DESC',
      )
      .all(id) as { hash: string; raw: string; max_fee: string; max_tip: string }[];
    return rows.map((row) => ({
      hash: row.hash as Hash32,
      raw: row.raw,
      maxFeePerGas: BigInt(row.max_fee),
      maxPriorityFeePerGas: BigInt(row.max_tip),
    }));
  }

  /** One more than the highest that was given out on this chain; 0 at first. */
  nextNonce(): number {
    const row = this.db
      .prepare('SELECT max(nonce) AS last FROM tx WHERE chain = ?')
      .get(this.chain) as { readonly last: number | null };
    return row.last === null ? 0 : row.last + 1;
  }

  /** Stores nonce and bytes of a request that waits. False when another process has taken it or the nonce. */
  sign(id: number, nonce: number, attempt: Attempt, atMs: number): boolean {
    try {
      return this.immediate(() => {
        const { changes } = this.db
          .prepare(
            "UPDATE tx SET state = 'sent', nonce = ?, sent_ms = ?, note = NULL WHERE id = ? AND state = 'waiting'",
          )
          .run(nonce, atMs, id);
        if (changes === 1) this.addAttempt(id, attempt, atMs);
        return changes === 1;
      });
    } catch (error) {
      if (String(error).includes('UNIQUE')) return false;
      throw error;
    }
  }

  /** Stores a higher offer for the same nonce. */
  bump(id: number, attempt: Attempt, atMs: number): void {
    this.immediate(() => {
      this.addAttempt(id, attempt, atMs);
      this.db.prepare('UPDATE tx SET sent_ms = ?, note = NULL WHERE id = ?').run(atMs, id);
    });
  }

  /** False when the table does not allow it from the state that it is in by now. */
  move(
    id: number,
    cause: OutboxCause,
    change: { readonly block?: number | null; readonly note?: string | null } = {},
  ): boolean {
    return this.immediate(() => {
      const before = this.row(id);
      const state = before === null ? null : nextOutboxStatus(before.state, cause);
      if (before === null || state === null) return false;
      const { block = before.block, note = null } = change;
      this.db
        .prepare('UPDATE tx SET state = ?, block = ?, note = ? WHERE id = ?')
        .run(state, block, note, id);
      return true;
    });
  }

  /** True when it is not the note that is there. */
  note(id: number, note: string | null): boolean {
    const { changes } = this.db
      .prepare('UPDATE tx SET note = ? WHERE id = ? AND note IS NOT ?')
      .run(note, id, note);
    return changes > 0;
  }

  newest(limit: number): readonly ShownTransaction[] {
    const rows = this.db
      .prepare(
        'SELECT tx.*, (SELECT hash FROM attempt WHERE attempt.tx = tx.id ORDER BY at_ms DESC LIMIT 1) AS hash ' +
          'FROM tx WHERE chain = ? ORDER BY id DESC LIMIT ?',
      )
      .all(this.chain, limit) as TxRecord[];
    return rows.map((row) => ({
      id: row.id,
      kind: row.kind as TransactionKind,
      state: row.state as TransactionState,
      hash: (row.hash ?? null) as Hash32 | null,
      block: row.block,
      amount: row.amount === null ? null : BigInt(row.amount),
      atMs: row.at_ms,
      note: row.note,
    }));
  }

  /** What an earlier life asked of another chain is lost with it. */
  loseOtherChains(): void {
    this.db
      .prepare(
        "UPDATE tx SET state = 'replaced', note = 'the chain that it was for is gone' " +
          "WHERE chain <> ? AND state IN ('waiting', 'sent', 'mined')",
      )
      .run(this.chain);
  }

  place(): { readonly escrow: Address; readonly token: Address } | null {
    const row = this.db.prepare('SELECT escrow, token FROM place WHERE chain = ?').get(this.chain);
    return (row as { readonly escrow: Address; readonly token: Address } | undefined) ?? null;
  }

  setPlace(escrow: Address, token: Address): void {
    this.db
      .prepare('INSERT OR REPLACE INTO place (chain, escrow, token) VALUES (?, ?, ?)')
      .run(this.chain, escrow, token);
  }

  jobs(): readonly JobRow[] {
    const rows = this.db
      .prepare('SELECT * FROM job WHERE chain = ? ORDER BY opened_block, id')
      .all(this.chain) as {
      id: string;
      owner: string | null;
      opened_block: number;
      scanned: number | null;
      counted: number | null;
    }[];
    return rows.map((row) => ({
      id: row.id as JobId,
      owner: row.owner,
      openedBlock: row.opened_block,
      scanned: row.scanned,
      counted: row.counted,
    }));
  }

  addJob(id: JobId, openedBlock: number): void {
    this.db
      .prepare(
        'INSERT INTO job (id, chain, owner, opened_block) VALUES (?, ?, NULL, ?) ON CONFLICT (id) DO NOTHING',
      )
      .run(id, this.chain, openedBlock);
  }

  /** Two engines that sign for one lane would contradict each other: a job is one engine's for good. */
  claimJob(id: JobId, owner: string): boolean {
    this.db.prepare('UPDATE job SET owner = ? WHERE id = ? AND owner IS NULL').run(owner, id);
    return this.jobs().some((job) => job.id === id && job.owner === owner);
  }

  events(job: JobId, from: number, to: number): readonly StoredEvent[] {
    const rows = this.db
      .prepare(
        'SELECT * FROM event WHERE job = ? AND block BETWEEN ? AND ? ORDER BY block, log_index',
      )
      .all(job, from, to) as {
      block_hash: string;
      log_index: number;
      block: number;
      name: string;
      payee: string | null;
      fields: string;
    }[];
    return rows.map((row) => ({
      block: row.block,
      blockHash: row.block_hash,
      logIndex: row.log_index,
      name: row.name,
      payee: row.payee as Address | null,
      fields: JSON.parse(row.fields) as Record<string, string>,
    }));
  }

  /** What a window that was read again changed. */
  takeWindow(
    job: JobId,
    change: { readonly added: readonly StoredEvent[]; readonly gone: readonly StoredEvent[] },
  ): void {
    if (change.added.length + change.gone.length === 0) return;
    this.immediate(() => {
      const remove = this.db.prepare(
        'DELETE FROM event WHERE job = ? AND block_hash = ? AND log_index = ?',
      );
      for (const event of change.gone) remove.run(job, event.blockHash, event.logIndex);
      const add = this.db.prepare(
        'INSERT INTO event (job, block_hash, log_index, block, name, payee, fields) VALUES (?, ?, ?, ?, ?, ?, ?) ' +
          'ON CONFLICT DO NOTHING',
      );
      for (const { block, blockHash, logIndex, name, payee, fields } of change.added) {
        add.run(job, blockHash, logIndex, block, name, payee, JSON.stringify(fields));
      }
    });
  }

  /** How far events were read. */
  scanned(job: JobId, block: number): void {
    const statement = 'UPDATE job SET scanned = ? WHERE id = ? AND scanned IS NOT ?';
    this.db.prepare(statement).run(block, job, block);
  }

  /** How far they count. */
  counted(job: JobId, block: number): void {
    const statement = 'UPDATE job SET counted = ? WHERE id = ? AND counted IS NOT ?';
    this.db.prepare(statement).run(block, job, block);
  }

  spendRecord(): SpendRecord {
    const lanes = this.db.prepare('SELECT lane, cumulative FROM promised').all() as {
      lane: string;
      cumulative: string;
    }[];
    const minutes = this.db.prepare('SELECT minute, amount FROM spent ORDER BY minute').all() as {
      minute: number;
      amount: string;
    }[];
    return {
      lanes: new Map(lanes.map(({ lane, cumulative }) => [lane, BigInt(cumulative)])),
      minutes: new Map(minutes.map(({ minute, amount }) => [minute, BigInt(amount)])),
    };
  }

  /** What was promised; for vouchers of one turn, in one transaction. */
  promise(
    lanes: ReadonlyMap<string, bigint>,
    minutes: ReadonlyMap<number, bigint>,
    oldestMinute: number,
  ): void {
    this.immediate(() => {
      const lane = this.db.prepare(
        'INSERT OR REPLACE INTO promised (lane, cumulative) VALUES (?, ?)',
      );
      for (const [name, cumulative] of lanes) lane.run(name, cumulative.toString());
      const minute = this.db.prepare('INSERT OR REPLACE INTO spent (minute, amount) VALUES (?, ?)');
      for (const [at, amount] of minutes) minute.run(at, amount.toString());
      this.db.prepare('DELETE FROM spent WHERE minute < ?').run(oldestMinute);
    });
  }

  close(): void {
    this.db.close();
  }

  /** Files of an earlier build do not say what counts: it is read once more. */
  private upgrade(): void {
    const columns = this.db.prepare('PRAGMA table_info(job)').all() as { readonly name: string }[];
    if (columns.some(({ name }) => name === 'counted')) return;
    this.db.exec('ALTER TABLE job ADD COLUMN counted INTEGER');
  }

  private addAttempt(id: number, attempt: Attempt, atMs: number): void {
    const { hash, raw, maxFeePerGas, maxPriorityFeePerGas } = attempt;
    this.db
      .prepare(
        'INSERT INTO attempt (hash, tx, raw, max_fee, max_tip, at_ms) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      )
      .run(hash, id, raw, maxFeePerGas.toString(), maxPriorityFeePerGas.toString(), atMs);
  }

  private select(where: string): readonly OutboxRow[] {
    const rows = this.db.prepare(`SELECT * FROM tx WHERE chain = ? AND ${where}`).all(this.chain);
    return (rows as TxRecord[]).map(rowOf);
  }

  /** One transaction that has the write lock from its beginning: what it reads is what it changes. */
  private immediate<T>(act: () => T): T {
    return this.db.transaction(act).immediate();
  }
}
