/**
 * @file The voucher path as a process that can be killed: the engine's journal, treasury and paymaster with real files and a real
 * key; units out of thin air. Each voucher is written to standard output, synchronously, when it is sent.
 */
import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Address, LeaseId, ProgramHash, SignedVoucher, WorkerId } from '@ravenlab/protocol';
import { encodeVoucher } from '@ravenlab/protocol';
import { EngineJournal } from '../../kernel/src/engine/engineJournal.js';
import { SharedHeap } from '../../kernel/src/engine/heap.js';
import { Treasury } from '../../kernel/src/engine/treasury/treasury.js';
import { DEFAULT_POLICY } from '../../kernel/src/engine/treasury/makeTreasury.js';
import { Prng } from '../sim/prng.js';
import { paperChain } from './lib/paperChain.js';
import { JOURNAL_THREAD } from './lib/paths.js';
import type { ChildOrders, FromChild } from './lib/voucherMessages.js';
import { lanesIn, vouchersIn } from './lib/voucherMessages.js';

const orders = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as ChildOrders;
const { folder, isEarly, seed } = orders;
const prng = new Prng(seed);
const now = (): number => Math.trunc(performance.now());
const say = (message: FromChild): void => {
  writeSync(1, `${JSON.stringify(message)}\n`);
};
const send = (voucher: SignedVoucher, lines: readonly string[]): void => {
  say({ kind: 'sent', voucher: encodeVoucher(voucher), lines });
};
const fail = (what: unknown): void => {
  say({ kind: 'failed', text: String(what) });
};

const journal: EngineJournal = new EngineJournal({
  ...{ folder, mode: 'off', bootId: 'drill', memory: new SharedHeap().memory, now },
  thread: new Worker(JOURNAL_THREAD),
  capture: () => {
    throw new Error('no images are taken here');
  },
  onCopied: () => undefined,
  onDurable: () => undefined,
  onWritten: () => undefined,
  onStored: (rows) => {
    treasury.stored(rows);
  },
  onFiles: () => undefined,
  onRoom: () => undefined,
  onTrouble: fail,
  onRecovered: () => undefined,
  onFatal: fail,
});
const restored = await journal.open();

const chain = paperChain(
  {
    file: join(folder, 'settled.txt'),
    // The control: what a program does that sends first and stores then.
    ...(isEarly ? { onSigned: (voucher: SignedVoucher) => send(voucher, []) } : {}),
  },
  lanesIn(orders),
);
const treasury: Treasury = new Treasury({
  verdictOf: () => 'accepted',
  ...{ chain, restored: restored.pay, now, wallMs: Date.now },
  rate: { perGflop: 1n, perMib: 0n },
  policy: { ...DEFAULT_POLICY, holdbackMs: 50 },
  write: (row) => {
    journal.paid(row);
  },
  log: (cursor, limit) => journal.log(cursor, limit),
  send: (payee, vouchers) => {
    for (const { voucher, lines } of vouchers) {
      if (!isEarly) send(voucher, lines);
      const ackMs = prng.between(0, 29);
      setTimeout(() => {
        const { job, seq } = voucher;
        treasury.acknowledged({ worker: workerOf(payee), payee }, { kind: 'voucherAck', job, seq });
      }, ackMs);
    }
  },
  onTerms: () => undefined,
  onOpen: () => undefined,
  onCover: () => undefined,
  serverKey: () => '',
  tell: (_level, text) => fail(text),
});

function workerOf(payee: Address): WorkerId {
  return payee.slice(2).padEnd(64, '0') as WorkerId;
}

const local = 'f'.repeat(64) as WorkerId;
treasury.start();
treasury.joined(local, null, true);
const held = vouchersIn(orders);
for (const payee of orders.payees) {
  const worker = workerOf(payee);
  treasury.presented({ worker, payee }, held.get(payee) ?? null);
  treasury.joined(worker, payee, false);
}

let lease = restored.boot * 2 ** 36;
let request = 0;

/** One unit, metered and paid as the engine does it. */
function unit(worker: WorkerId): void {
  const key = { session: restored.boot, request: ++request, shard: 0 };
  const amount = BigInt(1 + prng.between(0, 2 ** 30)) * 2n ** 16n;
  const atMs = Date.now();
  journal.paid({ ...key, worker, flops: 1e6, amount: String(amount), atMs });
  const isLate = prng.between(0, 1) === 0;
  const own = ++lease as LeaseId;
  const program = 'a'.repeat(64) as ProgramHash;
  const about = { worker, lease: own, program, flops: 1e6, sizeBytes: 8, amount, digest: null };
  treasury.committed({ ...key, ...about }, isLate ? null : 'accepted');
  if (!isLate) return;
  const verdict = prng.between(0, 19) === 0 ? 'refused' : 'accepted';
  setTimeout(
    () => {
      treasury.judged([own], verdict);
    },
    prng.between(0, 19),
  );
}

setInterval(() => {
  for (const payee of orders.payees) if (prng.between(0, 1) === 0) unit(workerOf(payee));
  unit(local);
}, 1);
say({ kind: 'ready' });
