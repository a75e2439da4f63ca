/** @file Pending, posted, void: a unit is paid once, and the books balance at every moment. */
import type { LeaseId, UnitId, WorkerId } from '@ravenlab/protocol';
import { Trace } from '../../../../kernel/src/core/cluster/transition.js';
import { Ledger } from '../../../../kernel/src/core/ledger/ledger.js';
import { amountOf, priceText } from '../../../../kernel/src/core/ledger/price.js';

const [lease1, lease2] = [1, 2] as LeaseId[] as [LeaseId, LeaseId];
const unit = 9 as UnitId;
const alice = 'alice' as WorkerId;
const bob = 'bob' as WorkerId;

test('pays the worker whose lease settles, and nobody else', () => {
  const ledger = new Ledger(new Trace());
  ledger.reserve(lease1, unit, alice, 7n);
  ledger.void(lease1);
  ledger.reserve(lease2, unit, bob, 7n);
  ledger.check();
  expect(ledger.post(lease2, 100)).toEqual({ unit, worker: bob, flops: 100, amount: 7n });
  expect(ledger.totalPosted).toBe(7n);
  expect(ledger.accounts.get(alice)).toEqual({ posted: 0n, pending: 0n, units: 0 });
  ledger.check();
});

test('never pays a lease or a unit twice', () => {
  const ledger = new Ledger(new Trace());
  ledger.reserve(lease1, unit, alice, 7n);
  ledger.reserve(lease2, unit, bob, 7n);
  ledger.post(lease1, 1);
  expect(() => ledger.post(lease1, 1)).toThrow('no pending transfer');
  expect(() => ledger.post(lease2, 1)).toThrow('paid already');
});

test('goes on from the totals of an earlier engine', () => {
  const ledger = new Ledger(new Trace());
  ledger.restore(alice, 100n, 4);
  ledger.reserve(lease1, unit, alice, 7n);
  ledger.post(lease1, 1);
  expect(ledger.accounts.get(alice)).toEqual({ posted: 107n, pending: 0n, units: 5 });
  ledger.check();
});

test('prices are integers, rounded up, never zero', () => {
  const price = { currency: 'USDC', decimals: 6, baseUnitsPerGflop: 20n };
  expect(amountOf(price, 1_000_000_000)).toBe(20n);
  expect(amountOf(price, 1_000_000_001)).toBe(21n);
  expect(amountOf(price, 0)).toBe(1n);
  expect(priceText(price)).toBe('0.02 USDC per TFLOP');
});
