/**
 * @file What a worker delivered for one job, what it was promised, and whether it goes on: the payee's half of a lane. RFC 3
 * §3 and §4. Pure: hashing is injected, recovering a signer and keeping vouchers are the caller's.
 *
 * Nobody tells a worker truthfully which of its results were taken, so it counts for itself. A delivered unit is outstanding
 * until a receipt names its lease. A unit that much younger ones have overtaken was not taken, or was not
 * paid: races are lost in every cluster, so a share of those is forgiven, and no more.
 */
import type {
  Address,
  ChainHead,
  Hash32,
  JobId,
  LeaseId,
  PayRate,
  ProgramHash,
  Receipt,
  Sha256,
  SignedVoucher,
} from '@ravenlab/protocol';
import {
  CREDIT_LIMITS,
  EMPTY_CHAIN,
  amountOfWork,
  appendReceipt,
  parseReceiptLine,
} from '@ravenlab/protocol';

/** What a lane is worked for; as checked on the chain, not as an engine says. */
export interface LaneTerms {
  readonly job: JobId;
  readonly payee: Address;
  /** Whose vouchers count. */
  readonly signer: Address;
  /** Base units that the escrow keeps for this payee. */
  readonly cap: bigint;
  readonly rate: PayRate;
  /** A result is paid when so many younger ones were accepted. */
  readonly holdbackUnits: number;
}

/** What a worker keeps of a lane. */
export interface KeptLane {
  readonly chain: ChainHead;
  readonly voucher: SignedVoucher | null;
}

export const NOTHING_KEPT: KeptLane = { chain: EMPTY_CHAIN, voucher: null };

/** One unit that was answered. */
export interface Delivery {
  readonly lease: LeaseId;
  /** SHA-256 of the answer that it was part of. */
  readonly digest: Hash32;
  readonly program: ProgramHash;
  /** As its program costs. */
  readonly flops: number;
  readonly bytes: number;
}

/** Why a voucher is not what was agreed. */
export const VOUCHER_FAULTS = [
  /** Of another job or payee. */
  'foreign',
  /** Does not recover to the job's signer. */
  'signature',
  /** Promises less, or has a lower number, than one before. */
  'stale',
  /** More than the escrow keeps for this lane: it could not be redeemed. */
  'overCap',
  /** Its receipts do not hash to its head, or are not this lane's. */
  'chain',
  /** A receipt pays less than the work that it names costs. */
  'underpaid',
  /** Promises less than its own receipts add up to. */
  'short',
] as const;
export type VoucherFault = (typeof VOUCHER_FAULTS)[number];

/**
 * What to do with a voucher. `keep`: it can be redeemed and is worth more than what is kept: even one that breaks the
 * agreement is money. Only one without a fault is acknowledged; a fault ends the work.
 */
export interface Judgement {
  readonly keep: KeptLane | null;
  /** The lines that are new, for the log; those that a repeated message has brought again are not. */
  readonly lines: readonly string[];
  readonly fault: { readonly code: VoucherFault; readonly text: string } | null;
}

/** What the owner would lose if nothing more were promised. */
export interface Exposure {
  /** Delivered, and no receipt so far. */
  readonly units: number;
  /** ... their price, and what receipts say beyond the last promise; base units. */
  readonly amount: bigint;
}

/** How much credit an engine gets. Both must be exceeded, so that neither tiny nor huge units stop the work. */
export interface CreditWindow {
  readonly units: number;
  readonly amount: bigint;
}

interface Outstanding extends Delivery {
  /** Units delivered before it. */
  readonly position: number;
  /** Its price. */
  readonly amount: bigint;
}

export class Credit {
  private readonly sha256: Sha256;
  private readonly window: CreditWindow;
  private terms: LaneTerms;
  private kept: KeptLane;
  /** Oldest first. */
  private readonly outstanding = new Map<LeaseId, Outstanding>();
  private openAmount = 0n;
  private deliveredUnits = 0;
  private receiptedUnits = 0;
  private unpaidUnits = 0;
  /** Position of the youngest unit that a receipt has named. */
  private reached = -1;

  constructor(options: {
    readonly terms: LaneTerms;
    readonly kept: KeptLane;
    readonly window: CreditWindow;
    readonly sha256: Sha256;
  }) {
    this.terms = options.terms;
    this.kept = options.kept;
    this.window = options.window;
    this.sha256 = options.sha256;
  }

