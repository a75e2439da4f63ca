/**
 * @file The ledger's tables on a real file system: what is held and what has receipts after a restart, and exports that hash to what
 * was promised. The paymaster decides what is written, as in an engine.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import type {
  Address,
  ExportFormat,
  Hash32,
  JobId,
  LeaseId,
  ProgramHash,
  Verdict,
  WorkerId,
} from '@ravenlab/protocol';
import { VOUCHER_LIMITS } from '@ravenlab/protocol';
import { Trace } from '../../../../kernel/src/core/cluster/transition.js';
import { readLedgerLog } from '../../../../kernel/src/core/ledger/ledgerLog.js';
import type { PaymasterEvent } from '../../../../kernel/src/core/ledger/payEvents.js';
import type { CommittedWork } from '../../../../kernel/src/core/ledger/payLane.js';
import { Paymaster } from '../../../../kernel/src/core/ledger/paymaster.js';
import { NO_CHAIN } from '../../../../kernel/src/engine/chain/noChain.js';
import { JournalDatabase } from '../../../../kernel/src/engine/journalDatabase.js';
import { exportPart } from '../../../../kernel/src/engine/treasury/exportPart.js';
import type { PayRow } from '../../../../kernel/src/engine/treasury/payRows.js';
import { packPay } from '../../../../kernel/src/engine/treasury/payRows.js';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const JOB = `0x${'7'.repeat(64)}` as JobId;
const payeeOf = (index: number) => `0x${index.toString(16).padStart(40, '0')}` as Address;
const SIGNATURE = { r: `0x${'3'.repeat(64)}` as Hash32, vs: `0x${'4'.repeat(64)}` as Hash32 };

let folder = '';
let database: JournalDatabase;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ravenlab-pay-'));
  database = new JournalDatabase(folder, 'boot');
  database.open();
});
afterEach(() => {
  database.close();
  rmSync(folder, { recursive: true, force: true });
});

let nextLease = 0;
beforeEach(() => {
  nextLease = 0;
});

function workFor(payee: Address): CommittedWork {
  const lease = ++nextLease as LeaseId;
  return {
    ...{ session: 2 ** 40, request: lease, shard: lease % 7, lease, payee },
    worker: createHash('sha256').update(payee).digest('hex') as WorkerId,
    program: (lease % 2 === 0 ? 'a' : 'b').repeat(64) as ProgramHash,
    ...{ flops: 2 ** 52 + lease, sizeBytes: lease * 1_000 },
    // Beyond 64 bits, and beyond what a double counts.
    amount: 2n ** 80n + BigInt(lease),
    result: `0x${createHash('sha256').update(String(lease)).digest('hex')}` as Hash32,
  };
}

/** A paymaster whose effects are rows; nothing is signed unless a test does. */
function office(options: { readonly holdbackUnits: number }) {
  const paymaster = new Paymaster({
    policy: { ...options, holdbackMs: 1e9, startCredit: 1n, maxCredit: 1n },
    ...{ sha256, trace: new Trace(), held: [] },
  });
  const rows: PayRow[] = [];
  const vouchers: { readonly payee: Address; readonly seq: number }[] = [];
  const feed = (event: PaymasterEvent, now: number): void => {
    for (const effect of paymaster.step(event, now)) {
      if (effect.kind === 'receipts' || effect.kind === 'kept') rows.push(effect);
      else if (effect.kind === 'waive') rows.push({ kind: 'waived', work: effect.work });
      else if (effect.kind === 'sign') {
        feed({ kind: 'signed', voucher: effect.voucher, signature: SIGNATURE }, now);
      } else if (effect.kind === 'store') {
        rows.push({ kind: 'voucher', voucher: effect.voucher, count: effect.count });
        vouchers.push({ payee: effect.voucher.payee, seq: effect.voucher.seq });
      }
    }
  };
  const commit = (payee: Address, verdict: Verdict | null, now: number): CommittedWork => {
    const work = workFor(payee);
    rows.push({ kind: 'held', work });
    feed({ kind: 'committed', work, verdict }, now);
    return work;
  };
  const open = (payees: readonly Address[]): void => {
    feed({ kind: 'opened', job: JOB, lanes: [], rule: null }, 0);
    for (const payee of payees) {
      feed({ kind: 'joined', payee, presence: 'invited' }, 0);
      feed({ kind: 'lane', payee, cap: 2n ** 110n, paid: 0n }, 0);
    }
  };
  /** One transaction of all that is new. */
  const flush = (): void => {
    database.write({ rows: [], voided: [], pay: packPay(rows.splice(0)) }, [], null, false);
    for (const { payee, seq } of vouchers.splice(0)) feed({ kind: 'stored', payee, seq }, 0);
  };
  return { paymaster, rows, feed, commit, open, flush };
}

/** The next life of the engine. */
function restart(): ReturnType<JournalDatabase['open']>['pay'] {
  database.close();
  database = new JournalDatabase(folder, 'boot');
  return database.open().pay;
}

