/** @file The ledger of a build that kept a row for each receipt and each held unit, brought to many in a row. Done once, in one transaction. */
import type Database from 'libsql';
import type { Address, Hash32, LeaseId, ProgramHash, WorkerId } from '@ravenlab/protocol';
import { NO_RECEIPT, VOUCHER_LIMITS } from '@ravenlab/protocol';
import type { CommittedWork } from '../../core/ledger/payLane.js';
import type { HeldTable } from './heldTable.js';
import { PayBytes, RECEIPT_BYTES, WORK_BYTES } from './payBytes.js';
import type { WordTable } from './wordTable.js';

/** What both tables had. */
interface OldRow {
  readonly lease: number;
  readonly program: string;
  readonly flops: number;
  readonly size_bytes: number;
  readonly amount: string;
  readonly result: string | null;
}

interface OldReceipt extends OldRow {
  readonly n: number;
  readonly is_accepted: number;
}

interface OldHeld extends OldRow {
  readonly session: number;
  readonly request: number;
  readonly shard: number;
  readonly worker: string;
  readonly payee: string;
}

const NOWHERE = { session: 0, request: 0, shard: 0, worker: '', payee: '' };

export function upgradePay(db: Database.Database, words: WordTable, held: HeldTable): void {
  const old = db.prepare(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'receipt'",
  );
  if (old.get() === undefined) return;
  const move = db.transaction(() => {
    moveReceipts(db, words);
    moveHeld(db, words, held);
    db.exec('DROP TABLE receipt; DROP TABLE held;');
  });
  try {
    move();
  } catch (error) {
    words.forget();
    held.reload();
    throw error;
  }
}

const numbers = (words: WordTable) => ({ numberOf: (text: string) => words.idOf(text) });

function moveReceipts(db: Database.Database, words: WordTable): void {
  const next = db.prepare(
    'SELECT n, lease, text AS program, flops, size_bytes, amount, result, is_accepted FROM receipt ' +
      'JOIN word ON word.id = program WHERE lane = ? AND n > ? ORDER BY n LIMIT ?',
  );
  const add = db.prepare('INSERT INTO receipts (lane, last, bytes) VALUES (?, ?, ?)');
  const lanes = db.prepare('SELECT DISTINCT lane FROM receipt').all() as {
    readonly lane: number;
  }[];
  for (const { lane } of lanes) {
    for (let last = 0; ;) {
      const rows = next.all(lane, last, VOUCHER_LIMITS.receiptsPerRow) as OldReceipt[];
      if (rows.length === 0) break;
      const bytes = new PayBytes(new Uint8Array(rows.length * RECEIPT_BYTES), RECEIPT_BYTES);
      rows.forEach((row, index) => {
        const verdict = row.is_accepted === 1 ? 'accepted' : 'refused';
        const entry = { work: workOf({ ...NOWHERE, ...row }), verdict, line: '' } as const;
        bytes.putReceipt(index, entry, numbers(words));
        last = row.n;
      });
      add.run(lane, last, Buffer.from(bytes.bytes.buffer));
    }
  }
}

function moveHeld(db: Database.Database, words: WordTable, held: HeldTable): void {
  const rows = db.prepare('SELECT * FROM held ORDER BY lease').all() as OldHeld[];
  const bytes = new PayBytes(new Uint8Array(rows.length * WORK_BYTES), WORK_BYTES);
  rows.forEach((row, index) => {
    bytes.putWork(index, workOf(row), numbers(words));
  });
  held.hold(bytes.bytes);
}

function workOf(row: OldHeld): CommittedWork {
  return {
    ...{ session: row.session, request: row.request, shard: row.shard },
    worker: row.worker as WorkerId,
    payee: row.payee as Address,
    lease: row.lease as LeaseId,
    program: row.program as ProgramHash,
    flops: row.flops,
    sizeBytes: row.size_bytes,
    amount: BigInt(row.amount),
    result: (row.result ?? NO_RECEIPT) as Hash32,
  };
}
