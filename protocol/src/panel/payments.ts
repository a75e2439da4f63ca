/**
 * @file Payments as a panel shows them: who is owed what, the job's account on its chain, its transactions. Plain JSON, money as
 * decimal strings; never a key, never an address of the network. RFC 2 §2.
 */
import { PANEL_LIMITS as LIMITS } from '../limits.js';
import type { Fields, Reader } from '../read.js';
import {
  amountOf,
  baseUnits,
  count,
  flag,
  id,
  list,
  nullable,
  oneOf,
  record,
  reject,
  text,
} from '../read.js';
import type { Address, Hash32, JobId } from '../voucher.js';
import { addressReader, hash32Reader, jobIdReader } from '../voucher.js';

/** `off`: nobody is paid on a chain. `problem`: the chain cannot be used now, training goes on. */
export const SETTLEMENTS = ['off', 'starting', 'ready', 'problem'] as const;
export type Settlement = (typeof SETTLEMENTS)[number];

export const TX_KINDS = [
  'deployEscrow',
  'deployToken',
  'mint',
  'approve',
  'open',
  'topUp',
  'reserve',
  'settle',
  'refund',
] as const;
export type TxKind = (typeof TX_KINDS)[number];

/**
 * `waiting`: not signed yet. `sent`: signed, stored and broadcast. `mined`: in a block that may still be reorganised.
 * `reverted`: in a block, without effect. `refused`: the chain would not take it. `replaced`: another one has its nonce.
 */
export const TX_STATES = [
  'waiting',
  'sent',
  'mined',
  'confirmed',
  'reverted',
  'refused',
  'replaced',
] as const;
export type TxState = (typeof TX_STATES)[number];

/** What a job is paid on and from; everybody can see it on the chain. */
export interface PaymentChain {
  /** Like 'simulated chain' or 'Base'. */
  readonly label: string;
  readonly chainId: number;
  /** Runs on this machine; its coins are worth nothing. */
  readonly isSimulated: boolean;
  readonly escrow: Address;
  readonly token: Address;
  readonly job: JobId;
  readonly payer: Address;
  /** The key whose vouchers count. */
  readonly signer: Address;
  /** The engine can sign for the payer. If not, a wallet in the browser makes deposits and refunds. */
  readonly isPayerHere: boolean;
  /** Page of a transaction, with `{hash}` in it; https, or null when there is none. */
  readonly explorerUrl: string | null;
}

/** The job's account, base units. At all times `free + reserved + paid` is what was deposited and not refunded. */
export interface PaymentBalance {
  readonly deposit: string;
  readonly free: string;
  /** In lanes, and out of the payer's reach until a day after the expiry. */
  readonly reserved: string;
  readonly paid: string;
}

/** Sums over all payees, also those beyond the rows of a snapshot; base units. */
export interface PaymentTotals {
  /** Metered and not judged yet. */
  readonly held: string;
  readonly vouchered: string;
  readonly settled: string;
}

/** What the engine signs at most; null is no limit but the deposit's. Base units. */
export interface SpendLimits {
  readonly perLane: string | null;
  readonly perHour: string | null;
  readonly perRun: string | null;
}

export interface PaymentTx {
  /** Counts up; stays when its hash changes. */
  readonly id: number;
  readonly kind: TxKind;
  readonly state: TxState;
  /** Null until it is signed. */
  readonly hash: Hash32 | null;
  /** Null until it is in one. */
  readonly block: number | null;
  /** Base units; null for a transaction that moves none. */
  readonly amount: string | null;
  readonly atMs: number;
  /** Why it waits or failed; null when there is nothing to say. */
  readonly note: string | null;
}

export interface Payee {
  readonly workerId: string;
  readonly shortId: string;
  readonly name: string | null;
  /** Null when it works unpaid; then `held` and all after it are 0. */
  readonly address: Address | null;
  /** Accepted units of work behind `metered`. */
  readonly units: number;
  /** Accepted work so far, base units, as are those below. */
  readonly metered: string;
  /** Part of `metered` that is not judged yet. */
  readonly held: string;
  /** Sum of its newest voucher. */
  readonly vouchered: string;
  /** Paid on the chain. */
  readonly settled: string;
  /** Reserved for it on the chain: vouchers go no further. */
  readonly cap: string;
}

