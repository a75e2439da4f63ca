/** @file What a unit costs, and how a price reads. */
import fc from 'fast-check';
import type { PayRate, Price } from '@ravenlab/protocol';
import { amountOfWork, amountText, priceText } from '@ravenlab/protocol';

const RATE: PayRate = { perGflop: 10n ** 12n, perMib: 0n };
const PRICE: Price = { currency: 'RVN', decimals: 18, rate: RATE };
const MIB = 2 ** 20;

test('an amount is FLOPs times rate, rounded up, and never nothing', () => {
  const flopsOnly = (flops: number, perGflop = RATE.perGflop): bigint =>
    amountOfWork({ perGflop, perMib: 0n }, { flops, bytes: 12_345 });
  expect(flopsOnly(1e9)).toBe(10n ** 12n);
  expect(flopsOnly(1)).toBe(1000n);
  expect(flopsOnly(1, 1n)).toBe(1n);
  expect(flopsOnly(1e9 + 1, 1n)).toBe(2n);
  expect(flopsOnly(0)).toBe(1000n);
});

test('bytes are paid beside FLOPs, and the sum is rounded once', () => {
  const rate: PayRate = { perGflop: 1n, perMib: 1n };
  expect(amountOfWork(rate, { flops: 1e9, bytes: MIB })).toBe(2n);
  expect(amountOfWork(rate, { flops: 5e8, bytes: MIB / 2 })).toBe(1n);
  expect(amountOfWork(rate, { flops: 5e8, bytes: MIB / 2 + 1 })).toBe(2n);
});

test('amounts are exact where doubles are not, and more work is never cheaper', () => {
  const count = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 1 });
  const money = fc.bigInt(0n, 10n ** 24n);
  fc.assert(
    fc.property(count, count, money, money, (flops, bytes, perGflop, perMib) => {
      const rate = { perGflop, perMib };
      const amount = amountOfWork(rate, { flops, bytes });
      const scale = 10n ** 9n * 2n ** 20n;
      const exact =
        BigInt(Math.max(1, flops)) * perGflop * 2n ** 20n + BigInt(bytes) * perMib * 10n ** 9n;
      expect(amount * scale >= exact && amount * scale < exact + scale).toBe(true);
      expect(amountOfWork(rate, { flops: flops + 1, bytes }) >= amount).toBe(true);
      expect(amountOfWork(rate, { flops, bytes: bytes + 1 }) >= amount).toBe(true);
    }),
  );
});

test('the price reads like a price', () => {
  expect(priceText(PRICE)).toBe('0.001 RVN per TFLOP');
  const cents: Price = { currency: 'X', decimals: 2, rate: { perGflop: 1n, perMib: 0n } };
  expect(priceText(cents)).toBe('10 X per TFLOP');
  expect(priceText({ ...cents, rate: { perGflop: 1n, perMib: 2n } })).toBe(
    '10 X per TFLOP + 20971.52 X per TiB',
  );
});

test('amounts keep every digit and no trailing zero', () => {
  expect(amountText(1_250_000n, 6)).toBe('1.25');
  expect(amountText(1n, 18)).toBe('0.000000000000000001');
  expect(amountText(5n, 0)).toBe('5');
  expect(amountText(0n, 6)).toBe('0');
});
