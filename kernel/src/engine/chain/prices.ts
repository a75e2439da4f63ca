/**
 * @file What work costs, as settings say it in coins of their token, in base units. Read once, when the engine starts: what was metered
 * before its chain is ready must not be in other units than what comes after. Reads no keys, and checks no more than the price.
 */
import { readFileSync } from 'node:fs';
import type { Price } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import { amountText, parseAmount } from './amounts.js';
import type { ChainChoice } from './chainChoice.js';

/** Coins, as people write them. */
export interface PriceTexts {
  readonly perTflop: string;
  /** For 2^40 bytes that ops read and write. */
  readonly perTib: string;
}

export const DEFAULT_PRICE_TEXTS: PriceTexts = { perTflop: '0.001', perTib: '0' };

const GFLOPS_PER_TFLOP = 1_000n;
const MIBS_PER_TIB = 1n << 20n;

/**
 * Both sides count in whole base units for a GFLOP and for a MiB.
 * @throws ChainError when a price is no number, finer than that, or when all work would be free.
 */
export function rateOf({ perTflop, perTib }: PriceTexts, decimals: number): Price['rate'] {
  const rate = {
    perGflop: shareOf(perTflop, decimals, { what: 'price.perTflop', parts: GFLOPS_PER_TFLOP }),
    perMib: shareOf(perTib, decimals, { what: 'price.perTib', parts: MIBS_PER_TIB }),
  };
  if (rate.perGflop > 0n || rate.perMib > 0n) return rate;
  throw new ChainError(
    'price: all work would be free; name perTflop or perTib, or train without a chain (RAVENLAB_CHAIN=off)',
    { fault: 'user' },
  );
}

function shareOf(
  text: string,
  decimals: number,
  { what, parts }: { readonly what: string; readonly parts: bigint },
): bigint {
  const amount = parseAmount(text, decimals, what);
  if (amount % parts === 0n) return amount / parts;
  throw new ChainError(
    `${what} is ${text.slice(0, 40)}, expected a multiple of ${amountText(parts, decimals)}: both sides count in whole base ` +
      `units, and a token with ${String(decimals)} decimals has no smaller ones`,
    { fault: 'user' },
  );
}

/** The price of a simulated chain, and of an engine that pays nobody. */
export const TEST_PRICE: Price = {
  currency: 'RVN',
  decimals: CHAIN_LIMITS.simulatedDecimals,
  rate: rateOf(DEFAULT_PRICE_TEXTS, CHAIN_LIMITS.simulatedDecimals),
};

/**
 * What an engine asks and offers for work from its first unit on. Settings that cannot be read are a problem of the chain, which says
 * what is wrong with them and pays nobody until it is mended: the engine meters in test coins meanwhile.
 */
export function priceOfChoice(choice: ChainChoice): Price {
  if (choice.kind !== 'settings') return TEST_PRICE;
  try {
    const text = readFileSync(choice.file, 'utf8').slice(0, CHAIN_LIMITS.privateFileBytes);
    const { decimals = CHAIN_LIMITS.simulatedDecimals, price } = JSON.parse(text) as Written;
    if (!(decimals >= 0 && decimals <= CHAIN_LIMITS.decimalsMax)) return TEST_PRICE;
    const rate = rateOf({ ...DEFAULT_PRICE_TEXTS, ...price }, decimals);
    return { currency: 'coins', decimals, rate };
  } catch {
    return TEST_PRICE;
  }
}

/** What is looked at here; `readSettings` checks it, in the thread that would pay. */
interface Written {
  readonly decimals?: number;
  readonly price?: Partial<PriceTexts>;
}
