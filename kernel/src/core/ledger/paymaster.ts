/**
 * @file Who is paid what, when: committed work is held back until it is judged, then gets its receipt, and what was earned is
 * promised in vouchers and settled in batches. A pure machine over all lanes of one job: events in, effects out, time as an
 * argument. No curve, no disk, no socket. RFC 3 §4.
 *
 * Effects are carried out in order. A receipt and a voucher count when they are on the disk, which takes what it is given in
 * order too; so whatever a voucher pays for is stored no later than the voucher, and a voucher is sent when it is stored.
 */
import type {
  Address,
  ChainedReceipt,
  JobId,
  LeaseId,
  SignedVoucher,
  Verdict,
  Voucher,
} from '@ravenlab/protocol';
import { EMPTY_CHAIN, VOUCHER_LIMITS, settlementHead } from '@ravenlab/protocol';
import type { SettleRule } from '../chain/settling.js';
import { isDue } from '../chain/settling.js';
import { invariant } from '../cluster/transition.js';
import { Lane } from './lane.js';
import type {
  PaymasterEffect,
  PaymasterEvent,
  PaymasterOptions,
  ReceiptEntry,
  SettlementBatch,
} from './payEvents.js';
import type { CommittedWork, HeldWork, StoredPayee } from './payLane.js';
import { PayLane } from './payLane.js';

type Handlers = {
  readonly [K in PaymasterEvent['kind']]: (
    event: Extract<PaymasterEvent, { kind: K }>,
    now: number,
    effects: PaymasterEffect[],
  ) => void;
};

/** A payee while there is a job. */
interface OpenLane {
  readonly payee: PayLane;
  readonly lane: Lane;
}

