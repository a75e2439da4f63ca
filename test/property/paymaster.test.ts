/**
 * @file All lanes under any course of work, verdicts, crashes, lost messages, refused signatures and a chain that answers
 * late: the ledger is never behind a voucher that left or a settlement that was asked for, nothing is paid twice, and in the
 * end everybody honest has all of it. The worker hashes what it is sent and would not take anything else.
 */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import type {
  Address,
  ChainHead,
  Hash32,
  JobId,
  LeaseId,
  ProgramHash,
  SignedVoucher,
  Verdict,
  Voucher,
  WorkerId,
} from '@ravenlab/protocol';
import {
  EMPTY_CHAIN,
  NO_RECEIPT,
  VOUCHER_LIMITS,
  appendReceipt,
  checkLog,
  parseReceiptLine,
} from '@ravenlab/protocol';
import { Trace } from '../../kernel/src/core/cluster/transition.js';
import type {
  PayPolicy,
  PaymasterEffect,
  PaymasterEvent,
  SettlementBatch,
} from '../../kernel/src/core/ledger/payEvents.js';
import type { CommittedWork, StoredPayee } from '../../kernel/src/core/ledger/payLane.js';
import { Paymaster } from '../../kernel/src/core/ledger/paymaster.js';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const JOB = `0x${'1'.repeat(64)}` as JobId;
const SIGNATURE = { r: `0x${'3'.repeat(64)}` as Hash32, vs: `0x${'4'.repeat(64)}` as Hash32 };
const STRANGERS = ['a', 'b'].map((digit) => `0x${digit.repeat(40)}` as Address);
const LOCAL = `0x${'c'.repeat(40)}` as Address;
const PAYEES = [...STRANGERS, LOCAL];
const POLICY: PayPolicy = {
  holdbackUnits: 3,
  holdbackMs: 5_000,
  startCredit: 1_000n,
  maxCredit: 100_000n,
};

type Row =
  | { readonly kind: 'unit'; readonly work: CommittedWork }
  | Extract<PaymasterEffect, { kind: 'receipts' | 'waive' | 'store' | 'kept' }>
  | { readonly kind: 'settlement'; readonly batch: SettlementBatch };

interface DiskLane {
  lines: string[];
  chain: ChainHead;
  vouchers: { readonly voucher: SignedVoucher; readonly count: number }[];
  acknowledged: number;
}

const RULE = { floor: 1_000n, atLeast: 5_000n, everyMs: 20_000 };

/** What survives a crash of the engine. */
class Disk {
  readonly units = new Map<LeaseId, CommittedWork>();
  readonly receipts = new Map<LeaseId, Verdict>();
  readonly lanes = new Map<Address, DiskLane>();

  laneOf(payee: Address): DiskLane {
    let lane = this.lanes.get(payee);
    if (lane === undefined) {
      lane = { lines: [], chain: EMPTY_CHAIN, vouchers: [], acknowledged: 0 };
      this.lanes.set(payee, lane);
    }
    return lane;
  }

  write(row: Row): void {
    if (row.kind === 'unit') this.units.set(row.work.lease, row.work);
    else if (row.kind === 'waive') this.units.delete(row.work.lease);
    else if (row.kind === 'receipts') this.addReceipts(row);
    else if (row.kind === 'store') {
      const { voucher, count } = row;
      const lane = this.laneOf(voucher.payee);
      // Whatever it pays for is here before it.
      expect(lane.lines.length).toBeGreaterThanOrEqual(count);
      expect(voucher.cumulative <= lane.chain.earned).toBe(true);
      lane.vouchers.push({ voucher, count });
    } else if (row.kind === 'kept') {
      const lane = this.laneOf(row.payee);
      lane.acknowledged = Math.max(lane.acknowledged, row.seq);
    }
  }

  stored(): StoredPayee[] {
    return [...this.lanes].map(([payee, { lines, chain, vouchers, acknowledged }]) => {
      const newest = vouchers.length - 1;
      const first = vouchers.findIndex(({ voucher }) => voucher.seq > acknowledged);
      const from = first < 0 ? newest : first;
      const issued = vouchers.slice(Math.max(0, from)).map(({ voucher, count }, index) => {
        const before = vouchers[Math.max(0, from) + index - 1]?.count ?? 0;
        return { voucher, lines: lines.slice(before, count) };
      });
      const rest = lines.slice(vouchers[newest]?.count ?? 0);
      return {
        ...{ payee, chain, issued, acknowledged },
        lines: rest.length > VOUCHER_LIMITS.linesPerVoucher ? [] : rest,
      };
    });
  }

