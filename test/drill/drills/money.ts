/**
 * @file The whole way of the money on a network of its own: three contributors earn while a model trains, one is killed, the master
 * is killed -9; each redeems alone what it holds, the payer gets back the rest, and the log hashes to what the chain was told.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address, Hash32 } from '@ravenlab/protocol';
import { NO_RECEIPT, VOUCHER_LIMITS } from '@ravenlab/protocol';
import type { LedgerLog, LogLane } from '../../../kernel/src/core/ledger/ledgerLog.js';
import { readLedgerLog } from '../../../kernel/src/core/ledger/ledgerLog.js';
import { NO_CHAIN } from '../../../kernel/src/engine/chain/noChain.js';
import { JournalDatabase } from '../../../kernel/src/engine/journalDatabase.js';
import type { Restored } from '../../../kernel/src/engine/journalMessages.js';
import { exportPart } from '../../../kernel/src/engine/treasury/exportPart.js';
import { DEFAULT_POLICY } from '../../../kernel/src/engine/treasury/makeTreasury.js';
import { nowMs, sleep, until } from '../lib/clock.js';
import type { Drill, DrillContext } from '../lib/drill.js';
import { Network, workerCommand } from '../lib/network.js';
import { Rig } from '../lib/rig.js';
import type { Figure } from '../lib/verdict.js';
import { atMost, holds, none, note } from '../lib/verdict.js';
import type { WorkerProcess } from '../lib/workers.js';

const COINS = 10n ** 18n;
const MINTED = 1_000n;
const DEPOSIT = 100n;
const ETHER = 10n ** 18n;
const WORKERS = 3;
/** Between the kill of a worker and that of the master; ms. */
const EARN_MS = 6_000;
/** Beyond the expiry of a month and the day of grace. */
const TRAVEL_S = 60 * 86_400;
/** What may be on its way besides what is held back: a voucher's interval, and the way through signer, disk and wire; ms. */
const WAY_MS = VOUCHER_LIMITS.everyMs + 1_500;

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** What a dead engine's disk says. */
interface Books {
  readonly restored: Restored;
  readonly log: LedgerLog;
  readonly bytes: number;
}

/** A contributor after everybody else is gone. */
interface Account {
  readonly name: string;
  readonly address: Address;
  readonly metered: bigint;
  readonly units: number;
  readonly lane: LogLane;
  readonly redeemed: bigint;
  /** Sum of the voucher on its own disk. */
  readonly promised: bigint;
  readonly promisedHead: Hash32;
  /** Units at the head of that voucher. */
  readonly promisedUnits: number;
  readonly heldUnits: number;
}

async function readBooks(home: string): Promise<Books> {
  const folder = join(home, 'engines');
  const [id, ...others] = readdirSync(folder).filter((each) =>
    existsSync(join(folder, each, 'journal.sqlite')),
  );
  if (id === undefined || others.length > 0) throw new Error(`${folder} holds not one ledger`);
  const database = new JournalDatabase(join(folder, id), 'drill');
  try {
    const restored = database.open();
    let text = '';
    for (let cursor: string | null = null; ;) {
      const part = await exportPart(
        { format: 'json', cursor },
        (at, limit) => Promise.resolve(database.log(at, limit)),
        NO_CHAIN.status(),
      );
      text += part.text;
      cursor = part.cursor;
      if (cursor === null) break;
    }
    return { restored, log: readLedgerLog(text, sha256), bytes: text.length };
  } finally {
    database.close();
  }
}

