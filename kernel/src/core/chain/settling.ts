/**
 * @file When a lane is settled by itself. Gas is paid in another coin than work is, so what a settlement costs is compared at a price that
 * the payer names; without one, nothing is settled until somebody asks.
 */

/** Base units of the token. */
export interface SettleRule {
  /** Less is never settled: it is not worth what the transaction costs. */
  readonly floor: bigint;
  /** So much is settled at once ... */
  readonly atLeast: bigint;
  /** ... and what is above the floor after this long; ms. */
  readonly everyMs: number;
}

/** As the settings of a network say it. */
export interface SettlePolicy {
  /** What one ether is worth, base units of the token. */
  readonly perEther: bigint;
  /** A settlement brings at least so many times its fee: 100 keeps fees at 1 % of what is paid. */
  readonly timesFee: bigint;
  readonly atLeast: bigint;
  readonly everyMs: number;
}

/** Where gas is free, everything is settled as it comes. */
export const FREE_SETTLING: SettleRule = { floor: 1n, atLeast: 1n, everyMs: 0 };

/** A lane alone in its transaction, paid for the first time; each of several costs less. */
const LANE_GAS = 90_000n;
const WEI_PER_ETHER = 10n ** 18n;

/** @param weiPerGas what a block asks now */
export function settleRule(policy: SettlePolicy, weiPerGas: bigint): SettleRule {
  const { perEther, timesFee, atLeast, everyMs } = policy;
  const scaled = timesFee * LANE_GAS * weiPerGas * perEther;
  const floor = (scaled + WEI_PER_ETHER - 1n) / WEI_PER_ETHER;
  return { floor: floor > 0n ? floor : 1n, atLeast, everyMs };
}

/** Whether `owed` is settled now, when there was something owed since `sinceMs`. */
export function isDue(
  { floor, atLeast, everyMs }: SettleRule,
  owed: bigint,
  ageMs: number,
): boolean {
  return owed >= floor && (owed >= atLeast || ageMs >= everyMs);
}
