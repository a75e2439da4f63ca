/**
 * @file One lane as its payer keeps it: what was earned, what was promised, what the chain has paid, and the voucher that
 * is on its way. RFC 3 §4. Pure: signing, storing and sending are effects, and each is reported back.
 */
import type {
  Address,
  ChainHead,
  ChainedReceipt,
  Hash32,
  JobId,
  Receipt,
  Sha256,
  SignedVoucher,
  Voucher,
} from '@ravenlab/protocol';
import { EMPTY_CHAIN, VOUCHER_LIMITS, appendReceipt } from '@ravenlab/protocol';
import type { Table, Trace } from '../cluster/transition.js';
import { invariant, nextStatus } from '../cluster/transition.js';

export type VoucherStatus = 'none' | 'drafted' | 'signed' | 'stored' | 'sent';
export type VoucherCause = 'draft' | 'sign' | 'refuse' | 'store' | 'send' | 'settle' | 'adopt';

/**
 * A voucher is sent only after it was stored, so that no worker ever holds one that its ledger has forgotten. The next
 * one may be drafted while the last is still to be acknowledged: it includes it. `adopt`: the worker showed a voucher
 * of ours that is newer than all we know, whatever we were about to do. `refuse`: a spend limit; it is drafted anew later.
 */
export const VOUCHER_TABLE = {
  none: { draft: 'drafted', adopt: 'sent' },
  drafted: { sign: 'signed', refuse: 'none', adopt: 'sent' },
  signed: { store: 'stored', adopt: 'sent' },
  stored: { send: 'sent', adopt: 'sent' },
  sent: { draft: 'drafted', settle: 'none', adopt: 'sent' },
} as const satisfies Record<VoucherStatus, Partial<Record<VoucherCause, VoucherStatus>>>;

export interface LaneOptions {
  readonly job: JobId;
  readonly payee: Address;
  readonly sha256: Sha256;
  readonly trace: Trace;
}

/** What the store knows of a lane after a restart. */
export interface StoredLane {
  readonly chain: ChainHead;
  /** The newest voucher that was stored, sent or not. */
  readonly voucher: SignedVoucher | null;
  /** Of the newest voucher that the worker is known to have; 0 when there is none. */
  readonly acknowledged: number;
  readonly cap: bigint;
  readonly paid: bigint;
}

/** What became of a voucher that a worker presented. */
export type Presented = 'known' | 'adopted' | 'foreign' | 'beyondEarnings';

export class Lane {
  private readonly options: LaneOptions;
  private chain = EMPTY_CHAIN;
  private status: VoucherStatus = 'none';
  private draft: Voucher | null = null;
  /** Receipts that the draft pays for in all. */
  private draftReceipts = 0;
  private newest: SignedVoucher | null = null;
  private capAmount = 0n;
  private paidAmount = 0n;
  private acknowledged = 0;
  private unitsSince = 0;
  private lastDraftMs = Number.NEGATIVE_INFINITY;

  constructor(options: LaneOptions, stored?: StoredLane) {
    this.options = options;
    if (stored === undefined) return;
    this.chain = stored.chain;
    this.newest = stored.voucher;
    this.acknowledged = stored.acknowledged;
    this.capAmount = stored.cap;
    this.paidAmount = stored.paid;
    // It may or may not have left: sending it again does no harm, losing it would.
    if (stored.voucher !== null) this.status = 'stored';
    this.check();
  }

  get job(): JobId {
    return this.options.job;
  }

  get head(): ChainHead {
    return this.chain;
  }

  /** The voucher that waits for its signature. */
  get pendingDraft(): Voucher | null {
    return this.draft;
  }

  /** Number of the newest voucher that the worker is known to have; 0 when there is none. */
  get ackedSeq(): number {
    return this.acknowledged;
  }

  /** Receipts that the last draft pays for in all. */
  get draftCount(): number {
    return this.draftReceipts;
  }

  get voucherStatus(): VoucherStatus {
    return this.status;
  }

  /** The newest voucher that was signed; not to be sent before it is stored. */
  get voucher(): SignedVoucher | null {
    return this.newest;
  }

  /** Base units the newest voucher promises in all. */
  get vouchered(): bigint {
    return this.newest?.cumulative ?? 0n;
  }

  get cap(): bigint {
    return this.capAmount;
  }

  get paid(): bigint {
    return this.paidAmount;
  }

  /** Earned, and not promised yet: what the worker risks. */
  get exposure(): bigint {
    return this.chain.earned > this.vouchered ? this.chain.earned - this.vouchered : 0n;
  }