  get lane(): KeptLane {
    return this.kept;
  }

  /** Base units that the kept voucher promises in all. */
  get promised(): bigint {
    return this.kept.voucher?.cumulative ?? 0n;
  }

  get exposure(): Exposure {
    const beyond = this.kept.chain.earned - this.promised;
    return { units: this.outstanding.size, amount: this.openAmount + (beyond > 0n ? beyond : 0n) };
  }

  /** Units that were delivered, overtaken, and never paid. */
  get unpaid(): number {
    return this.unpaidUnits;
  }

  /** Whether more is at stake than the owner is willing to lose; ends when a voucher arrives. */
  get isExceeded(): boolean {
    const { units, amount } = this.exposure;
    const held = this.terms.holdbackUnits;
    return units > held + this.window.units && amount > this.window.amount;
  }

  /** Whether more units went unpaid than races explain. */
  get isCheated(): boolean {
    const { unpaidUnits, unpaidShare } = CREDIT_LIMITS;
    return (
      this.unpaidUnits > unpaidUnits &&
      this.unpaidUnits * unpaidShare > this.unpaidUnits + this.receiptedUnits
    );
  }

  /** Terms that changed, checked; what was delivered before keeps its price. */
  agree(terms: LaneTerms): void {
    this.terms = terms;
  }

  /** A result has left for the engine. */
  delivered(delivery: Delivery): void {
    if (this.outstanding.size >= CREDIT_LIMITS.deliveries) this.passOldest();
    const amount = amountOfWork(this.terms.rate, delivery);
    const position = this.deliveredUnits++;
    this.outstanding.set(delivery.lease, { ...delivery, position, amount });
    this.openAmount += amount;
  }

  /**
   * Judges a voucher with the receipts that it adds; takes over what is worth keeping.
   * @param recovered whose signature it carries; null when nobody's.
   */
  take(voucher: SignedVoucher, lines: readonly string[], recovered: Address | null): Judgement {
    const unfit = this.whyUnfit(voucher, recovered);
    if (unfit !== null) return { keep: null, lines: [], fault: unfit };
    const read = this.readLines(voucher, lines);
    const chain = read.chain;
    this.kept = { chain, voucher };
    const fault = read.fault ?? this.whyShort(voucher, chain);
    return { keep: this.kept, lines: read.lines, fault };
  }

  /** What would make it worthless, or worth less than what is kept. */
  private whyUnfit(voucher: SignedVoucher, recovered: Address | null): Judgement['fault'] {
    const { job, payee, signer, cap } = this.terms;
    if (voucher.job !== job || voucher.payee !== payee) {
      return faulty('foreign', `it is ${voucher.payee}'s of job ${voucher.job}`);
    }
    if (recovered !== signer) {
      return faulty('signature', `signed by ${recovered ?? 'nobody'}, expected ${signer}`);
    }
    const last = this.kept.voucher;
    const isOlder =
      last !== null && (voucher.seq < last.seq || voucher.cumulative < last.cumulative);
    const isOther = voucher.seq === last?.seq && voucher.cumulative !== last.cumulative;
    if (isOlder || isOther) {
      return faulty(
        'stale',
        `number ${String(voucher.seq)} over ${String(voucher.cumulative)} after number ` +
          `${String(last.seq)} over ${String(last.cumulative)}`,
      );
    }
    if (voucher.cumulative > cap) {
      return faulty('overCap', `${String(voucher.cumulative)} of ${String(cap)} reserved`);
    }
    return null;
  }

