/**
 * @file Payments as the panel shows them: what the ledger metered joined with what the treasury pays, pace and time to empty,
 * and what a payer must be told. Pure but for its memory of the pace; the clock is its caller's.
 */
import type { Payee, PaymentsSummary, Price, WorkerId } from '@ravenlab/protocol';
import { PANEL_LIMITS, amountText, formatDuration, priceText } from '@ravenlab/protocol';
import type { Ledger } from '../core/ledger/ledger.js';
import type { TreasurySummary, TreasuryView } from './treasuryView.js';
import { shortIdOf } from './workerHub.js';

export const PAYMENT_TOPICS = ['budget', 'expiry'] as const;

/** Something that is so now; it goes when it is no longer in the list. */
export interface PaymentWarning {
  readonly topic: (typeof PAYMENT_TOPICS)[number];
  readonly level: 'warning' | 'error';
  readonly text: string;
}

const PACE_WINDOW_MS = 60_000;
/** How often the pace is noted: so many marks are kept at most. */
const PACE_MARK_MS = 1_000;
const HOUR_MS = 3_600_000;
/** Less than this at the present pace is worth a warning. */
const LOW_BUDGET_MS = HOUR_MS / 4;
const NEAR_EXPIRY_MS = 6 * HOUR_MS;

/** Earnings over a sliding window, in base units. */
class Pace {
  private readonly marks: { readonly atMs: number; readonly total: bigint }[] = [];

  mark(atMs: number, total: bigint): void {
    const { marks } = this;
    const last = marks[marks.length - 1];
    if (last !== undefined && atMs - last.atMs < PACE_MARK_MS) return;
    marks.push({ atMs, total });
    while (marks.length > 2 && (marks[0]?.atMs ?? 0) < atMs - PACE_WINDOW_MS) marks.shift();
  }

  perHour(): bigint {
    const first = this.marks[0];
    const last = this.marks[this.marks.length - 1];
    if (first === undefined || last === undefined || last.total <= first.total) return 0n;
    return ((last.total - first.total) * BigInt(HOUR_MS)) / BigInt(last.atMs - first.atMs);
  }
}

/** Of everybody who is paid on the chain; base units. */
interface Sums {
  metered: bigint;
  held: bigint;
  vouchered: bigint;
  settled: bigint;
}

export class PaymentsView {
  private readonly ledger: Ledger;
  private readonly price: Price;
  private readonly treasury: TreasuryView;
  private readonly pace = new Pace();

  constructor(options: {
    readonly ledger: Ledger;
    readonly price: Price;
    readonly treasury: TreasuryView;
  }) {
    this.ledger = options.ledger;
    this.price = options.price;
    this.treasury = options.treasury;
  }

  /** @param nameOf what the contributor calls itself; '' when unknown. */
  summary(nowMs: number, nameOf: (worker: WorkerId) => string): PaymentsSummary {
    const treasury = this.treasury.summary();
    const { payees, sums } = this.payees(nameOf);
    this.pace.mark(nowMs, sums.metered);
    const burnPerHour = this.pace.perHour();
    const { balance, limits } = treasury;
    const price = this.priceIn(treasury);
    const text = (amount: bigint | null) => amount?.toString() ?? null;
    return {
      currency: price.currency,
      decimals: price.decimals,
      unitPriceText: priceText(price),
      settlingText: settlingText(treasury, price),
      totalMetered: this.ledger.totalPosted.toString(),
      payees,
      settlement: treasury.settlement,
      problem: treasury.problem?.slice(0, PANEL_LIMITS.textChars) ?? null,
      chain: treasury.chain,
      balance: {
        deposit: balance.deposit.toString(),
        free: balance.free.toString(),
        reserved: balance.reserved.toString(),
        paid: balance.paid.toString(),
      },
      totals: {
        held: sums.held.toString(),
        vouchered: sums.vouchered.toString(),
        settled: sums.settled.toString(),
      },
      burnPerHour: burnPerHour.toString(),
      timeToEmptyMs: timeToEmptyMs(treasury, sums, burnPerHour),
      expiryMs: treasury.expiryMs,
      limits: {
        perLane: text(limits.perLane),
        perHour: text(limits.perHour),
        perRun: text(limits.perRun),
      },
      transactions: treasury.transactions.slice(0, PANEL_LIMITS.transactions),
    };
  }

  /** What work costs, in the token that is paid; in test coins as long as nobody knows of another. */
  priceNow(): Price {
    return this.priceIn(this.treasury.summary());
  }

  private priceIn({ token }: TreasurySummary): Price {
    if (token === null) return this.price;
    const currency = token.symbol.slice(0, PANEL_LIMITS.nameChars);
    return { ...this.price, currency, decimals: token.decimals };
  }