async function exported(format: ExportFormat): Promise<string> {
  let text = '';
  let cursor: string | null = null;
  do {
    const part: { readonly text: string; readonly cursor: string | null } = await exportPart(
      { format, cursor },
      (from, limit) => Promise.resolve(database.log(from, Math.min(limit, 50))),
      NO_CHAIN.status(),
    );
    text += part.text;
    cursor = part.cursor;
  } while (cursor !== null);
  return text;
}

test('a unit is held until its receipt is on the disk, over any restart, in the order of its payee', () => {
  const [a, b] = [payeeOf(1), payeeOf(2)];
  const pay = office({ holdbackUnits: 2 });
  pay.open([a, b]);
  const ofA = Array.from({ length: 5 }, () => pay.commit(a, 'accepted', 10));
  const ofB = Array.from({ length: 3 }, () => pay.commit(b, null, 10));
  pay.flush();
  // Receipts for three of A: two are held back. None of B is judged.
  pay.feed({ kind: 'tick' }, 2_000);
  pay.flush();
  const held = restart().held;
  expect(held).toEqual([...ofA.slice(3), ...ofB]);
  pay.feed({ kind: 'judged', leases: ofB.map(({ lease }) => lease), verdict: 'refused' }, 2_001);
  pay.flush();
  expect(restart().held).toEqual(ofA.slice(3));
  pay.feed({ kind: 'release' }, 2_002);
  pay.flush();
  expect(restart().held).toEqual([]);
  const db = new Database(join(folder, 'journal.sqlite'));
  expect(db.prepare('SELECT count(*) AS n FROM works').get()).toMatchObject({ n: 0 });
  db.close();
});

test('exports of many lanes and vouchers hash to what each voucher promises', async () => {
  const payees = Array.from({ length: 5 }, (_, i) => payeeOf(i + 1));
  const pay = office({ holdbackUnits: 0 });
  pay.open(payees);
  for (let round = 1; round <= 120; round++) {
    for (const [i, payee] of payees.entries()) {
      const verdict = (round * i) % 31 === 1 ? 'refused' : 'accepted';
      pay.commit(payee, verdict, round * 100);
    }
    if (round % 9 === 0) pay.flush();
  }
  pay.feed({ kind: 'release' }, 1e6);
  pay.flush();
  for (const format of ['csv', 'json'] as const) {
    const log = readLedgerLog(await exported(format), sha256);
    expect(log.lanes).toHaveLength(5);
    for (const lane of log.lanes) {
      const { head, count, earned } = pay.paymaster.lanes.get(lane.payee)?.lane?.head ?? {};
      expect(lane).toMatchObject({ head, count, earned });
      expect(count).toBe(120);
      if (format === 'json') expect(lane.points.has(lane.voucher?.ledgerHead as Hash32)).toBe(true);
    }
    expect(log.lanes.reduce((sum, { verdicts }) => sum + verdicts.refused, 0)).toBeGreaterThan(5);
  }
});

test('a restart finds the vouchers that were not acknowledged, with their receipts', () => {
  const payee = payeeOf(9);
  const pay = office({ holdbackUnits: 0 });
  pay.open([payee]);
  for (let i = 1; i <= 3 * VOUCHER_LIMITS.unitsPerVoucher; i++) {
    pay.commit(payee, 'accepted', i);
    pay.flush();
  }
  pay.feed({ kind: 'acked', payee, seq: 1 }, 100);
  pay.flush();
  const [lane] = restart().lanes;
  expect(lane?.acknowledged).toBe(1);
  expect(lane?.issued.map(({ voucher, lines }) => [voucher.seq, lines.length])).toEqual([
    [2, VOUCHER_LIMITS.unitsPerVoucher],
    [3, VOUCHER_LIMITS.unitsPerVoucher],
  ]);
  expect(lane?.issued.at(-1)?.voucher.ledgerHead).toBe(lane?.chain.head);
  expect(lane?.lines).toEqual([]);
});

test('a lane with more receipts than fit a row is read back whole', async () => {
  const payee = payeeOf(3);
  const pay = office({ holdbackUnits: 0 });
  pay.feed({ kind: 'opened', job: JOB, lanes: [], rule: null }, 0);
  pay.feed({ kind: 'joined', payee, presence: 'trusted' }, 0);
  const count = 2 * VOUCHER_LIMITS.receiptsPerRow + 5;
  for (let i = 0; i < count; i++) pay.commit(payee, 'accepted', i);
  pay.flush();
  expect(readLedgerLog(await exported('csv'), sha256).lanes[0]?.count).toBe(count);
});