  /** Work without a receipt. */
  held(): CommittedWork[] {
    return [...this.units.values()].filter(({ lease }) => !this.receipts.has(lease));
  }

  private addReceipts({ entries, chain }: Extract<Row, { kind: 'receipts' }>): void {
    for (const { work, verdict, line } of entries) {
      const lane = this.laneOf(work.payee);
      expect(this.units.has(work.lease)).toBe(true);
      expect(this.receipts.has(work.lease)).toBe(false);
      this.receipts.set(work.lease, verdict);
      lane.lines.push(line);
      lane.chain = chain;
    }
    const [first] = entries;
    if (first === undefined) throw new Error('receipts without an entry');
    expect(this.laneOf(first.work.payee).lines).toHaveLength(chain.count);
  }
}

/** A contributor that trusts nothing: it hashes each line to the head of each voucher. */
class Contributor {
  head: ChainHead | null = EMPTY_CHAIN;
  voucher: SignedVoucher | null = null;

  take(voucher: SignedVoucher, lines: readonly string[]): void {
    if (voucher.seq <= (this.voucher?.seq ?? 0)) return;
    if (this.head !== null) {
      let head = this.head;
      for (const line of lines) {
        const parsed = parseReceiptLine(line);
        if (!parsed.ok) throw parsed.error;
        head = appendReceipt(head, parsed.value, sha256).chain;
      }
      expect(head.head).toBe(voucher.ledgerHead);
      expect(voucher.cumulative <= head.earned).toBe(true);
      this.head = head;
    }
    this.voucher = voucher;
  }

  /** Its disk is gone: it cannot know what the next lines follow. */
  forget(): void {
    this.voucher = null;
    this.head = null;
  }
}

type Step =
  | {
      readonly kind: 'work';
      readonly payee: number;
      readonly amount: bigint;
      readonly late: boolean;
    }
  | { readonly kind: 'judge'; readonly isHonest: boolean }
  | { readonly kind: 'convict' | 'leave' | 'join' | 'forget' | 'ack'; readonly payee: number }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'flush'; readonly rows: number }
  | { readonly kind: 'sign'; readonly isRefused: boolean }
  | { readonly kind: 'chain' | 'crash' | 'release' | 'redeem' | 'chainRefuses' };

const payee = fc.nat({ max: PAYEES.length - 1 });
const just = <K extends string>(kind: K) => fc.constant({ kind });
const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('work' as const),
      payee,
      amount: fc.bigInt(1n, 2_000n),
      late: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('judge' as const), isHonest: fc.boolean() }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('flush' as const), rows: fc.nat({ max: 40 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('sign' as const),
      isRefused: fc.integer({ min: 0, max: 9 }).map((draw) => draw === 0),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.integer({ min: 1, max: 1_500 }),
    }),
  },
  { weight: 4, arbitrary: just('chain') },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('ack' as const, 'join' as const), payee }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('leave' as const, 'forget' as const, 'convict' as const),
      payee,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...(['crash', 'release', 'redeem', 'chainRefuses'] as const).map((kind) => ({ kind })),
    ),
  },
);

/** How often what was looked at. */
const seen = { sent: 0, receipts: 0, refused: 0, settled: 0, crashes: 0, resent: 0 };

class World {
  readonly disk = new Disk();
  readonly chain = new Map<Address, { cap: bigint; paid: bigint }>();
  readonly workers = new Map(STRANGERS.map((address) => [address, new Contributor()]));
  private pending: Row[] = [];
  private signing: Voucher[] = [];
  private onChain: (() => void)[] = [];
  private unjudged: LeaseId[] = [];
  private present = new Set<Address>();
  private nextLease = 1;
  private now = 0;
  master: Paymaster;

  constructor() {
    this.master = this.start();
  }