export class Paymaster {
  private readonly options: PaymasterOptions;
  private readonly payees = new Map<Address, PayLane>();
  /** Committed and not judged. */
  private readonly unjudged = new Map<LeaseId, HeldWork>();
  private job: JobId | null = null;
  private rule: SettleRule | null = null;
  private heldUnits = 0;
  private settledAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: PaymasterOptions) {
    this.options = options;
    for (const { work, verdict } of options.held) this.hold(work, verdict, 0);
  }

  get lanes(): ReadonlyMap<Address, PayLane> {
    return this.payees;
  }

  get currentJob(): JobId | null {
    return this.job;
  }

  /** Takes one event; effects are to be carried out in order. @param now integer ms, never going back. */
  step(event: PaymasterEvent, now: number): PaymasterEffect[] {
    const effects: PaymasterEffect[] = [];
    const handle = this.handlers[event.kind] as (
      event: PaymasterEvent,
      now: number,
      effects: PaymasterEffect[],
    ) => void;
    handle(event, now, effects);
    return effects;
  }

  /** What is payable now beyond what the chain has paid, in one batch; null when nothing is. */
  settlement(fits: (lane: PayLane) => boolean = () => true): SettlementBatch | null {
    const due = [...this.payees.values()].filter((each) => each.unsettled > 0n && fits(each));
    if (due.length === 0) return null;
    due.sort((a, b) => (a.payee < b.payee ? -1 : 1));
    const lanes = due.map(({ payee, payable }) => ({ payee, cumulative: payable }));
    const heads = due.flatMap(({ payee, lane }) =>
      lane === null ? [] : [{ payee, count: lane.head.count, head: lane.head.head }],
    );
    return { lanes, ...settlementHead(heads, this.options.sha256) };
  }

  /** A settlement was handed to the chain: these amounts need not be asked for again. */
  settling({ lanes }: SettlementBatch, now: number): void {
    this.settledAtMs = now;
    for (const { payee, cumulative } of lanes) {
      const lane = this.payees.get(payee);
      if (lane !== undefined && cumulative > lane.askedSettlement) {
        lane.askedSettlement = cumulative;
        lane.owedSinceMs = null;
      }
    }
  }

  /** ... and was not taken: they may be asked for again. */
  unsettled({ lanes }: SettlementBatch): void {
    for (const { payee } of lanes) {
      const lane = this.payees.get(payee);
      if (lane === undefined) continue;
      lane.askedSettlement = lane.paid;
      // It has waited already.
      lane.owedSinceMs = Number.NEGATIVE_INFINITY;
    }
  }

  /** @throws InvariantError when the books do not balance. */
  check(): void {
    let held = 0;
    for (const payee of this.payees.values()) {
      let amount = 0n;
      let refusals = 0;
      for (const { work, verdict } of payee.held) {
        amount += work.amount;
        if (verdict === 'refused') refusals++;
      }
      invariant(refusals === payee.refusals, 'the count of refused units is wrong');
      held += payee.held.length;
      invariant(amount === payee.heldAmount, 'what is held does not add up');
      payee.lane?.check();
      const newest = payee.issued[payee.issued.length - 1];
      invariant(
        newest === undefined || newest.voucher.seq <= (payee.lane?.voucher?.seq ?? 0),
        'a voucher may be sent that the lane does not know',
      );
    }
    invariant(held === this.heldUnits, 'the count of held units is wrong');
  }

  private readonly handlers: Handlers = {
    opened: ({ job, lanes, rule }, now, effects) => {
      if (this.job === job) return;
      this.job = job;
      this.rule = rule;
      for (const payee of this.payees.values()) this.open(payee, job, null);
      for (const stored of lanes) this.open(this.payeeOf(stored.payee), job, stored);
      for (const payee of this.payees.values()) {
        this.release(payee, now, effects);
      }
    },
    rule: ({ rule }) => {
      this.rule = rule;
    },
    joined: ({ payee, presence }, now, effects) => {
      const lane = this.payeeOf(payee);
      lane.presence = presence;
      this.release(lane, now, effects);
    },
    left: ({ payee }) => {
      this.payeeOf(payee).presence = 'away';
    },
    committed: ({ work, verdict }, now, effects) => {
      const payee = this.hold(work, verdict, now);
      if (payee.lane === null) this.waiveOldest(payee, effects);
      else this.release(payee, now, effects);
    },
    judged: ({ leases, verdict }, now, effects) => {
      const touched = new Set<Address>();
      for (const lease of leases) {
        const held = this.unjudged.get(lease);
        if (held === undefined) continue;
        this.payeeOf(held.work.payee).judge(held, verdict);
        this.unjudged.delete(lease);
        touched.add(held.work.payee);
      }
      for (const payee of touched) this.release(this.payeeOf(payee), now, effects);
    },
    convicted: ({ payee }, now, effects) => {
      const lane = this.payeeOf(payee);
      for (const held of lane.held) {
        lane.judge(held, 'refused');
        this.unjudged.delete(held.work.lease);
      }
      this.release(lane, now, effects);
    },
    signed: ({ voucher, signature }, _now, effects) => {
      const found = this.draftedBy(voucher);
      if (found === null) return;
      const count = found.lane.draftCount;
      effects.push({ kind: 'store', voucher: found.lane.signed(signature), count });
    },
    unsigned: ({ voucher }, now) => {
      const found = this.draftedBy(voucher);
      if (found === null) return;
      const { payee, lane } = found;
      lane.refused(now);
      payee.lines = [...payee.draftLines, ...payee.lines];
      payee.draftLines = [];
    },
    stored: ({ payee: address, seq }, now, effects) => {
      const found = this.find(address);
      if (found === null) return;
      const { payee, lane } = found;
      const { voucher } = lane;
      // A voucher of ours that the worker showed has taken its place meanwhile.
      if (lane.voucherStatus !== 'signed' || voucher?.seq !== seq) return;
      lane.stored();
      payee.issued.push({ voucher, lines: payee.draftLines });
      payee.draftLines = [];
      lane.sent();
      effects.push({ kind: 'send', payee: address, vouchers: payee.missing(seq - 1) });
      this.advance(payee, now, effects);
    },
    acked: ({ payee, seq }, now, effects) => {
      const found = this.find(payee);
      if (found === null) return;
      this.keep(found.payee, seq, effects);
      this.advance(found.payee, now, effects);
    },
    presented: ({ payee: address, voucher }, now, effects) => {
      const found = this.find(address);
      if (found === null) return;
      const { payee, lane } = found;
      // One of an earlier life, which may or may not have left.
      if (lane.voucherStatus === 'stored') lane.sent();
      if (voucher !== null) this.adopt(payee, lane, voucher, effects);
      const vouchers = payee.missing(voucher?.seq ?? 0);
      if (vouchers.length > 0) effects.push({ kind: 'send', payee: address, vouchers });
      this.advance(payee, now, effects);
    },
    lane: ({ payee, cap, paid }, now, effects) => {
      const lane = this.payeeOf(payee);
      if (lane.lane?.onChain({ cap, paid }) !== true) return;
      if (paid > lane.askedSettlement) lane.askedSettlement = paid;
      this.tellCover(lane, effects);
      this.advance(lane, now, effects);
    },
    unreserved: ({ retryAtMs }) => {
      for (const payee of this.payees.values()) {
        payee.askedCap = payee.cap;
        payee.askAtMs = retryAtMs;
      }
    },
    release: (_event, now, effects) => {
      for (const payee of this.payees.values()) {
        payee.isFlushing = true;
        this.release(payee, now, effects);
      }
    },
    tick: (_event, now, effects) => {
      for (const payee of this.payees.values()) {
        if (payee.held.length > 0) this.release(payee, now, effects);
        else this.advance(payee, now, effects);
      }
      this.reserve(now, effects);
      const settlement = this.dueSettlement(now);
      if (settlement === null) return;
      this.settling(settlement, now);
      effects.push({ kind: 'settle', settlement });
    },
  };

  private dueSettlement(now: number): SettlementBatch | null {
    const { rule } = this;
    if (rule === null) return null;
    for (const lane of this.payees.values()) {
      if (lane.unsettled === 0n) lane.owedSinceMs = null;
      else lane.owedSinceMs ??= now;
    }
    if (now - this.settledAtMs < VOUCHER_LIMITS.settleMs) return null;
    return this.settlement((lane) => isDue(rule, lane.unsettled, now - (lane.owedSinceMs ?? now)));
  }

  private payeeOf(payee: Address): PayLane {
    let lane = this.payees.get(payee);
    if (lane === undefined) {
      lane = new PayLane(payee);
      this.payees.set(payee, lane);
      if (this.job !== null) this.open(lane, this.job, null);
    }
    return lane;
  }

  private open(payee: PayLane, job: JobId, stored: StoredPayee | null): void {
    const { sha256, trace } = this.options;
    const issued = stored?.issued ?? [];
    const voucher = issued[issued.length - 1]?.voucher ?? null;
    payee.lane = new Lane(
      { job, payee: payee.payee, sha256, trace },
      {
        chain: stored?.chain ?? EMPTY_CHAIN,
        voucher,
        acknowledged: stored?.acknowledged ?? 0,
        cap: 0n,
        paid: 0n,
      },
    );
    payee.issued = [...issued];
    payee.lines = [...(stored?.lines ?? [])];
    payee.draftLines = [];
    payee.askedCap = 0n;
    payee.askedSettlement = 0n;
    payee.owedSinceMs = null;
  }

  private hold(work: CommittedWork, verdict: Verdict | null, now: number): PayLane {
    const payee = this.payeeOf(work.payee);
    const held: HeldWork = { work, verdict };
    payee.add(held, now);
    payee.isFlushing = false;
    if (verdict === null) this.unjudged.set(work.lease, held);
    this.heldUnits++;
    return payee;
  }

  private waiveOldest(payee: PayLane, effects: PaymasterEffect[]): void {
    if (this.heldUnits <= VOUCHER_LIMITS.heldUnits) return;
    const held = payee.take();
    if (held === undefined) return;
    this.heldUnits--;
    this.unjudged.delete(held.work.lease);
    effects.push({ kind: 'waive', work: held.work });
  }

  /** Receipts for whatever is judged and old enough. */
  private release(payee: PayLane, now: number, effects: PaymasterEffect[]): void {
    const { lane } = payee;
    if (lane === null) return;
    const entries = this.isReleaseDue(payee, now) ? this.released(payee, lane, now) : [];
    if (entries.length > 0) {
      payee.lastReleaseMs = now;
      const { job, head: chain } = lane;
      effects.push({ kind: 'receipts', job, payee: payee.payee, entries, chain });
    }
    this.advance(payee, now, effects);
  }

  /**
   * Whether receipts are given now. Those who get vouchers get receipts as often: what a receipt costs is mostly the writing, and
   * a worker hears of it with a voucher anyway. A refusal never waits: its unit is to be paid to somebody else.
   */
  private isReleaseDue(payee: PayLane, now: number): boolean {
    if (payee.held.length === 0) return false;
    if (payee.presence === 'trusted' || payee.isFlushing || payee.refusals > 0) return true;
    const { unitsPerVoucher, everyMs } = VOUCHER_LIMITS;
    const ready = payee.held.length - this.keeps(payee, now);
    return ready >= unitsPerVoucher || now - payee.lastReleaseMs >= everyMs;
  }

  /** Units that are held however they were judged. */
  private keeps(payee: PayLane, now: number): number {
    const { holdbackUnits, holdbackMs } = this.options.policy;
    const isIdle = payee.isFlushing || now - payee.lastCommitMs >= holdbackMs;
    return payee.presence === 'trusted' || isIdle ? 0 : holdbackUnits;
  }

  private released(payee: PayLane, lane: Lane, now: number): ReceiptEntry[] {
    const keeps = this.keeps(payee, now);
    const isPromised = payee.presence !== 'trusted';
    const entries: ReceiptEntry[] = [];
    for (let held = payee.held.peek(); held !== undefined; held = payee.held.peek()) {
      const { work, verdict } = held;
      if (verdict === null) break;
      if (verdict === 'accepted' && payee.held.length <= keeps) break;
      // A voucher carries so many receipts; the others go with the next one.
      if (isPromised && payee.lines.length >= VOUCHER_LIMITS.linesPerVoucher) break;
      payee.take();
      this.heldUnits--;
      const { line } = this.append(lane, work, verdict);
      if (isPromised) payee.lines.push(line);
      entries.push({ work, verdict, line });
    }
    return entries;
  }

  private append(lane: Lane, work: CommittedWork, verdict: Verdict): ChainedReceipt {
    const { payee, lease, program, flops, sizeBytes, amount, result } = work;
    return lane.add({
      ...{ n: lane.head.count + 1, job: lane.job, payee, lease, program, flops, sizeBytes, result },
      amount: verdict === 'accepted' ? amount : 0n,
      verdict,
    });
  }

  /** Drafts a voucher if one is due, and tells when work is not covered any more. */
  private advance(payee: PayLane, now: number, effects: PaymasterEffect[]): void {
    const { lane } = payee;
    if (lane === null || payee.presence !== 'invited') return;
    this.tellCover(payee, effects);
    const voucher = lane.nextVoucher(now);
    if (voucher === null) return;
    payee.draftLines = payee.lines;
    payee.lines = [];
    effects.push({ kind: 'sign', voucher });
    // There is room for receipts again.
    if (payee.held.length > 0) this.release(payee, now, effects);
  }

  private tellCover(payee: PayLane, effects: PaymasterEffect[]): void {
    const isCovered = payee.lane !== null && payee.earned + payee.heldAmount < payee.cap;
    if (isCovered === payee.isCovered) return;
    payee.isCovered = isCovered;
    effects.push({ kind: 'cover', payee: payee.payee, isCovered });
  }

  /** Caps ahead of what is earned: half of the credit may be used before more is asked for. */
  private reserve(now: number, effects: PaymasterEffect[]): void {
    const { startCredit, maxCredit } = this.options.policy;
    const caps: { readonly payee: Address; readonly cap: bigint }[] = [];
    for (const payee of this.payees.values()) {
      if (payee.lane === null || now < payee.askAtMs) continue;
      const used = payee.earned + payee.heldAmount;
      if (payee.presence === 'away' && used <= payee.cap) continue;
      const verified = payee.earned > startCredit ? payee.earned : startCredit;
      const credit = verified < maxCredit ? verified : maxCredit;
      const known = payee.cap > payee.askedCap ? payee.cap : payee.askedCap;
      if (known - used >= credit / 2n) continue;
      const wanted = used + credit;
      const cap = wanted < VOUCHER_LIMITS.laneAmount ? wanted : VOUCHER_LIMITS.laneAmount;
      payee.askedCap = cap;
      caps.push({ payee: payee.payee, cap });
    }
    if (caps.length > 0) effects.push({ kind: 'reserve', caps });
  }

  /** The payee whose draft this is; null when another voucher has taken its place. */
  private draftedBy(voucher: Voucher): OpenLane | null {
    const found = this.find(voucher.payee);
    const draft = found?.lane.pendingDraft;
    return draft?.seq === voucher.seq && draft.job === voucher.job ? found : null;
  }

  private find(address: Address): OpenLane | null {
    const payee = this.payees.get(address);
    const lane = payee?.lane ?? null;
    return payee === undefined || lane === null ? null : { payee, lane };
  }

  private adopt(
    payee: PayLane,
    lane: Lane,
    voucher: SignedVoucher,
    effects: PaymasterEffect[],
  ): void {
    if (voucher.seq <= (lane.voucher?.seq ?? 0)) this.keep(payee, voucher.seq, effects);
    const how = lane.presented(voucher);
    if (how === 'known') return;
    effects.push({ kind: 'puzzled', payee: payee.payee, how });
    if (how === 'foreign') return;
    payee.lines = [...payee.draftLines, ...payee.lines];
    payee.draftLines = [];
    payee.issued = [{ voucher, lines: [] }];
    effects.push({ kind: 'store', voucher, count: lane.head.count });
    effects.push({ kind: 'kept', job: lane.job, payee: payee.payee, seq: voucher.seq });
  }

  private keep(payee: PayLane, seq: number, effects: PaymasterEffect[]): void {
    const { lane } = payee;
    const before = lane?.ackedSeq ?? 0;
    payee.acked(seq);
    if (lane === null || lane.ackedSeq === before) return;
    effects.push({ kind: 'kept', job: lane.job, payee: payee.payee, seq: lane.ackedSeq });
  }
}