export interface PaymentsSummary {
  /** Ticker to show, like 'USDC'. */
  readonly currency: string;
  /** Base units per coin are 10^decimals. */
  readonly decimals: number;
  /** The price in words, like '0.02 USDC per TFLOP'. */
  readonly unitPriceText: string;
  /** When contributors are settled without being asked for, in words; null: when somebody asks. */
  readonly settlingText: string | null;
  /** Base units; includes payees beyond the rows of a snapshot. */
  readonly totalMetered: string;
  /** Everyone who earned, also after they left. */
  readonly payees: readonly Payee[];
  readonly settlement: Settlement;
  /** What is wrong and what to do; null when nothing is. */
  readonly problem: string | null;
  /** Null while there is none. */
  readonly chain: PaymentChain | null;
  readonly balance: PaymentBalance;
  readonly totals: PaymentTotals;
  /** What paid contributors earn in an hour at the pace of the last minute, base units. */
  readonly burnPerHour: string;
  /** Until free and reserved money is used up at that pace; null when nothing is spent. */
  readonly timeToEmptyMs: number | null;
  /** Unix ms of the chain's clock; null without a job. */
  readonly expiryMs: number | null;
  readonly limits: SpendLimits;
  /** The newest ones, newest first. */
  readonly transactions: readonly PaymentTx[];
}

const money = baseUnits(LIMITS.amountDigits);

/** Only https leads out of the panel; anything else could run in the page. */
const explorerUrl: Reader<string> = (value, path) => {
  const url = text(LIMITS.urlChars)(value, path);
  return /^https:\/\/[^\s"'<>\\]*\{hash\}[^\s"'<>\\]*$/.test(url)
    ? url
    : reject(path, 'an https address with {hash}', value);
};

const CHAIN_FIELDS: Fields<PaymentChain> = {
  label: text(LIMITS.nameChars),
  chainId: count(),
  isSimulated: flag,
  escrow: addressReader,
  token: addressReader,
  job: jobIdReader,
  payer: addressReader,
  signer: addressReader,
  isPayerHere: flag,
  explorerUrl: nullable(explorerUrl),
};

const BALANCE_FIELDS: Fields<PaymentBalance> = {
  deposit: money,
  free: money,
  reserved: money,
  paid: money,
};

const TOTALS_FIELDS: Fields<PaymentTotals> = { held: money, vouchered: money, settled: money };

export const LIMITS_FIELDS: Fields<SpendLimits> = {
  perLane: nullable(money),
  perHour: nullable(money),
  perRun: nullable(money),
};

const TX_FIELDS: Fields<PaymentTx> = {
  id: count(),
  kind: oneOf(TX_KINDS),
  state: oneOf(TX_STATES),
  hash: nullable(hash32Reader),
  block: nullable(count()),
  amount: nullable(money),
  atMs: count(),
  note: nullable(text(LIMITS.textChars)),
};

export const PAYEE_FIELDS: Fields<Payee> = {
  workerId: id(LIMITS.idChars),
  shortId: id(16),
  name: nullable(text(LIMITS.nameChars)),
  address: nullable(addressReader),
  units: count(),
  metered: money,
  held: money,
  vouchered: money,
  settled: money,
  cap: money,
};

export const PAYMENTS_FIELDS: Fields<PaymentsSummary> = {
  currency: text(16),
  decimals: count(36),
  unitPriceText: text(LIMITS.textChars),
  settlingText: nullable(text(LIMITS.textChars)),
  totalMetered: money,
  payees: list(record(PAYEE_FIELDS), LIMITS.payees),
  settlement: oneOf(SETTLEMENTS),
  problem: nullable(text(LIMITS.textChars)),
  chain: nullable(record(CHAIN_FIELDS)),
  balance: record(BALANCE_FIELDS),
  totals: record(TOTALS_FIELDS),
  burnPerHour: money,
  timeToEmptyMs: nullable(amountOf),
  expiryMs: nullable(count()),
  limits: record(LIMITS_FIELDS),
  transactions: list(record(TX_FIELDS), LIMITS.transactions),
};

export const NO_BALANCE: PaymentBalance = { deposit: '0', free: '0', reserved: '0', paid: '0' };
export const NO_TOTALS: PaymentTotals = { held: '0', vouchered: '0', settled: '0' };
export const NO_LIMITS: SpendLimits = { perLane: null, perHour: null, perRun: null };

/** Nothing metered, nothing paid, no chain. */
export const EMPTY_PAYMENTS: PaymentsSummary = {
  currency: '',
  decimals: 0,
  unitPriceText: '',
  settlingText: null,
  totalMetered: '0',
  payees: [],
  settlement: 'off',
  problem: null,
  chain: null,
  balance: NO_BALANCE,
  totals: NO_TOTALS,
  burnPerHour: '0',
  timeToEmptyMs: null,
  expiryMs: null,
  limits: NO_LIMITS,
  transactions: [],
};
