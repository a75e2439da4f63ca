/** @file What a panel and a cell may see of whoever pays, and ask of it. Plain data out, requests in; no chain, no ledger. */
import type {
  Address,
  ExportFormat,
  PanelResults,
  PaymentChain,
  PaymentTx,
  Sent,
  Settlement,
  WorkerId,
} from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';
import type { SettleRule } from '../core/chain/settling.js';

/** Base units all. */
export interface LaneView {
  readonly address: Address;
  /** Metered and not judged yet. */
  readonly held: bigint;
  /** Sum of the newest voucher. */
  readonly vouchered: bigint;
  /** Paid on the chain, confirmed. */
  readonly settled: bigint;
  readonly cap: bigint;
}

/** The job's account as the chain has it, base units. */
export interface BalanceView {
  readonly deposit: bigint;
  readonly free: bigint;
  readonly reserved: bigint;
  readonly paid: bigint;
}

/** What is signed at most, base units; null is no limit of its own. */
export interface LimitsView {
  readonly perLane: bigint | null;
  readonly perHour: bigint | null;
  readonly perRun: bigint | null;
}

export interface TokenView {
  readonly symbol: string;
  readonly decimals: number;
}

export interface TreasurySummary {
  readonly settlement: Settlement;
  /** What is wrong and what to do; null when nothing is. */
  readonly problem: string | null;
  readonly chain: PaymentChain | null;
  /** What is paid in; null until the chain has said. */
  readonly token: TokenView | null;
  readonly balance: BalanceView;
  /** Unix ms; null without a job. */
  readonly expiryMs: number | null;
  readonly limits: LimitsView;
  /** When lanes are settled by themselves; null: when somebody asks. */
  readonly settling: SettleRule | null;
  /** Newest first, at most `PANEL_LIMITS.transactions`. */
  readonly transactions: readonly PaymentTx[];
}

/** Requests resolve when a transaction is stored and on its way, and reject with a RavenError that is fit to show. */
export interface TreasuryView {
  /** Cheap: asked at the rate of the panel. */
  summary(): TreasurySummary;
  /**
   * Of those among them that are paid on the chain. Sums are made over workers, so of several machines with one wallet the first shows what
   * the wallet has.
   */
  lanes(workers: readonly WorkerId[]): ReadonlyMap<WorkerId, LaneView>;
  settle(): Promise<Sent>;
  deposit(amount: bigint): Promise<Sent>;
  refund(): Promise<Sent>;
  extend(expiryMs: number): Promise<Sent>;
  /** Answers with the limits that hold now. */
  setLimits(limits: LimitsView): Promise<LimitsView>;
  /** One part of the log; the parts in order make the file. At most `PANEL_LIMITS.exportChars` characters. */
  exportLedger(part: {
    readonly format: ExportFormat;
    readonly cursor: string | null;
  }): Promise<PanelResults['exportLedger']>;
}

const NOTHING: TreasurySummary = {
  settlement: 'off',
  problem: null,
  chain: null,
  token: null,
  balance: { deposit: 0n, free: 0n, reserved: 0n, paid: 0n },
  expiryMs: null,
  limits: { perLane: null, perHour: null, perRun: null },
  settling: null,
  transactions: [],
};

function refuse(what: string): Promise<never> {
  const text = `${what}: payments are off; start the engine with a chain (RAVENLAB_CHAIN) to have them`;
  return Promise.reject(new ChainError(text, { fault: 'user' }));
}

/** An engine without a chain: work is metered and nobody is paid. */
export const NO_TREASURY: TreasuryView = {
  summary: () => NOTHING,
  lanes: () => new Map(),
  settle: () => refuse('settle'),
  deposit: () => refuse('deposit'),
  refund: () => refuse('refund'),
  extend: () => refuse('extend'),
  setLimits: () => refuse('setLimits'),
  exportLedger: () => refuse('exportLedger'),
};
