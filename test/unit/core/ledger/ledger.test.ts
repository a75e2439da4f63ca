/** @file Exactly-once pay: pending, post, void. */
import type { LeaseId, UnitId, WorkerId } from '@ravenlab/protocol';
import { InvariantError, Trace } from '../../../../kernel/src/core/cluster/transition.js';
import { Ledger } from '../../../../kernel/src/core/ledger/ledger.js';

const lease = (id: number): LeaseId => id as LeaseId;
const unit = (id: number): UnitId => id as UnitId;
const a = 'a' as WorkerId;
const b = 'b' as WorkerId;

test('a posted transfer moves from pending to the account and the total', () => {
  const ledger = new Ledger(new Trace());
  ledger.reserve(lease(1), unit(1), a, 7n);
  expect(ledger.accounts.get(a)).toEqual({ posted: 0n, pending: 7n, units: 0 });
  expect(ledger.post(lease(1), 99)).toEqual({
    ...{ unit: 1, lease: 1, worker: a, flops: 99, amount: 7n },
  });
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
