/**
 * @file One payee as the paymaster keeps it: its lane, the work that is held back, and the vouchers that it may not have yet.
 * Moves amounts; what has to be written or sent is the paymaster's to say.
 */
import type {
  Address,
  ChainHead,
  Hash32,
  JobId,
  LeaseId,
  ProgramHash,
  SignedVoucher,
  Verdict,
  WorkerId,
} from '@ravenlab/protocol';
import type { PaidKey } from '../journal/paidBook.js';
import type { Lane } from './lane.js';

/** A committed unit of a worker that is paid: all that its receipt will say. */
export interface CommittedWork extends PaidKey {
  readonly worker: WorkerId;
  readonly payee: Address;
  readonly lease: LeaseId;
  readonly program: ProgramHash;
  readonly flops: number;
  readonly sizeBytes: number;
  /** Base units. */
  readonly amount: bigint;
  /** SHA-256 of the result, as the worker committed to it; zeros from a trusted one. */
  readonly result: Hash32;
}

/** Committed, and without a receipt. */
export interface HeldWork {
  readonly work: CommittedWork;
  verdict: Verdict | null;
}

/** A voucher with the receipts that it pays for beyond the one before. */
export interface IssuedVoucher {
  readonly voucher: SignedVoucher;
  readonly lines: readonly string[];
}

/** What the store knows of a payee's lane after a restart. */
export interface StoredPayee {
  readonly payee: Address;
  readonly chain: ChainHead;
  /** Oldest first; the worker is not known to have those after the first. The last one is the newest. */
  readonly issued: readonly IssuedVoucher[];
  /** Of the newest voucher that the worker is known to have; 0 when there is none. */
  readonly acknowledged: number;
  /** Receipts after the newest voucher. */
  readonly lines: readonly string[];
}

/** How a payee is dealt with. `away`: nobody is connected that works for it. */
export type Presence = 'away' | 'trusted' | 'invited';

/** First in, first out, without moving what is left. */
class HeldQueue {
  private items: HeldWork[] = [];
  private first = 0;

  get length(): number {
    return this.items.length - this.first;
  }

  peek(): HeldWork | undefined {
    return this.items[this.first];
  }

  push(held: HeldWork): void {
    this.items.push(held);
  }

  shift(): HeldWork | undefined {
    const held = this.items[this.first];
    if (held === undefined) return undefined;
    this.first++;
    if (this.first > 64 && this.first * 2 > this.items.length) {
      this.items = this.items.slice(this.first);
      this.first = 0;
    }
    return held;
  }

  *[Symbol.iterator](): IterableIterator<HeldWork> {
    for (let i = this.first; i < this.items.length; i++) {
      const held = this.items[i];
      if (held !== undefined) yield held;
    }
  }
}

export class PayLane {
  readonly payee: Address;
  readonly held = new HeldQueue();
  /** Null while there is no job to pay from. */
  lane: Lane | null = null;
  presence: Presence = 'away';
  heldAmount = 0n;
  lastCommitMs = 0;
  lastReleaseMs = Number.NEGATIVE_INFINITY;
  /** Held units that were refused. */
  refusals = 0;
  /** Everything judged is paid, however young. */
  isFlushing = false;
  /** Receipts since the last draft; only for those who get vouchers. */
  lines: string[] = [];
  /** Those of the draft that is not signed yet. */
  draftLines: readonly string[] = [];
  /** Vouchers that the worker is not known to have, and always the newest one. */
  issued: IssuedVoucher[] = [];
  /** Cap that was asked of the chain. */
  askedCap = 0n;
  /** No cap is asked for before this. */
  askAtMs = 0;
  /** Cumulative amount that a settlement was asked for. */
  askedSettlement = 0n;
  /** Since when more is payable than was asked for; null when it is not. */
  owedSinceMs: number | null = null;
  isCovered = false;

  constructor(payee: Address) {
    this.payee = payee;
  }

  get job(): JobId | null {
    return this.lane?.job ?? null;
  }

  /** Earned in the job, judged; base units. */
  get earned(): bigint {
    return this.lane?.head.earned ?? 0n;
  }

  get cap(): bigint {
    return this.lane?.cap ?? 0n;
  }

  get paid(): bigint {
    return this.lane?.paid ?? 0n;
  }

  /** What a settlement would bring the lane to. */
  get payable(): bigint {
    return this.earned < this.cap ? this.earned : this.cap;
  }

  /** Payable, and no settlement was asked for it. */
  get unsettled(): bigint {
    const { payable, paid, askedSettlement } = this;
    const before = paid > askedSettlement ? paid : askedSettlement;
    return payable > before ? payable - before : 0n;
  }

  add(held: HeldWork, nowMs: number): void {
    this.held.push(held);
    this.heldAmount += held.work.amount;
    if (held.verdict === 'refused') this.refusals++;
    this.lastCommitMs = nowMs;
  }

  judge(held: HeldWork, verdict: Verdict): void {
    if (held.verdict === 'refused') this.refusals--;
    held.verdict = verdict;
    if (verdict === 'refused') this.refusals++;
  }

  /** Takes the oldest held unit out. */
  take(): HeldWork | undefined {
    const held = this.held.shift();
    if (held === undefined) return undefined;
    this.heldAmount -= held.work.amount;
    if (held.verdict === 'refused') this.refusals--;
    return held;
  }

  /** The worker has kept the voucher `seq`: those before it, and it, need not be sent again; the newest is kept all the same. */
  acked(seq: number): void {
    this.lane?.acked(seq);
    while (this.issued.length > 1 && (this.issued[0]?.voucher.seq ?? Infinity) <= seq) {
      this.issued.shift();
    }
  }

  /** What a worker that holds the voucher `seq`, or none with 0, has to be sent, oldest first. */
  missing(seq: number): readonly IssuedVoucher[] {
    return this.issued.filter(({ voucher }) => voucher.seq > seq);
  }
}
