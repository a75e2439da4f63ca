/** @file What a unit of work costs: FLOPs from the op table times a price, in integers. No currency conversion. */

/** A price list: `baseUnitsPerGflop` of a currency whose coin is 10^decimals base units. */
export interface Price {
  readonly currency: string;
  readonly decimals: number;
  readonly baseUnitsPerGflop: bigint;
}

const GFLOP = 1_000_000_000n;

/**
 * Amount for `flops` floating point operations, rounded up, so that no unit is free.
 * @param flops non-negative integer, exact up to 2^53.
 */
export function amountOf(price: Price, flops: number): bigint {
  const whole = BigInt(Math.max(1, Math.ceil(flops)));
  return (whole * price.baseUnitsPerGflop + GFLOP - 1n) / GFLOP;
}

/** The price in words, per TFLOP: '0.02 USDC per TFLOP'. */
export function priceText(price: Price): string {
  const perTflop = price.baseUnitsPerGflop * 1000n;
  const coin = 10n ** BigInt(price.decimals);
  const fraction = (perTflop % coin).toString().padStart(price.decimals, '0').replace(/0+$/, '');
  const whole = (perTflop / coin).toString();
  return `${fraction === '' ? whole : `${whole}.${fraction}`} ${price.currency} per TFLOP`;
}
