/** @file The transition tables as data: every status can be reached, terminal ones have no way out, a missing pair throws. */
import {
  EXECUTION_STATUSES,
  EXECUTION_TABLE,
  moveExecution,
} from '../../../../kernel/src/core/cluster/executionTable.js';
import { LEASE_STATUSES, LEASE_TABLE } from '../../../../kernel/src/core/cluster/leaseTable.js';
import { MEMBER_STATUSES, MEMBER_TABLE } from '../../../../kernel/src/core/cluster/memberTable.js';
import {
  STANDING_STATUSES,
  STANDING_TABLE,
} from '../../../../kernel/src/core/cluster/standingTable.js';
import { InvariantError, Trace } from '../../../../kernel/src/core/cluster/transition.js';
import {
  UNIT_STATUSES_OF_ENGINE,
  UNIT_TABLE,
} from '../../../../kernel/src/core/cluster/unitTable.js';

const TABLES = [
  ['member', MEMBER_STATUSES, MEMBER_TABLE],
  ['standing', STANDING_STATUSES, STANDING_TABLE],
  ['lease', LEASE_STATUSES, LEASE_TABLE],
  ['unit', UNIT_STATUSES_OF_ENGINE, UNIT_TABLE],
  ['execution', EXECUTION_STATUSES, EXECUTION_TABLE],
] as const;

test.each(TABLES)(
  'every status of a %s is reached from the first one',
  (_name, statuses, table) => {
    const rows = table as Readonly<Record<string, Readonly<Record<string, string>>>>;
    const reached = new Set<string>([statuses[0]]);
    for (const status of reached) {
      for (const next of Object.values(rows[status] ?? {})) reached.add(next);
    }
    expect([...reached].sort()).toEqual([...statuses].sort());
  },
);

test('a pair that is not in the table throws with what happened before', () => {
  const trace = new Trace();
  for (let i = 0; i < 70; i++) trace.record({ kind: 'event', number: i, amount: 5n });
  const execution = { id: 3, status: 'committed' as const };
  let thrown: unknown = null;
  try {
    moveExecution(trace, execution, 'cancel');
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(InvariantError);
  const { message, story } = thrown as InvariantError;
  expect(message).toContain("execution 3 is committed: 'cancel' cannot happen to it");
  expect(story).toHaveLength(64);
  expect(story[0]).toContain('"number":6');
  expect(story[63]).toContain('"number":69');
});
