/** @file When a lane is settled by itself: never for more than its share of fees, at once from a sum on, and after a time. */
import fc from 'fast-check';
import { FREE_SETTLING, isDue, settleRule } from '../../../../kernel/src/core/chain/settling.js';

const GWEI = 10n ** 9n;
const HOUR_MS = 3_600_000;
/** A dollar with 6 decimals, an ether worth 3,000 of them. */
const POLICY = { perEther: 3_000_000_000n, timesFee: 100n, atLeast: 50_000_000n, everyMs: HOUR_MS };

test('what is settled is so many times its gas, in coins', () => {
  // 90,000 gas at 1 gwei are 0.00009 ether: 27 cents, and a hundred times that is 27.
  expect(settleRule(POLICY, GWEI)).toEqual({
    ...{ floor: 27_000_000n, atLeast: 50_000_000n, everyMs: HOUR_MS },
  });
  expect(settleRule(POLICY, 0n).floor).toBe(1n);
  expect(settleRule({ ...POLICY, timesFee: 1n }, 1n).floor).toBe(1n);
});

test('a sum is settled at once, less of it after a time, and what gas would eat never', () => {
  const rule = settleRule(POLICY, GWEI);
  expect(isDue(rule, 50_000_000n, 0)).toBe(true);
  expect(isDue(rule, 49_999_999n, HOUR_MS - 1)).toBe(false);
  expect(isDue(rule, 27_000_000n, HOUR_MS)).toBe(true);
  expect(isDue(rule, 26_999_999n, 1_000 * HOUR_MS)).toBe(false);
});

test('dear gas holds back what cheap gas would settle', () => {
  expect(isDue(settleRule(POLICY, 10n * GWEI), 50_000_000n, HOUR_MS)).toBe(false);
  expect(isDue(settleRule(POLICY, GWEI / 10n), 50_000_000n, 0)).toBe(true);
});

test('where gas is free everything is settled as it comes', () => {
  expect([isDue(FREE_SETTLING, 1n, 0), isDue(FREE_SETTLING, 0n, HOUR_MS)]).toEqual([true, false]);
});

test('property: fees are never more than their share of what is settled', () => {
  const amount = fc.bigInt({ min: 0n, max: 10n ** 24n });
  fc.assert(
    fc.property(amount, fc.bigInt({ min: 0n, max: 1_000n * GWEI }), amount, (owed, gas, price) => {
      const rule = settleRule({ ...POLICY, perEther: price, atLeast: 0n }, gas);
      if (!isDue(rule, owed, 0)) return;
      const fee = (90_000n * gas * price) / 10n ** 18n;
      expect(owed).toBeGreaterThanOrEqual(fee * POLICY.timesFee);
    }),
  );
});