  private payees(nameOf: (worker: WorkerId) => string): {
    readonly payees: readonly Payee[];
    readonly sums: Sums;
  } {
    const sums: Sums = { metered: 0n, held: 0n, vouchered: 0n, settled: 0n };
    const rows = [...this.ledger.accounts].filter(([, account]) => account.units > 0);
    const lanes = this.treasury.lanes(rows.map(([worker]) => worker));
    for (const [worker, { posted }] of rows) {
      const lane = lanes.get(worker);
      if (lane === undefined) continue;
      sums.metered += posted;
      sums.held += lane.held;
      sums.vouchered += lane.vouchered;
      sums.settled += lane.settled;
    }
    rows.sort(([, a], [, b]) => (a.posted === b.posted ? 0 : a.posted < b.posted ? 1 : -1));
    const payees = rows.slice(0, PANEL_LIMITS.payees).map(([worker, account]): Payee => {
      const name = nameOf(worker);
      const lane = lanes.get(worker);
      return {
        workerId: worker.slice(0, PANEL_LIMITS.idChars),
        shortId: shortIdOf(worker),
        name: name === '' ? null : name,
        address: lane?.address ?? null,
        units: account.units,
        metered: account.posted.toString(),
        held: (lane?.held ?? 0n).toString(),
        vouchered: (lane?.vouchered ?? 0n).toString(),
        settled: (lane?.settled ?? 0n).toString(),
        cap: (lane?.cap ?? 0n).toString(),
      };
    });
    return { payees, sums };
  }
}

/** Null where gas is free, and where nothing is settled without being asked for. */
function settlingText({ settling, chain }: TreasurySummary, price: Price): string | null {
  if (settling === null || chain === null || chain.isSimulated) return null;
  const { floor, atLeast, everyMs } = settling;
  const coins = (amount: bigint) => `${amountText(amount, price.decimals)} ${price.currency}`;
  if (atLeast <= floor) return `settled from ${coins(floor)} on`;
  return `settled from ${coins(atLeast)} on, or ${formatDuration(everyMs)} later from ${coins(floor)} on`;
}

/** What is deposited and not owed yet, at the pace of now; null when nothing is spent. */
function timeToEmptyMs(
  { chain, balance }: TreasurySummary,
  sums: Sums,
  burnPerHour: bigint,
): number | null {
  if (chain === null || burnPerHour === 0n) return null;
  // Not what was metered: a refused unit is in that for ever. What is judged is in a voucher within a second.
  const owed = sums.held + (sums.vouchered > sums.settled ? sums.vouchered - sums.settled : 0n);
  const left = balance.free + balance.reserved - owed;
  if (left <= 0n) return 0;
  // Long times are shown in days: a double is exact enough for them.
  return Number((left * BigInt(HOUR_MS)) / burnPerHour);
}

/** What a payer must be told of `payments` now. */
export function warningsOf(payments: PaymentsSummary, nowMs: number): readonly PaymentWarning[] {
  const { chain, timeToEmptyMs: leftMs, expiryMs } = payments;
  if (chain === null) return [];
  const warnings: PaymentWarning[] = [];
  const budget = budgetWarning(leftMs);
  if (budget !== null) warnings.push(budget);
  if (expiryMs !== null && expiryMs - nowMs < NEAR_EXPIRY_MS) {
    const isOver = expiryMs <= nowMs;
    warnings.push({
      topic: 'expiry',
      level: isOver ? 'error' : 'warning',
      text: isOver
        ? 'The job on the chain has expired: nothing more can be reserved for contributors. Extend it in Payments.'
        : `The job on the chain expires in ${inSteps(expiryMs - nowMs)}: contributors stop before that. Extend it in Payments.`,
    });
  }
  return warnings;
}

function budgetWarning(leftMs: number | null): PaymentWarning | null {
  if (leftMs === null || leftMs >= LOW_BUDGET_MS) return null;
  return leftMs === 0
    ? {
        topic: 'budget',
        level: 'error',
        text: 'The deposit is used up: contributors stop when what is reserved for them is earned. Deposit more in Payments.',
      }
    : {
        topic: 'budget',
        level: 'warning',
        text: `The deposit lasts less than ${formatDuration(LOW_BUDGET_MS)} at this pace. Deposit more in Payments.`,
      };
}

/** Whole hours, then quarters: a text that ticked would be a new alert each time. */
function inSteps(durationMs: number): string {
  const stepMs = durationMs > HOUR_MS ? HOUR_MS : HOUR_MS / 4;
  return `less than ${formatDuration(Math.ceil(durationMs / stepMs) * stepMs)}`;
}