  step(step: Step): void {
    switch (step.kind) {
      case 'work':
        return this.work(step);
      case 'judge': {
        const lease = this.unjudged.shift();
        const verdict = step.isHonest ? 'accepted' : 'refused';
        if (lease !== undefined) this.feed({ kind: 'judged', leases: [lease], verdict });
        return;
      }
      case 'convict':
        return this.feed({ kind: 'convicted', payee: this.payee(step) });
      case 'leave':
        this.present.delete(this.payee(step));
        return this.feed({ kind: 'left', payee: this.payee(step) });
      case 'join':
        return this.join(this.payee(step));
      case 'forget':
        this.workers.get(this.payee(step))?.forget();
        return this.join(this.payee(step));
      case 'ack':
        return this.ack(this.payee(step));
      case 'wait':
        this.now += step.ms;
        return this.feed({ kind: 'tick' });
      case 'flush':
        return this.flush(step.rows);
      case 'sign':
        return this.sign(step.isRefused);
      case 'chain':
        return this.onChain.shift()?.();
      case 'chainRefuses':
        this.onChain.shift();
        return this.feed({ kind: 'unreserved', retryAtMs: this.now + 500 });
      case 'crash':
        seen.crashes++;
        this.master = this.start();
        return;
      case 'release':
        return this.feed({ kind: 'release' });
      case 'redeem':
        for (const [address, { voucher }] of this.workers) {
          const lane = this.chain.get(address);
          if (voucher === null || lane === undefined || voucher.cumulative <= lane.paid) continue;
          expect(voucher.cumulative <= lane.cap).toBe(true);
          this.confirm(address, { ...lane, paid: voucher.cumulative });
        }
    }
  }

  /** Faults end; what is owed comes. */
  settleDown(): void {
    for (const lease of this.unjudged.splice(0)) {
      this.feed({ kind: 'judged', leases: [lease], verdict: 'accepted' });
    }
    for (let round = 0; round < 40; round++) {
      for (const address of PAYEES) this.join(address);
      this.feed({ kind: 'release' });
      this.now += VOUCHER_LIMITS.everyMs;
      this.feed({ kind: 'tick' });
      this.flush(Infinity);
      while (this.onChain.length > 0) this.onChain.shift()?.();
      while (this.signing.length > 0) this.sign(false);
      this.flush(Infinity);
      for (const address of PAYEES) this.ack(address);
    }
  }

  expectSound(): void {
    this.master.check();
    for (const [address, { voucher }] of this.workers) {
      if (voucher === null) continue;
      const stored = this.disk.laneOf(address).vouchers;
      expect(stored.some((each) => each.voucher.seq === voucher.seq)).toBe(true);
      expect(voucher.cumulative <= (this.chain.get(address)?.cap ?? 0n)).toBe(true);
    }
  }

  private payee(step: { readonly payee: number }): Address {
    return PAYEES[step.payee] ?? LOCAL;
  }

  private work({ payee: index, amount, late }: Extract<Step, { kind: 'work' }>): void {
    const address = PAYEES[index] ?? LOCAL;
    if (!this.present.has(address)) return;
    const lease = this.nextLease++ as LeaseId;
    const work: CommittedWork = {
      ...{
        session: 1,
        request: lease,
        shard: 0,
        worker: address as string as WorkerId,
        payee: address,
      },
      ...{ lease, program: 'a'.repeat(64) as ProgramHash, flops: 10, sizeBytes: 20 },
      ...{ amount, result: NO_RECEIPT },
    };
    this.pending.push({ kind: 'unit', work });
    if (late) this.unjudged.push(lease);
    this.feed({ kind: 'committed', work, verdict: late ? null : 'accepted' });
  }

  private join(address: Address): void {
    this.present.add(address);
    this.feed({
      ...{ kind: 'joined', payee: address },
      presence: address === LOCAL ? 'trusted' : 'invited',
    });
    const worker = this.workers.get(address);
    if (worker !== undefined) {
      this.feed({ kind: 'presented', payee: address, voucher: worker.voucher });
    }
  }

  private ack(address: Address): void {
    const seq = this.workers.get(address)?.voucher?.seq;
    if (seq !== undefined) this.feed({ kind: 'acked', payee: address, seq });
  }

  private sign(isRefused: boolean): void {
    const voucher = this.signing.shift();
    if (voucher === undefined) return;
    if (isRefused) this.feed({ kind: 'unsigned', voucher });
    else this.feed({ kind: 'signed', voucher, signature: SIGNATURE });
  }

