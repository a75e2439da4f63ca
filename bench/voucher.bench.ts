/**
 * @file What vouchers cost the master: 100 contributors, 19 units and one voucher a second each, beside the same units without any.
 * CPU time of all threads: paymaster, hashing, signing, the journal's disk, and the message. Verifying is the workers' own. The chain is
 * one on paper: what is left out is the hop to the chain's thread, where an engine's vouchers are signed, and its rows.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Address, Hash32, LeaseId, ProgramHash, WorkerId } from '@ravenlab/protocol';
import { VOUCHER_LIMITS, encodeEngineMessage } from '@ravenlab/protocol';
import { EngineJournal } from '../kernel/src/engine/engineJournal.js';
import { tuneGarbageCollection } from '../kernel/src/engine/gcFlags.js';
import { SharedHeap } from '../kernel/src/engine/heap.js';
import { DEFAULT_POLICY } from '../kernel/src/engine/treasury/makeTreasury.js';
import { Treasury } from '../kernel/src/engine/treasury/treasury.js';
import { PAPER_JOB, paperChain } from '../test/drill/lib/paperChain.js';
import { JOURNAL_THREAD } from '../test/drill/lib/paths.js';
import { report } from './lib/report.js';

const WORKERS = 100;
/** As many as go into one voucher a second: from 20 on, which make one too, there are more vouchers than that. */
const UNITS_PER_SECOND = VOUCHER_LIMITS.unitsPerVoucher - 1;
/** Blocks with and without take turns: whatever else runs is beside both. */
const BLOCKS = 2;
const SECONDS = 6;
/** The first vouchers wait for what is held back, and V8 compiles. */
const WARM_UP_SECONDS = 3;
const TICK_MS = 10;
const BAR = 0.15;

interface Run {
  /** Share of one core. */
  readonly cpu: number;
  readonly vouchers: number;
  readonly units: number;
}

const fail = (what: unknown): never => {
  throw new Error(String(what));
};
const payeeOf = (index: number) => `0x${index.toString(16).padStart(40, '0')}` as Address;
/** What workers say they computed; decoding it is the hub's, paid or not. */
const DIGESTS = Array.from(
  { length: 4_096 },
  (_, i) => `0x${createHash('sha256').update(String(i)).digest('hex')}` as Hash32,
);
const workerOf = (index: number) => index.toString(16).padStart(64, '0') as WorkerId;
const PROGRAM = 'a'.repeat(64) as ProgramHash;
const now = () => Math.trunc(performance.now());
const sleep = (ms: number) => new Promise((wake) => setTimeout(wake, ms));