  /** True when work would no longer be covered: no voucher may exceed the cap. */
  get isExhausted(): boolean {
    return this.chain.earned >= this.capAmount;
  }

  /** A judged unit; what is returned has to be stored before the next voucher is signed. */
  add(receipt: Receipt): ChainedReceipt {
    const { job, payee, sha256 } = this.options;
    invariant(receipt.job === job && receipt.payee === payee, 'a receipt of another lane');
    const { chain, entry } = appendReceipt(this.chain, receipt, sha256);
    this.chain = chain;
    this.unitsSince++;
    return entry;
  }

  /**
   * The voucher to sign now, if one is due: the lane owes something it has not promised, enough units or time have
   * passed, none is between signing and sending, and the worker acknowledges what it gets.
   */
  nextVoucher(nowMs: number): Voucher | null {
    if (this.status !== 'none' && this.status !== 'sent') return null;
    const { unitsPerVoucher, everyMs, unacknowledged } = VOUCHER_LIMITS;
    const isDue = this.unitsSince >= unitsPerVoucher || nowMs - this.lastDraftMs >= everyMs;
    const seq = (this.newest?.seq ?? 0) + 1;
    if (!isDue || seq - this.acknowledged > unacknowledged) return null;
    const cumulative = this.chain.earned < this.capAmount ? this.chain.earned : this.capAmount;
    if (cumulative <= this.vouchered) return null;
    const { job, payee } = this.options;
    this.move('draft');
    this.draft = { job, payee, cumulative, seq, ledgerHead: this.chain.head };
    this.draftReceipts = this.chain.count;
    this.unitsSince = 0;
    this.lastDraftMs = nowMs;
    return this.draft;
  }

  /** The draft, signed; it has to be stored now. */
  signed(signature: { readonly r: Hash32; readonly vs: Hash32 }): SignedVoucher {
    invariant(this.draft !== null, 'there is no draft to sign');
    this.move('sign');
    this.newest = { ...this.draft, r: signature.r, vs: signature.vs };
    this.draft = null;
    return this.newest;
  }

  /** The draft may not be signed now. @param nowMs no other draft is made until a while after this. */
  refused(nowMs: number): void {
    invariant(this.draft !== null, 'there is no draft to refuse');
    this.move('refuse');
    this.draft = null;
    this.unitsSince = 0;
    this.lastDraftMs = nowMs;
  }

  stored(): void {
    this.move('store');
  }

  sent(): void {
    this.move('send');
  }

  /** The worker has kept the voucher `seq`; an older or unknown number changes nothing. */
  acked(seq: number): void {
    if (seq > this.acknowledged && seq <= (this.newest?.seq ?? 0)) this.acknowledged = seq;
  }

  /**
   * The worker came back with the last voucher it holds, and the caller has verified our signature on it. One that is
   * newer than ours was stored by us and lost since: our word counts, as far as the receipts go.
   */
  presented(voucher: SignedVoucher): Presented {
    const { job, payee } = this.options;
    if (voucher.job !== job || voucher.payee !== payee) return 'foreign';
    if (voucher.seq <= (this.newest?.seq ?? 0)) {
      this.acked(voucher.seq);
      return 'known';
    }
    if (voucher.cumulative < this.vouchered) return 'foreign';
    this.newest = voucher;
    this.acknowledged = voucher.seq;
    this.move('adopt');
    this.draft = null;
    return voucher.cumulative > this.chain.earned ? 'beyondEarnings' : 'adopted';
  }

  /**
   * What the chain says of the lane, confirmed; `cap` falls only when its payee releases. False, and nothing is taken
   * over, when it cannot follow what is known: an RPC that lies, or a chain that was reorganised.
   */
  onChain(state: { readonly cap: bigint; readonly paid: bigint }): boolean {
    if (state.paid < this.paidAmount || state.paid > state.cap) return false;
    this.capAmount = state.cap;
    this.paidAmount = state.paid;
    if (this.status === 'sent' && this.paidAmount >= this.vouchered) this.move('settle');
    return true;
  }

  /** @throws InvariantError when the lane contradicts itself. */
  check(): void {
    invariant(this.paidAmount <= this.capAmount, 'paid more than the cap');
    invariant(this.vouchered <= VOUCHER_LIMITS.laneAmount, 'promised more than a lane can hold');
    invariant((this.status === 'drafted') === (this.draft !== null), 'a draft without its status');
  }

  private move(cause: VoucherCause): void {
    const table: Table<VoucherStatus, VoucherCause> = VOUCHER_TABLE;
    const { trace, payee } = this.options;
    this.status = nextStatus(trace, 'voucher', table, this.status, cause, payee);
  }
}
