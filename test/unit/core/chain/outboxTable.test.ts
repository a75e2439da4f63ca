/** @file The outbox's table: each transaction can come to an end, and an end is an end. */
import type { OutboxCause, OutboxStatus } from '../../../../kernel/src/core/chain/outboxTable.js';
import { OUTBOX_TABLE, nextOutboxStatus } from '../../../../kernel/src/core/chain/outboxTable.js';

const ENDS: readonly OutboxStatus[] = ['confirmed', 'refused', 'replaced'];
const statuses = Object.keys(OUTBOX_TABLE) as OutboxStatus[];
const causesOf = (status: OutboxStatus) => Object.keys(OUTBOX_TABLE[status]) as OutboxCause[];

/** All that may follow, near or far. */
function reachable(from: OutboxStatus): ReadonlySet<OutboxStatus> {
  const seen = new Set<OutboxStatus>([from]);
  for (const status of seen) {
    for (const cause of causesOf(status)) {
      const next = nextOutboxStatus(status, cause);
      if (next !== null) seen.add(next);
    }
  }
  return seen;
}

test('what is confirmed, refused or replaced stays so', () => {
  for (const end of ENDS) expect(causesOf(end)).toEqual([]);
});

test('from everywhere an end can be reached, and from the beginning everything', () => {
  for (const status of statuses) {
    expect([...reachable(status)].some((each) => ENDS.includes(each))).toBe(true);
  }
  expect([...reachable('waiting')].sort()).toEqual([...statuses].sort());
});

test('nothing that has a nonce is ever asked for as if it had none', () => {
  for (const status of statuses.filter((each) => each !== 'waiting')) {
    expect(reachable(status).has('waiting')).toBe(false);
    expect(nextOutboxStatus(status, 'sign')).toBeNull();
  }
});