test('a transaction that is undone leaves no trace, and its rows can be written again', () => {
  const payee = payeeOf(4);
  const pay = office({ holdbackUnits: 1 });
  pay.open([payee]);
  const first = pay.commit(payee, 'accepted', 1);
  pay.flush();
  const second = pay.commit(payee, 'accepted', 1_500);
  const rows = [...pay.rows];
  // Written after all of it: a blob that no table takes.
  const bad = [{ key: null as unknown as string, bytes: new Uint8Array(1) }];
  expect(() => {
    database.write({ rows: [], voided: [], pay: packPay(rows) }, bad, null, false);
  }).toThrow(/NOT NULL/);
  expect(restart().held).toEqual([first]);
  database.write({ rows: [], voided: [], pay: packPay(rows) }, [], null, false);
  expect(restart().held).toEqual([second]);
});

test('receipts are neither changed nor removed, and a younger unit never gets one before an older', () => {
  const payee = payeeOf(5);
  const [first, second] = [workFor(payee), workFor(payee)];
  const held = [first, second].map((work) => ({ kind: 'held' as const, work }));
  database.write({ rows: [], voided: [], pay: packPay(held) }, [], null, false);
  const waived = packPay([{ kind: 'waived', work: second }]);
  expect(() => {
    database.write({ rows: [], voided: [], pay: waived }, [], null, false);
  }).toThrow(/held unit 2 of a payee is released before 1/);
  const pay = office({ holdbackUnits: 0 });
  pay.open([payee]);
  pay.commit(payee, 'accepted', 1_500);
  pay.feed({ kind: 'release' }, 1_500);
  const rows = pay.rows.filter(({ kind }) => kind === 'receipts');
  database.write({ rows: [], voided: [], pay: packPay(rows) }, [], null, false);
  const db = new Database(join(folder, 'journal.sqlite'));
  expect(() => db.exec('DELETE FROM receipts')).toThrow(/never removed/);
  expect(() => db.exec('UPDATE receipts SET last = 2')).toThrow(/never changed/);
  db.close();
});

test('a cursor that no part gave is refused', async () => {
  const log = (): never => {
    throw new Error('nothing is read');
  };
  for (const cursor of ['', '1', '1:-1', '1:2:3', '1'.repeat(30)]) {
    await expect(exportPart({ format: 'csv', cursor }, log, NO_CHAIN.status())).rejects.toThrow(
      /continues no export/,
    );
  }
});

test('a ledger with a row for each receipt and each held unit is taken over, once', async () => {
  const payee = payeeOf(6);
  const pay = office({ holdbackUnits: 2 });
  pay.open([payee]);
  const works = [1, 2, 3, 4].map((n) => pay.commit(payee, n === 2 ? 'refused' : 'accepted', n));
  pay.feed({ kind: 'tick' }, 2_000);
  const runs = pay.rows.flatMap((row) => (row.kind === 'receipts' ? [row] : []));
  const chain = runs.at(-1)?.chain;
  database.close();
  const db = new Database(join(folder, 'journal.sqlite'));
  db.exec(`
    CREATE TABLE receipt (lane INTEGER, n INTEGER, lease INTEGER, program INTEGER, flops INTEGER,
      size_bytes INTEGER, amount TEXT, result TEXT, is_accepted INTEGER, PRIMARY KEY (lane, n)) WITHOUT ROWID;
    CREATE TABLE held (lease INTEGER PRIMARY KEY, session INTEGER, request INTEGER, shard INTEGER, worker TEXT,
      payee TEXT, program TEXT, flops INTEGER, size_bytes INTEGER, amount TEXT, result TEXT);
    CREATE TRIGGER receipt_remains BEFORE DELETE ON receipt
      BEGIN SELECT RAISE(ABORT, 'a receipt is never removed'); END;
    INSERT INTO word (id, text) VALUES (1, '${'a'.repeat(64)}'), (2, '${'b'.repeat(64)}');`);
  db.prepare('INSERT INTO lane VALUES (1, ?, ?, ?, ?, ?, 0)').run(
    ...[JOB, payee, chain?.count, String(chain?.earned), chain?.head],
  );
  const receipts = runs.flatMap(({ entries }) => entries);
  receipts.forEach(({ work, verdict }, index) => {
    const isAccepted = verdict === 'accepted' ? 1 : 0;
    db.prepare('INSERT INTO receipt VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)').run(
      ...[index + 1, work.lease, work.program.startsWith('a') ? 1 : 2, work.flops, work.sizeBytes],
      ...[String(isAccepted === 1 ? work.amount : 0n), work.result, isAccepted],
    );
  });
  const held = works.slice(receipts.length);
  for (const work of held) {
    db.prepare('INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)').run(
      ...[work.lease, work.session, work.request, work.shard, work.worker, work.payee],
      ...[work.program, work.flops, work.sizeBytes, String(work.amount), work.result],
    );
  }
  db.close();
  database = new JournalDatabase(folder, 'boot');
  expect(receipts).toHaveLength(2);
  expect(held).toHaveLength(2);
  for (let start = 0; start < 2; start++) {
    expect(restart().held).toEqual(held);
    expect(readLedgerLog(await exported('json'), sha256).lanes[0]).toMatchObject({
      count: receipts.length,
      head: chain?.head,
    });
  }
});
