/**
 * @file The voucher path is killed at random moments: whatever a worker was sent, and whatever the chain was told, the ledger on
 * the disk has. A control that sends before it stores shows that the drill would see it.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import type { Address, ChainHead, SignedVoucher, WireVoucher } from '@ravenlab/protocol';
import {
  EMPTY_CHAIN,
  appendReceipt,
  checkLog,
  encodeVoucher,
  parseReceiptLine,
} from '@ravenlab/protocol';
import { JournalDatabase } from '../../../kernel/src/engine/journalDatabase.js';
import type { LogCursor } from '../../../kernel/src/engine/treasury/payRows.js';
import { typeScriptArgs } from '../../../scripts/lib/typescript.mjs';
import { sleep } from '../lib/clock.js';
import type { Drill, DrillContext } from '../lib/drill.js';
import { isPaperVoucher } from '../lib/paperChain.js';
import { VOUCHER_CHILD } from '../lib/paths.js';
import type { Figure } from '../lib/verdict.js';
import { holds, none, note } from '../lib/verdict.js';
import type { ChildOrders, FromChild } from '../lib/voucherMessages.js';
import { readVoucher } from '../lib/voucherMessages.js';

const KILLS = 40;
const CONTROL_KILLS = 5;
/** A life after it is ready; ms. */
const LIFE_MS = { least: 100, most: 900 };
const PAYEES = ['1', '2', '3'].map((digit) => `0x${digit.repeat(40)}` as Address);

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** A worker's side: the newest voucher, and the chain of receipts that it hashed itself. */
interface Holder {
  chain: ChainHead;
  voucher: SignedVoucher | null;
}

/** What is in the log of all lanes. */
interface Receipts {
  readonly earned: ReadonlyMap<Address, bigint>;
  readonly leases: ReadonlySet<number>;
  readonly refused: number;
}

interface Findings {
  vouchers: number;
  behind: number;
  unknown: number;
  unfollowed: number;
  unsigned: number;
  overpaid: number;
  lost: number;
  broken: number;
  receipts: number;
  settled: number;
}

const NOTHING: Findings = {
  ...{ vouchers: 0, behind: 0, unknown: 0, unfollowed: 0, unsigned: 0, overpaid: 0 },
  ...{ lost: 0, broken: 0, receipts: 0, settled: 0 },
};

class Course {
  readonly found: Findings = { ...NOTHING };
  private readonly folder = mkdtempSync(join(tmpdir(), 'ravenlab-vouchers-'));
  private readonly holders = new Map<Address, Holder>();
  private readonly isEarly: boolean;

  constructor(isEarly: boolean) {
    this.isEarly = isEarly;
    for (const payee of PAYEES) this.holders.set(payee, { chain: EMPTY_CHAIN, voucher: null });
  }