/** Trains until each worker holds vouchers, kills one, trains on, kills kernel and engine. @returns seconds of training. */
async function train(rig: Rig, say: DrillContext['say'], isShort: boolean): Promise<number> {
  await until(
    'three lanes with a cap',
    async () => {
      const { payments } = (await rig.status()).panel;
      const isOpen = payments.settlement === 'ready' && payments.balance.reserved !== '0';
      return isOpen && (await rig.status()).sessions.length === WORKERS;
    },
    { timeoutMs: 60_000, everyMs: 200 },
  );
  for (const worker of rig.workers) await rig.present(worker);
  const startedMs = nowMs();
  rig.train();
  const isEarning = (): boolean => rig.workers.every((worker) => promiseOf(worker).amount > 0n);
  await until('a voucher on each disk', isEarning, { timeoutMs: 90_000, everyMs: 100 });
  rig.workers[0]?.signal('SIGKILL');
  say(`a worker is killed at step ${String(rig.kernel.lastStep)}`);
  await sleep(isShort ? EARN_MS / 3 : EARN_MS);
  const { enginePid } = await rig.status();
  const { lastStep } = rig.kernel;
  process.kill(enginePid, 'SIGKILL');
  await rig.kernel.kill();
  say(`kernel and engine are killed at step ${String(lastStep)}`);
  const seconds = (nowMs() - startedMs) / 1000;
  // What the others were sent they have, or it is lost with the connection.
  await sleep(500);
  for (const worker of rig.running) worker.signal('SIGKILL');
  return seconds;
}

/** What a worker's own disk says it was promised last. */
function promiseOf(worker: WorkerProcess): { readonly amount: bigint; readonly head: Hash32 } {
  const lanes = join(worker.home, 'worker', 'wallet-1', 'lanes');
  const files = existsSync(lanes) ? readdirSync(lanes) : [];
  const file = files.find((each) => each.endsWith('.json'));
  const text = file === undefined ? '{}' : readFileSync(join(lanes, file), 'utf8');
  const { voucher = null } = JSON.parse(text) as {
    readonly voucher?: { readonly cumulative: string; readonly ledgerHead: Hash32 } | null;
  };
  if (voucher === null) return { amount: 0n, head: NO_RECEIPT };
  return { amount: BigInt(voucher.cumulative), head: voucher.ledgerHead };
}

const addressOf = (worker: WorkerProcess): Address => {
  const file = join(worker.home, 'worker', 'wallet-1', 'keystore.json');
  const { address } = JSON.parse(readFileSync(file, 'utf8')) as { readonly address: string };
  return `0x${address.toLowerCase().replace(/^0x/, '')}` as Address;
};

/** Two with ether of their own; the last one has none and asks the second to submit for it. */
async function redeemAll(network: Network, workers: readonly WorkerProcess[]): Promise<void> {
  const rpc = ['--rpc', network.chain.url];
  const [first, second, last] = workers;
  if (first === undefined || second === undefined || last === undefined) return;
  for (const worker of [first, second]) {
    await network.giveEther(addressOf(worker), ETHER);
    await workerCommand(['redeem', ...rpc, '--force'], worker.home);
  }
  const request = join(last.home, 'request.json');
  await workerCommand(['redeem', '--relay', request], last.home);
  await workerCommand(['relay', request, ...rpc, '--force'], second.home);
}

function accountOf(worker: WorkerProcess, books: Books, redeemed: bigint): Account {
  const { restored, log } = books;
  const address = addressOf(worker);
  const { wallets, held } = restored.pay;
  const ids = wallets.filter(({ payee }) => payee === address).map((each) => String(each.worker));
  const accounts = restored.accounts.filter(({ worker: id }) => ids.includes(id));
  const lane = log.lanes.find(({ payee }) => payee === address);
  if (lane === undefined) throw new Error(`the log has no lane of ${worker.name}`);
  const { amount, head } = promiseOf(worker);
  return {
    name: worker.name,
    ...{ address, lane, redeemed, promised: amount, promisedHead: head },
    metered: accounts.reduce((sum, { posted }) => sum + BigInt(posted), 0n),
    units: accounts.reduce((sum, { units }) => sum + units, 0),
    promisedUnits: lane.points.get(head)?.count ?? -1,
    heldUnits: held.filter(({ payee }) => payee === address).length,
  };
}

