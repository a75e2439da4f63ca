/** @file The journal's database on a real file system: one transaction, rows that count once, one owner. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FolderLockedError, JournalDatabase } from '../../../kernel/src/engine/journalDatabase.js';
import { packPay } from '../../../kernel/src/engine/treasury/payRows.js';
import type {
  JournalRecord,
  LedgerRow,
  VoidedUnits,
} from '../../../kernel/src/engine/journalMessages.js';

let folder = '';
const opened: JournalDatabase[] = [];
function open(bootId = 'this start'): JournalDatabase {
  const database = new JournalDatabase(folder, bootId);
  opened.push(database);
  return database;
}
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ravenlab-journal-'));
});
afterEach(() => {
  for (const database of opened.splice(0)) database.close();
  rmSync(folder, { recursive: true, force: true });
});

const row = (request: number, shard: number, worker = 'w'): LedgerRow => ({
  ...{ session: 1, request, shard, worker, flops: 100, amount: '12345678901234567890', atMs: 1 },
});
const rows = (all: readonly LedgerRow[], voided: readonly VoidedUnits[] = []) => ({
  ...{ rows: all, voided },
  pay: packPay([]),
});
const record = (request: number, isSynced: boolean, bootId = 'this start'): JournalRecord => ({
  image: { slot: 0, point: { session: 1, request }, isSynced },
  client: 'kernel',
  bootId,
  nonce: String(request),
  snapshot: '{}',
});

test('rows that are written twice count once, and their money is exact', () => {
  const database = open();
  expect(database.open()).toMatchObject({ boot: 1, current: null, accounts: [] });
  database.write(rows([row(1, 0), row(1, 1)]), [], null, false);
  database.write(rows([row(1, 1), row(1, 2, 'v')]), [], record(1, true), true);
  database.close();
  opened.length = 0;
  const restored = open().open();
  expect(restored.boot).toBe(2);
  expect(restored.accounts).toEqual([
    { worker: 'v', posted: '12345678901234567890', units: 1 },
    { worker: 'w', posted: '24691357802469135780', units: 2 },
  ]);
});

test('a large batch that meets rows which are there counts the others, and all of them', () => {
  const shards = Array.from({ length: 100 }, (_, shard) => row(1, shard));
  const database = open();
  database.open();
  database.write(rows([row(1, 40), row(1, 99)]), [], null, false);
  database.write(rows(shards), [], null, false);
  expect(database.open().accounts).toMatchObject([{ worker: 'w', units: 100 }]);
  database.write(rows(shards), [], null, false);
  const { accounts, paid } = database.open();
  expect(accounts).toEqual([{ worker: 'w', posted: '1234567890123456789000', units: 100 }]);
  expect(paid.map(({ shard }) => shard)).toEqual(shards.map(({ shard }) => shard));
});

test('paid shards are told of requests above the image only', () => {
  const database = open();
  database.open();
  database.write(rows([row(1, 0), row(2, 0), row(2, 3)]), [], record(1, false), false);
  expect(database.open()).toMatchObject({
    current: { nonce: '1' },
    paid: [
      { session: 1, request: 2, shard: 0 },
      { session: 1, request: 2, shard: 3 },
    ],
    lastSession: 1,
  });
});

test('after a start of the machine only an image that was forced to the disk is trusted', () => {
  const database = open();
  database.open();
  database.write(rows([]), [{ key: 'p', bytes: Uint8Array.of(1, 2) }], record(1, true), true);
  database.write(rows([row(2, 0)]), [], record(2, false), false);
  expect(database.open().current?.nonce).toBe('2');
  database.close();
  opened.length = 0;
  const restored = open('the next start').open();
  expect(restored.current?.nonce).toBe('1');
  expect(restored.paid).toEqual([{ session: 1, request: 2, shard: 0 }]);
  expect(restored.blobs).toEqual([{ key: 'p', bytes: Uint8Array.of(1, 2) }]);
});

test('a second owner of the folder is refused', () => {
  open();
  expect(() => open()).toThrow(FolderLockedError);
});

test('a cheat loses what it was paid above the image, and what earlier lives left there unchecked', () => {
  const database = open();
  database.open();
  database.write(rows([row(1, 0, 'liar'), row(1, 1)]), [], record(1, true), true);
  database.write(rows([row(2, 0, 'liar'), row(2, 1)]), [], null, true);
  // Another one was caught: both rows of request 2 are done again, and stay paid.
  expect(database.open(['other']).accounts).toMatchObject([{ units: 2 }, { units: 2 }]);
  database.write(rows([row(3, 0, 'liar'), row(3, 1)]), [], record(3, true), true);
  database.write(rows([row(4, 0, 'liar')]), [], null, true);
  const { accounts, paid } = database.open(['other', 'liar']);
  expect(accounts).toMatchObject([
    { worker: 'liar', units: 2 },
    { worker: 'w', units: 3 },
  ]);
  expect(paid).toEqual([]);
});

test('a cheat that is found after a rewind without an image loses what it was paid before', () => {
  const database = open();
  database.open();
  database.write(rows([row(1, 0, 'liar'), row(1, 1)]), [], null, true);
  // Another one was caught before there was any image.
  database.open(['other']);
  database.write(rows([row(2, 0)]), [], record(2, true), true);
  const { accounts } = database.open(['other', 'liar']);
  expect(accounts).toMatchObject([
    { worker: 'liar', posted: '0', units: 0 },
    { worker: 'w', units: 2 },
  ]);
});

test('what a cheat did for a notebook that was shut down stays as it was judged then', () => {
  const database = open();
  database.open();
  database.write(rows([row(1, 0, 'liar')]), [], record(1, true), true);
  database.forget();
  expect(database.open(['liar']).accounts).toMatchObject([{ worker: 'liar', units: 1 }]);
});

test('units that do not count are unpaid at once, and may be paid to somebody else', () => {
  const database = open();
  database.open();
  const done = [row(1, 4, 'liar'), row(1, 5, 'liar'), row(1, 6, 'other'), row(1, 7, 'liar')];
  const voided = { kind: 'voided', session: 1, request: 1, shard: 4, count: 3 } as const;
  // In one batch and in the next, and twice: the order of causes is kept, and nothing is taken off twice.
  database.write(rows(done, [{ ...voided, worker: 'liar' }]), [], record(1, true), true);
  database.write(rows([], [{ ...voided, worker: 'liar' }]), [], null, true);
  database.write(rows([row(1, 4, 'w'), row(1, 5, 'w')]), [], null, true);
  expect(database.open().accounts).toMatchObject([
    { worker: 'liar', units: 1 },
    { worker: 'other', units: 1 },
    { worker: 'w', units: 2 },
  ]);
});

test('what is forgotten is gone, but for the ledger and the count of starts', () => {
  const database = open();
  database.open();
  database.write(rows([row(1, 0)]), [], record(1, true), true);
  database.writeRemote('keys');
  database.forget();
  const restored = database.open();
  expect(restored).toMatchObject({ boot: 2, current: null, lastSynced: null, remote: null });
  expect(restored.accounts).toHaveLength(1);
});
