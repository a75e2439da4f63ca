/**
 * @file What a unit of work costs: FLOPs and bytes from the op table times a rate, in integers, so that whoever pays and
 * whoever is paid come to the same amount. No currency conversion.
 */

/** What a payer offers, in base units of its token. */
export interface PayRate {
  readonly perGflop: bigint;
  /** Per 2^20 bytes that the ops read and write, as the op table counts them. */
  readonly perMib: bigint;
}

/** A rate in a currency whose coin is 10^decimals base units. */
export interface Price {
  readonly currency: string;
  readonly decimals: number;
  readonly rate: PayRate;
}

/** Work as the op table counts it: whole numbers, exact up to 2^53. `programCost` makes it. */
export interface Work {
  readonly flops: number;
  readonly bytes: number;
}

const GFLOP = 1_000_000_000n;
const MIB = 1n << 20n;

/** Amount for one unit, base units, rounded up once, and at least 1 where anything is paid: no unit is free. */
export function amountOfWork(rate: PayRate, { flops, bytes }: Work): bigint {
  const wholeFlops = BigInt(Math.max(1, Math.ceil(flops)));
  const wholeBytes = BigInt(Math.ceil(bytes));
  const scaled = wholeFlops * rate.perGflop * MIB + wholeBytes * rate.perMib * GFLOP;
  const scale = GFLOP * MIB;
  return (scaled + scale - 1n) / scale;
}

/** The price in words: '0.02 USDC per TFLOP', and '+ 0.1 USDC per TiB' when moving data is paid too. */
export function priceText({ currency, decimals, rate }: Price): string {
  const perTflop = `${amountText(rate.perGflop * 1000n, decimals)} ${currency} per TFLOP`;
  if (rate.perMib === 0n) return perTflop;
  return `${perTflop} + ${amountText(rate.perMib << 20n, decimals)} ${currency} per TiB`;
}

/** Base units as a decimal number of coins, without trailing zeros and without rounding: '1.25'. */
export function amountText(amount: bigint, decimals: number): string {
  const coin = 10n ** BigInt(decimals);
  const fraction = (amount % coin).toString().padStart(decimals, '0').replace(/0+$/, '');
  const whole = (amount / coin).toString();
  return decimals === 0 || fraction === '' ? whole : `${whole}.${fraction}`;
}
