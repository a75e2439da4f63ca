/** @file What a transaction offers for gas: the first offer, the higher one when it is not taken, and when to wait instead. Wei. */

export interface GasFees {
  readonly maxFeePerGas: bigint;
  readonly maxPriorityFeePerGas: bigint;
}

/** What the chain asks now. */
export interface GasMarket extends GasFees {
  readonly baseFee: bigint;
}

export type Offer =
  | { readonly kind: 'offer'; readonly fees: GasFees }
  /** Dearer than the ceiling: nothing is lost by waiting while the job runs. */
  | { readonly kind: 'postpone'; readonly asked: bigint };

/** Nodes take a replacement that offers a tenth more; an eighth survives rounding. */
const BUMP_NUMERATOR = 9n;
const BUMP_DENOMINATOR = 8n;

const raised = (wei: bigint): bigint =>
  (wei * BUMP_NUMERATOR + BUMP_DENOMINATOR - 1n) / BUMP_DENOMINATOR;
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/** The first offer: what the market says, never above the ceiling; postponed when not even the next block could take it. */
export function firstOffer(market: GasMarket, ceiling: bigint): Offer {
  const asked = market.baseFee + market.maxPriorityFeePerGas;
  if (asked > ceiling) return { kind: 'postpone', asked };
  const { maxFeePerGas, maxPriorityFeePerGas } = market;
  const bounded = maxFeePerGas > ceiling ? ceiling : maxFeePerGas;
  return { kind: 'offer', fees: { maxFeePerGas: bounded, maxPriorityFeePerGas } };
}

/** An offer that replaces `before`: at least an eighth more of both, or it would be refused. */
export function raisedOffer(before: GasFees, market: GasMarket, ceiling: bigint): Offer {
  const maxFeePerGas = larger(raised(before.maxFeePerGas), market.maxFeePerGas);
  const tip = larger(raised(before.maxPriorityFeePerGas), market.maxPriorityFeePerGas);
  if (raised(before.maxFeePerGas) > ceiling) {
    return { kind: 'postpone', asked: raised(before.maxFeePerGas) };
  }
  const bounded = maxFeePerGas > ceiling ? ceiling : maxFeePerGas;
  // A tip above the whole fee is no transaction.
  const maxPriorityFeePerGas = tip > bounded ? bounded : tip;
  return { kind: 'offer', fees: { maxFeePerGas: bounded, maxPriorityFeePerGas } };
}