  private flush(rows: number): void {
    for (const row of this.pending.splice(0, rows)) {
      this.disk.write(row);
      if (row.kind === 'store') {
        const { payee: address, seq } = row.voucher;
        this.feed({ kind: 'stored', payee: address, seq });
      }
      if (row.kind === 'settlement') this.onChain.push(() => this.settle(row.batch));
    }
  }

  private settle({ lanes }: SettlementBatch): void {
    for (const { payee: address, cumulative } of lanes) {
      seen.settled++;
      const lane = this.chain.get(address);
      expect(cumulative <= this.disk.laneOf(address).chain.earned).toBe(true);
      if (lane === undefined || cumulative <= lane.paid) continue;
      expect(cumulative <= lane.cap).toBe(true);
      this.confirm(address, { ...lane, paid: cumulative });
    }
  }

  private confirm(address: Address, lane: { cap: bigint; paid: bigint }): void {
    this.chain.set(address, lane);
    this.feed({ kind: 'lane', payee: address, ...lane });
  }

  private start(): Paymaster {
    this.pending = [];
    this.signing = [];
    this.onChain = [];
    this.unjudged = [];
    this.present.clear();
    const master = new Paymaster({
      ...{ policy: POLICY, sha256, trace: new Trace() },
      held: this.disk.held().map((work) => ({ work, verdict: 'accepted' as const })),
    });
    this.master = master;
    this.feed({ kind: 'opened', job: JOB, lanes: this.disk.stored(), rule: RULE });
    for (const [address, lane] of this.chain) {
      this.feed({ kind: 'lane', payee: address, ...lane });
    }
    return master;
  }

  private feed(event: PaymasterEvent): void {
    for (const effect of this.master.step(event, this.now)) this.perform(effect);
  }

  private perform(effect: PaymasterEffect): void {
    switch (effect.kind) {
      case 'receipts':
        seen.receipts += effect.entries.length;
        seen.refused += effect.entries.filter(({ verdict }) => verdict === 'refused').length;
        this.pending.push(effect);
        return;
      case 'store':
      case 'kept':
      case 'waive':
        this.pending.push(effect);
        return;
      case 'sign':
        this.signing.push(effect.voucher);
        return;
      case 'send':
        if (effect.vouchers.length > 1) seen.resent++;
        if (!this.present.has(effect.payee)) return;
        for (const { voucher, lines } of effect.vouchers) {
          seen.sent++;
          expect(lines.length).toBeLessThanOrEqual(VOUCHER_LIMITS.linesPerVoucher);
          this.workers.get(effect.payee)?.take(voucher, lines);
        }
        return;
      case 'reserve':
        this.onChain.push(() => {
          for (const { payee: address, cap } of effect.caps) {
            const lane = this.chain.get(address) ?? { cap: 0n, paid: 0n };
            if (cap > lane.cap) this.confirm(address, { ...lane, cap });
          }
        });
        return;
      case 'settle':
        this.pending.push({ kind: 'settlement', batch: effect.settlement });
        return;
      case 'cover':
        return;
      case 'puzzled':
        throw new Error(`a voucher of ours is ${effect.how}`);
    }
  }
}

test('any course: stored before sent, paid once, covered, hashed; and all of it in the end', () => {
  fc.assert(
    fc.property(fc.array(STEP, { minLength: 100, maxLength: 400 }), (steps) => {
      const world = new World();
      for (const step of steps) {
        world.step(step);
        world.expectSound();
      }
      world.settleDown();
      world.expectSound();
      expect(world.disk.held()).toEqual([]);
      for (const [address, lane] of world.disk.lanes) {
        let earned = 0n;
        for (const work of world.disk.units.values()) {
          const isPaid = world.disk.receipts.get(work.lease) === 'accepted';
          if (work.payee === address && isPaid) earned += work.amount;
        }
        expect(lane.chain.earned).toBe(earned);
        const check = checkLog(lane.lines, lane.chain.head, sha256);
        expect(check).toEqual({ ok: true, chain: lane.chain });
        const worker = world.workers.get(address);
        if (worker !== undefined) expect(worker.voucher?.cumulative ?? 0n).toBe(earned);
      }
    }),
    { numRuns: 150 },
  );
  // Each of these has happened often, or the property has looked at nothing.
  const { resent, ...often } = seen;
  expect(resent).toBeGreaterThan(0);
  for (const [what, count] of Object.entries(often))
    expect({ what, often: count > 100 }).toEqual({ what, often: true });
});