  /** Follows the chain of receipts, and settles what they name. */
  private readLines(
    voucher: SignedVoucher,
    lines: readonly string[],
  ): {
    readonly chain: ChainHead;
    readonly lines: readonly string[];
    readonly fault: Judgement['fault'];
  } {
    let { chain } = this.kept;
    let fault: Judgement['fault'] = null;
    const fresh: string[] = [];
    const lost = (text: string) => ({
      chain: restartAt(voucher, chain.count),
      lines: fresh,
      fault: faulty('chain', text),
    });
    for (const line of lines) {
      const parsed = parseReceiptLine(line);
      if (!parsed.ok) return lost(parsed.error.message);
      const receipt = parsed.value;
      const { n } = receipt;
      // A message that is sent again brings lines again.
      if (n <= chain.count) continue;
      // Receipts were lost on this side, with the disk or by a new home: money is money, the log has a gap.
      if (n > chain.count + 1) chain = { ...chain, count: n - 1 };
      const flaw = this.flawOf(receipt);
      if (flaw !== null) return lost(`receipt ${String(n)} ${flaw}`);
      chain = appendReceipt(chain, receipt, this.sha256).chain;
      fresh.push(line);
      fault ??= this.settle(receipt);
    }
    if (chain.head === voucher.ledgerHead) return { chain, lines: fresh, fault };
    const hasGap =
      fresh.length === 0 || Number(fresh[0]?.split(',', 1)[0]) !== this.kept.chain.count + 1;
    if (hasGap) return { chain: restartAt(voucher, chain.count), lines: fresh, fault };
    return lost(`its receipts hash to ${chain.head}, it says ${voucher.ledgerHead}`);
  }

  private flawOf({ job, payee, verdict, amount }: Receipt): string | null {
    const { terms } = this;
    if (job !== terms.job || payee !== terms.payee) return 'belongs to another lane';
    return verdict === 'refused' && amount > 0n ? 'is refused and paid' : null;
  }

  /** Finds the delivery that a receipt pays for. One that is not remembered must at least pay for the work that it names. */
  private settle(receipt: Receipt): Judgement['fault'] {
    const { n, lease, result, program, flops, sizeBytes, amount, verdict } = receipt;
    const entry = this.outstanding.get(lease);
    if (entry !== undefined && (entry.digest !== result || entry.program !== program)) {
      const text = `receipt ${String(n)} names another result of lease ${String(lease)} than was delivered`;
      return faulty('chain', text);
    }
    if (verdict === 'refused') {
      if (entry !== undefined) this.pass(entry);
      return null;
    }
    const due = entry?.amount ?? amountOfWork(this.terms.rate, { flops, bytes: sizeBytes });
    if (entry === undefined) this.takeBack();
    else this.paid(entry);
    if (amount >= due) return null;
    const text = `receipt ${String(n)} pays ${String(amount)} for work of ${String(due)}`;
    return faulty('underpaid', text);
  }

  private paid(entry: Outstanding): void {
    this.remove(entry);
    this.receiptedUnits++;
    this.reached = Math.max(this.reached, entry.position);
    const limit = this.reached - CREDIT_LIMITS.overtakenUnits;
    for (const oldest of this.outstanding.values()) {
      if (oldest.position >= limit) return;
      this.pass(oldest);
    }
  }

  /** A receipt that came after its unit was given up: an audit took long. */
  private takeBack(): void {
    if (this.unpaidUnits === 0) return;
    this.unpaidUnits--;
    this.receiptedUnits++;
  }

  private passOldest(): void {
    for (const oldest of this.outstanding.values()) {
      this.pass(oldest);
      return;
    }
  }

  /** Nobody will pay for it any more. */
  private pass(entry: Outstanding): void {
    this.remove(entry);
    this.unpaidUnits++;
  }

  private remove({ lease, amount }: Outstanding): void {
    this.outstanding.delete(lease);
    this.openAmount -= amount;
  }

  private whyShort(voucher: SignedVoucher, chain: ChainHead): Judgement['fault'] {
    const { cap } = this.terms;
    const due = chain.earned < cap ? chain.earned : cap;
    if (voucher.cumulative >= due) return null;
    return faulty(
      'short',
      `it promises ${String(voucher.cumulative)}, its receipts add up to ${String(chain.earned)}`,
    );
  }

  /** @throws Error when the books contradict themselves: our own mistake. */
  check(): void {
    let amount = 0n;
    for (const entry of this.outstanding.values()) amount += entry.amount;
    const units = this.receiptedUnits + this.unpaidUnits + this.outstanding.size;
    if (amount !== this.openAmount || units !== this.deliveredUnits) {
      throw new Error('invariant broken: delivered units are paid, unpaid or open');
    }
  }
}

/** Where a chain goes on whose lines are not known up to here: what was earned is what was promised. */
function restartAt(voucher: SignedVoucher, count: number): ChainHead {
  return { count, earned: voucher.cumulative, head: voucher.ledgerHead };
}

function faulty(code: VoucherFault, text: string): NonNullable<Judgement['fault']> {
  return { code, text };
}