function figuresOf(account: Account, books: Books, seconds: number): Figure[] {
  const { name, lane, address, metered, units, redeemed, promised } = account;
  const held = books.restored.pay.held
    .filter(({ payee }) => payee === address)
    .reduce((sum, { amount }) => sum + amount, 0n);
  const pace = units / seconds;
  const window = Math.ceil(
    DEFAULT_POLICY.holdbackUnits + VOUCHER_LIMITS.unitsPerVoucher + (pace * WAY_MS) / 1000,
  );
  const point = lane.points.get(account.promisedHead);
  const apart = (a: bigint, b: bigint): number => Number(a > b ? a - b : b - a);
  return [
    note(`${name} units`, units),
    note(`${name} earned`, String(metered)),
    note(`${name} redeemed`, String(redeemed)),
    none(`${name} earned less receipts and held`, apart(metered, lane.earned + held)),
    none(`${name} redeemed less its voucher`, apart(redeemed, promised)),
    none(`${name} voucher less its receipts`, apart(promised, point?.earned ?? -1n)),
    holds(
      `${name} ledger has its voucher`,
      lane.voucher !== null && lane.voucher.cumulative >= promised,
    ),
    atMost(`${name} units not redeemed`, units - account.promisedUnits, window),
  ];
}

/** What the chain was told, against the log: each payment names a head, and pays what was earned up to it. */
async function anchors(network: Network, log: LedgerLog): Promise<Figure[]> {
  const to = await network.client.blockNumber();
  const events = await network.escrow.events(network.job, { from: 0, to });
  const paid = events.filter(({ name }) => name === 'Paid');
  let astray = 0;
  let apart = 0n;
  for (const { values } of paid) {
    const payee = String(values['payee']).toLowerCase();
    const lane = log.lanes.find((each) => each.payee === payee);
    const point = lane?.points.get(values['ledgerHead'] as Hash32);
    if (point === undefined) astray++;
    const difference = (point?.earned ?? 0n) - (values['cumulative'] as bigint);
    apart += difference < 0n ? -difference : difference;
  }
  return [
    note('payments on the chain', paid.length),
    none('payments whose head the log does not hash to', astray),
    none('payments less what was earned up to their heads', Number(apart)),
  ];
}

async function money({ isShort, say }: DrillContext): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'ravenlab-money-'));
  const home = join(folder, 'payer');
  const network = await Network.open({ home, minted: MINTED, deposit: DEPOSIT });
  let rig: Rig | null = null;
  try {
    say('escrow deployed, job open');
    rig = await Rig.start({
      ...{ model: 'mlp', workers: WORKERS, home },
      env: { RAVENLAB_CHAIN: join(home, 'chain.json') },
      workerArgs: [
        ...['--rpc', network.chain.url, '--token', network.token],
        ...['--backend', 'onnx-cpu'],
      ],
    });
    const seconds = await train(rig, say, isShort);
    const books = await readBooks(home);
    const before = await Promise.all(rig.workers.map((each) => network.balance(addressOf(each))));
    await redeemAll(network, rig.workers);
    const figures: Figure[] = [note('seconds of training', seconds)];
    let redeemed = 0n;
    for (const [index, worker] of rig.workers.entries()) {
      const balance = await network.balance(addressOf(worker));
      redeemed += balance;
      figures.push(none(`${worker.name} had before`, Number(before[index] ?? -1n)));
      figures.push(...figuresOf(accountOf(worker, books, balance), books, seconds));
    }
    figures.push(note('log bytes', books.bytes), ...(await anchors(network, books.log)));
    await network.travel(TRAVEL_S);
    say((await network.cli(['refund'])).trim().split('\n').at(-1) ?? '');
    const rest = await network.balance(network.payer);
    const left = await network.balance(network.escrow.address);
    return [
      ...figures,
      note('redeemed in all', String(redeemed)),
      none('refund less what was not redeemed', Number(MINTED * COINS - redeemed - rest)),
      none('left in the escrow', Number(left)),
    ];
  } finally {
    await rig?.close();
    await network.chain.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

export const MONEY: readonly Drill[] = [
  {
    name: 'money',
    title: 'three workers earn on a chain, all are killed, each redeems alone',
    isInShort: true,
    run: money,
  },
];
