/** @file Exactly-once pay: pending, post, void; and the price of a unit in integers. */
import type { LeaseId, UnitId, WorkerId } from '@ravenlab/protocol';
import { InvariantError, Trace } from '../../../../kernel/src/core/cluster/transition.js';
import { Ledger } from '../../../../kernel/src/core/ledger/ledger.js';
import type { Price } from '../../../../kernel/src/core/ledger/price.js';
import { amountOf, priceText } from '../../../../kernel/src/core/ledger/price.js';

const lease = (id: number): LeaseId => id as LeaseId;
const unit = (id: number): UnitId => id as UnitId;
const a = 'a' as WorkerId;
const b = 'b' as WorkerId;
const PRICE: Price = { currency: 'RVN', decimals: 18, baseUnitsPerGflop: 10n ** 12n };

test('a posted transfer moves from pending to the account and the total', () => {
  const ledger = new Ledger(new Trace());
  ledger.reserve(lease(1), unit(1), a, 7n);
  expect(ledger.accounts.get(a)).toEqual({ posted: 0n, pending: 7n, units: 0 });
  expect(ledger.post(lease(1), 99)).toEqual({ unit: 1, worker: a, flops: 99, amount: 7n });
  expect(ledger.accounts.get(a)).toEqual({ posted: 7n, pending: 0n, units: 1 });
  expect(ledger.totalPosted).toBe(7n);
  ledger.check();
});

test('a void transfer pays nothing', () => {
  const ledger = new Ledger(new Trace());
  ledger.reserve(lease(1), unit(1), a, 7n);
  ledger.void(lease(1));
  expect(ledger.totalPosted).toBe(0n);
  expect(ledger.pendingCount).toBe(0);
});

test('a unit is paid once, even when two leases of it both claim to be settled', () => {
  const ledger = new Ledger(new Trace());
  ledger.reserve(lease(1), unit(5), a, 7n);
  ledger.reserve(lease(2), unit(5), b, 7n);
  ledger.post(lease(1), 1);
  expect(() => ledger.post(lease(2), 1)).toThrow('unit 5 is paid already');
});

test('a lease is closed once', () => {
  const ledger = new Ledger(new Trace());
  ledger.reserve(lease(1), unit(1), a, 7n);
  ledger.post(lease(1), 1);
  expect(() => ledger.post(lease(1), 1)).toThrow(InvariantError);
  expect(() => {
    ledger.void(lease(1));
  }).toThrow(InvariantError);
});

test('an earlier balance is carried over', () => {
  const ledger = new Ledger(new Trace());
  ledger.restore(a, 100n, 3);
  ledger.reserve(lease(1), unit(9), a, 1n);
  ledger.post(lease(1), 1);
  expect(ledger.accounts.get(a)).toEqual({ posted: 101n, pending: 0n, units: 4 });
  ledger.check();
});

test('an amount is FLOPs times price, rounded up, and never nothing', () => {
  expect(amountOf(PRICE, 1e9)).toBe(10n ** 12n);
  expect(amountOf(PRICE, 1)).toBe(1000n);
  expect(amountOf({ ...PRICE, baseUnitsPerGflop: 1n }, 1)).toBe(1n);
  expect(amountOf({ ...PRICE, baseUnitsPerGflop: 1n }, 1e9 + 1)).toBe(2n);
  expect(amountOf(PRICE, 0)).toBe(1000n);
});

test('sums of many amounts are exact where doubles are not', () => {
  const flops = 2 ** 53 - 1;
  expect(amountOf(PRICE, flops) * 3n).toBe(
    ((BigInt(flops) * 10n ** 12n + 10n ** 9n - 1n) / 10n ** 9n) * 3n,
  );
});

test('the price reads like a price', () => {
  expect(priceText(PRICE)).toBe('0.001 RVN per TFLOP');
  expect(priceText({ currency: 'X', decimals: 2, baseUnitsPerGflop: 1n })).toBe('10 X per TFLOP');
});
