/** @file Payments in words and shares: settlement, transactions, addresses, the parts of the balance; pure. */
import type {
  PaymentBalance,
  PaymentTx,
  PaymentsSummary,
  Settlement,
  TxKind,
  TxState,
} from '@ravenlab/protocol';
import type { StateLabel, Tone, Translate } from './wording.js';

const SETTLEMENT_LABELS: Readonly<Record<Settlement, StateLabel>> = {
  off: { tone: 'quiet', text: (trans) => trans.__('Metered only') },
  starting: { tone: 'active', text: (trans) => trans.__('Chain starts') },
  ready: { tone: 'good', text: (trans) => trans.__('On chain') },
  problem: { tone: 'bad', text: (trans) => trans.__('Chain problem') },
};

/** A chain starts with the engine, and the engine with the first run. */
const NOT_YET: StateLabel = {
  tone: 'quiet',
  text: (trans) => trans.__('Chain starts with the first run'),
};

/** The pill of the section: a simulated chain is never called anything else. */
export function settlementLabel(payments: PaymentsSummary): StateLabel {
  // An engine names what it counts in from its first word on.
  if (payments.settlement === 'starting' && payments.currency === '') return NOT_YET;
  const label = SETTLEMENT_LABELS[payments.settlement];
  const isSimulated = payments.settlement === 'ready' && payments.chain?.isSimulated === true;
  return isSimulated ? { tone: 'good', text: (trans) => trans.__('Simulated chain') } : label;
}

export const TX_TEXTS: Readonly<Record<TxKind, (trans: Translate) => string>> = {
  deployEscrow: (trans) => trans.__('Escrow deployed'),
  deployToken: (trans) => trans.__('Test token deployed'),
  mint: (trans) => trans.__('Test coins made'),
  approve: (trans) => trans.__('Deposit approved'),
  open: (trans) => trans.__('Job opened'),
  topUp: (trans) => trans.__('Deposit or extension'),
  reserve: (trans) => trans.__('Reserved'),
  settle: (trans) => trans.__('Settled'),
  refund: (trans) => trans.__('Refund'),
};

export const TX_LABELS: Readonly<Record<TxState, StateLabel>> = {
  waiting: { tone: 'quiet', text: (trans) => trans.__('Waiting') },
  sent: { tone: 'active', text: (trans) => trans.__('Sent') },
  mined: { tone: 'active', text: (trans) => trans.__('In a block') },
  confirmed: { tone: 'good', text: (trans) => trans.__('Confirmed') },
  reverted: { tone: 'bad', text: (trans) => trans.__('Reverted') },
  refused: { tone: 'bad', text: (trans) => trans.__('Refused') },
  replaced: { tone: 'warn', text: (trans) => trans.__('Replaced') },
};

/** `0x5fbd…0aa3`: enough to compare by eye; the whole one is copied. */
export function shortHex(value: string): string {
  return value.length <= 13 ? value : `${value.slice(0, 6)}…${value.slice(-4)}`;
}

/** Page of a transaction, or null. The reader has checked that it is https. */
export function explorerPage(explorerUrl: string | null, tx: PaymentTx): string | null {
  return explorerUrl === null || tx.hash === null ? null : explorerUrl.replace('{hash}', tx.hash);
}

export interface BalancePart {
  readonly name: 'paid' | 'reserved' | 'free';
  readonly amount: string;
  /** Of all three, in [0, 1]. */
  readonly share: number;
}

/** Parts of the deposit in the order of the bar. */
export function balanceParts(balance: PaymentBalance): readonly BalancePart[] {
  const names = ['paid', 'reserved', 'free'] as const;
  const total = names.reduce((sum, name) => sum + BigInt(balance[name]), 0n);
  return names.map((name) => ({
    name,
    amount: balance[name],
    // Parts per million in integers first: a double cannot hold the amounts.
    share: total === 0n ? 0 : Number((BigInt(balance[name]) * 1_000_000n) / total) / 1_000_000,
  }));
}

const SOON_MS = 6 * 3_600_000;

/** How much a time that runs out should worry. */
export function urgencyOf(leftMs: number | null): Tone {
  if (leftMs === null) return 'quiet';
  if (leftMs <= 0) return 'bad';
  return leftMs < SOON_MS ? 'warn' : 'quiet';
}