  /** One life of the process, and a look at what it left. */
  async live(seed: number, lifeMs: number): Promise<void> {
    const orders = join(this.folder, 'orders.json');
    writeFileSync(orders, JSON.stringify(this.orders(seed)));
    const child = spawn(process.execPath, [...typeScriptArgs(VOUCHER_CHILD), orders], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = new Promise((resolve) => child.once('close', resolve));
    let text = '';
    const ready = new Promise<void>((resolve) => {
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.includes('"ready"')) resolve();
      });
    });
    await Promise.race([ready, closed]);
    await sleep(lifeMs);
    child.kill('SIGKILL');
    await closed;
    // What was cut off in the middle did not arrive.
    for (const line of text.split('\n').slice(0, -1)) this.take(JSON.parse(line) as FromChild);
    this.inspect();
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  private orders(seed: number): ChildOrders {
    const held: WireVoucher[] = [];
    for (const { voucher } of this.holders.values()) {
      if (voucher !== null) held.push(encodeVoucher(voucher));
    }
    const { folder, isEarly } = this;
    const paid = Object.fromEntries([...this.paid()].map(([key, value]) => [key, String(value)]));
    return { folder, seed, isEarly, payees: PAYEES, held, paid };
  }

  private take(message: FromChild): void {
    if (message.kind === 'ready') return;
    if (message.kind === 'failed') {
      // The control's ledger is behind, and says so.
      if (this.isEarly) return;
      throw new Error(`the voucher path failed: ${message.text}`);
    }
    const voucher = readVoucher(message.voucher);
    const holder = this.holders.get(voucher.payee);
    if (holder === undefined || voucher.seq <= (holder.voucher?.seq ?? 0)) return;
    this.found.vouchers++;
    for (const line of message.lines) {
      const receipt = parseReceiptLine(line);
      if (!receipt.ok) throw receipt.error;
      holder.chain = appendReceipt(holder.chain, receipt.value, sha256).chain;
    }
    const isFollowed =
      holder.chain.head === voucher.ledgerHead && voucher.cumulative <= holder.chain.earned;
    if (!isFollowed && !this.isEarly) this.found.unfollowed++;
    holder.voucher = voucher;
  }

  /** What the disk says, against what left. */
  private inspect(): void {
    const { found, folder } = this;
    const database = new JournalDatabase(folder, 'drill');
    try {
      const { earned, leases, refused } = this.hashAll(database);
      const { lanes, held } = database.open().pay;
      const both = held.filter(({ lease }) => leases.has(lease)).length;
      found.lost += both + Math.abs(this.units() + refused - leases.size - held.length);
      for (const [payee, { voucher }] of this.holders) {
        if (voucher === null) continue;
        const lane = lanes.find((each) => each.payee === payee);
        const stored = lane?.issued.at(-1)?.voucher;
        if (stored === undefined || stored.seq < voucher.seq) found.behind++;
        else if (stored.seq === voucher.seq && stored.cumulative !== voucher.cumulative) {
          found.unknown++;
        }
        if (!isPaperVoucher(voucher)) found.unsigned++;
      }
      found.settled = 0;
      for (const [payee, paid] of this.paid()) {
        found.settled++;
        if (paid > (earned.get(payee) ?? 0n)) found.overpaid++;
      }
    } finally {
      database.close();
    }
  }

  /** Receipts hashed again from what is stored: what each payee earned, and which units have one. */
  private hashAll(database: JournalDatabase): Receipts {
    const { found } = this;
    const receipts = { earned: new Map<Address, bigint>(), leases: new Set<number>(), refused: 0 };
    let lines: string[] = [];
    found.receipts = 0;
    for (let at: LogCursor | null = null; ;) {
      const page = database.log(at, 1_000);
      lines.push(...page.lines);
      found.receipts += page.lines.length;
      for (const line of page.lines) {
        const receipt = parseReceiptLine(line);
        if (!receipt.ok) throw receipt.error;
        receipts.leases.add(receipt.value.lease);
        if (receipt.value.verdict === 'refused') receipts.refused++;
      }
      if (page.lane !== null && page.next?.n === 0) {
        const check = checkLog(lines, page.lane.head, sha256);
        if (!check.ok || check.chain.earned !== page.lane.earned) found.broken++;
        receipts.earned.set(page.lane.payee, page.lane.earned);
        lines = [];
      }
      if (page.next === null) break;
      at = page.next;
    }
    // A unit that has two would be in the log twice and in the set once.
    found.lost += found.receipts - receipts.leases.size;
    return receipts;
  }

  private units(): number {
    const db = new Database(join(this.folder, 'journal.sqlite'));
    try {
      return (db.prepare('SELECT count(*) AS n FROM unit').get() as { readonly n: number }).n;
    } finally {
      db.close();
    }
  }

  private paid(): ReadonlyMap<Address, bigint> {
    const file = join(this.folder, 'settled.txt');
    const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
    const paid = new Map<Address, bigint>();
    for (const line of lines) {
      const [payee, cumulative] = line.split(' ');
      paid.set(payee as Address, BigInt(cumulative ?? '0'));
    }
    return paid;
  }
}

async function kill(course: Course, kills: number, { prng, say }: DrillContext): Promise<void> {
  const { least, most } = LIFE_MS;
  for (let i = 1; i <= kills; i++) {
    await course.live(prng.next(), prng.between(least, most));
    if (i % 10 === 0) say(`${String(i)} kills, ${String(course.found.vouchers)} vouchers sent`);
  }
}

async function vouchers(context: DrillContext): Promise<Figure[]> {
  const course = new Course(false);
  const control = new Course(true);
  try {
    const kills = context.isShort ? KILLS / 5 : KILLS;
    await kill(course, kills, context);
    await kill(control, CONTROL_KILLS, context);
    const { found } = course;
    return [
      note('kills', kills),
      note('vouchers sent', found.vouchers),
      note('receipts', found.receipts),
      note('lanes settled', found.settled),
      none('ledger behind a voucher that was sent', found.behind),
      none('stored vouchers that differ from what was sent', found.unknown),
      none('settlements beyond the ledger', found.overpaid),
      none('units without receipt and hold, or with both', found.lost),
      none('lanes whose log does not hash to their head', found.broken),
      none('vouchers whose receipts a worker could not follow', found.unfollowed),
      none('vouchers that the signer did not sign', found.unsigned),
      holds('a course that sends before it stores is found out', control.found.behind > 0),
      note('times that its ledger was behind', control.found.behind),
    ];
  } finally {
    course.close();
    control.close();
  }
}

export const VOUCHERS: readonly Drill[] = [
  {
    name: 'voucher',
    title: 'the voucher path killed at random moments',
    isInShort: true,
    run: vouchers,
  },
];
