/** @file The worker's lease table as data. */
import { LEASE_STATUSES, LEASE_TABLE, moveLease } from '../../../../worker/src/core/leaseTable.js';

test('every status of a lease is reached from the first one', () => {
  const rows: Readonly<Record<string, Readonly<Record<string, string>>>> = LEASE_TABLE;
  const reached = new Set<string>([LEASE_STATUSES[0]]);
  for (const status of reached) {
    for (const next of Object.values(rows[status] ?? {})) reached.add(next);
  }
  expect([...reached].sort()).toEqual([...LEASE_STATUSES].sort());
});

test('an answered lease cannot be answered again', () => {
  expect(() => {
    moveLease({ lease: 7, status: 'answered' }, 'finish');
  }).toThrow('lease 7: finish is not possible when answered');
});