async function run(isPaid: boolean): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'ravenlab-bench-'));
  let treasury: Treasury | null = null;
  const journal = new EngineJournal({
    ...{ folder, mode: 'off', bootId: 'bench', memory: new SharedHeap().memory, now },
    ...{
      thread: new Worker(JOURNAL_THREAD),
      capture: () => fail('no image'),
      onCopied: () => undefined,
    },
    ...{ onDurable: () => undefined, onWritten: () => undefined, onFiles: () => undefined },
    onStored: (rows) => treasury?.stored(rows),
    ...{ onRoom: () => undefined, onTrouble: fail, onRecovered: () => undefined, onFatal: fail },
  });
  const restored = await journal.open();
  let vouchers = 0;
  if (isPaid) {
    const lanes = Array.from({ length: WORKERS }, (_, i) => payeeOf(i));
    const own = makeTreasury(join(folder, 'settled.txt'), lanes);
    treasury = own;
    own.start();
    lanes.forEach((payee, i) => {
      own.joined(workerOf(i), payee, false);
    });
  }

  function makeTreasury(file: string, lanes: readonly Address[]): Treasury {
    return new Treasury({
      chain: paperChain({ file }, lanesOf(lanes)),
      verdictOf: () => 'accepted',
      ...{ restored: restored.pay, now, wallMs: Date.now, policy: DEFAULT_POLICY },
      rate: { perGflop: 1n, perMib: 0n },
      write: (row) => {
        journal.paid(row);
      },
      log: (cursor, limit) => journal.log(cursor, limit),
      send: (payee, issued) => {
        for (const { voucher, lines } of issued) {
          encodeEngineMessage({ kind: 'voucher', voucher, lines });
          vouchers++;
          const { job, seq } = voucher;
          const ack = { kind: 'voucherAck', job, seq } as const;
          setImmediate(() => treasury?.acknowledged({ worker: workerOf(0), payee }, ack));
        }
      },
      ...{ onTerms: () => undefined, onOpen: () => undefined, onCover: () => undefined },
      ...{ serverKey: () => '', tell: (_level, text) => fail(text) },
    });
  }

  let units = 0;
  const workers = Array.from({ length: WORKERS }, (_, i) => workerOf(i));
  const unit = (index: number): void => {
    const key = { session: 1, request: ++units, shard: 0 };
    const worker = workers[index] ?? fail('no worker');
    const about = { worker, flops: 1e9, amount: 10n ** 12n };
    journal.paid({ ...key, worker, flops: 1e9, amount: '1000000000000', atMs: Date.now() });
    const digest = DIGESTS[units % DIGESTS.length] ?? null;
    const lease = units as LeaseId;
    treasury?.committed(
      { ...key, ...about, lease, program: PROGRAM, sizeBytes: 8, digest },
      'accepted',
    );
  };
  const perTick = (WORKERS * UNITS_PER_SECOND * TICK_MS) / 1000;
  const startedMs = performance.now();
  let due = 0;
  const timer = setInterval(() => {
    // What a late timer left out is done as well: the load is the same whoever else runs.
    const wanted = ((performance.now() - startedMs) / TICK_MS) * perTick;
    for (; due < wanted; due++) unit(due % WORKERS);
  }, TICK_MS);
  await sleep(WARM_UP_SECONDS * 1000);
  const before = { cpu: process.cpuUsage(), atMs: performance.now(), vouchers, units };
  await sleep(SECONDS * 1000);
  const { user, system } = process.cpuUsage(before.cpu);
  const seconds = (performance.now() - before.atMs) / 1000;
  clearInterval(timer);
  treasury?.close();
  await journal.close();
  rmSync(folder, { recursive: true, force: true });
  return {
    cpu: (user + system) / 1e6 / seconds,
    vouchers: (vouchers - before.vouchers) / seconds,
    units: (units - before.units) / seconds,
  };
}

const lanesOf = (payees: readonly Address[]) =>
  payees.map((payee) => ({ job: PAPER_JOB, payee, cap: 2n ** 100n, paid: 0n }));

// As the engine's process does.
tuneGarbageCollection();

const runs: { readonly without: Run[]; readonly paid: Run[] } = { without: [], paid: [] };
for (let block = 0; block < BLOCKS; block++) {
  runs.without.push(await run(false));
  runs.paid.push(await run(true));
}
const mean = (all: readonly Run[], of: keyof Run): number =>
  all.reduce((sum, each) => sum + each[of], 0) / all.length;
const without = mean(runs.without, 'cpu');
const paid = mean(runs.paid, 'cpu');
const units = mean(runs.paid, 'units');
const baseline = { name: 'units without vouchers', value: without };
report(
  'voucher',
  [],
  [
    // A machine that is too slow to pay everybody every second would look cheap.
    {
      metric: 'vouchersPerSecond',
      value: mean(runs.paid, 'vouchers'),
      baseline: { name: 'payees', value: WORKERS },
      atLeast: WORKERS * 0.95,
    },
    {
      metric: 'receiptsPerSecond',
      value: units,
      baseline: { name: 'without vouchers', value: mean(runs.without, 'units') },
    },
    { metric: 'coresWithVouchers', value: paid, baseline },
    { metric: 'coresOfVouchers', value: paid - without, baseline, atMost: BAR },
  ],
  { workers: WORKERS, unitsPerSecond: UNITS_PER_SECOND, blocks: BLOCKS, load: loadavg()[0] ?? 0 },
);
