/** @file Backup leases: what a slow or silent worker costs a step, and what a backup may never do. */
import type { ExecutionId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { settledCounters } from '../../../../kernel/src/core/cluster/state.js';
import { Crowd } from './crowd.js';
import { Scheduler, effectsOf, resource, worker } from './lib.js';

const UNIT_MS = 10;

/** Mean step time in the steady state; ms. */
function steadyMs(crowd: Crowd, units: number, isMergeable: boolean): number {
  for (let step = 0; step < 10; step++) crowd.step(units, isMergeable);
  let totalMs = 0;
  for (let step = 0; step < 20; step++) totalMs += crowd.step(units, isMergeable);
  return totalMs / 20;
}

describe('one of four equal workers is five times slower', () => {
  const cases = [32, 64, 128].flatMap((units) =>
    [true, false].map((isMergeable) => [units, isMergeable] as const),
  );
  test.each(cases)(
    'a step of %d units (summed by workers: %s) takes at most 1.05 times the ideal',
    (units, isMergeable) => {
      const ms = steadyMs(new Crowd([UNIT_MS, UNIT_MS, UNIT_MS, 5 * UNIT_MS]), units, isMergeable);
      const idealMs = (units * UNIT_MS) / 3.2;
      expect(ms / idealMs).toBeLessThanOrEqual(1.05);
    },
  );

  test('the step in which it slows down costs a backup, not five times as long', () => {
    const crowd = new Crowd([UNIT_MS, UNIT_MS, UNIT_MS, UNIT_MS]);
    const usualMs = steadyMs(crowd, 32, true);
    crowd.slowDown(3, 50 * UNIT_MS);
    const { counters } = crowd.scheduler.state;
    const ms = crowd.step(32, true);
    expect(counters.backupsWon).toBeGreaterThan(0);
    expect(ms).toBeLessThanOrEqual(3 * usualMs);
  });
});

describe('backups', () => {
  /** Two workers that have answered `units` in 5 ms each; the credit that this earned. */
  function trained(units: number): Scheduler {
    const s = new Scheduler();
    s.join('a');
    s.join('b');
    s.submit({ units });
    for (let i = 0; i < units; i++) {
      s.finish('a');
      s.finish('b');
    }
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    return s;
  }

  test('are granted only from what all granted units earned: one in twenty', () => {
    const s = trained(ENGINE_LIMITS.backupShare - 2);
    s.submit({ id: 2, units: 2 });
    s.done('b', s.leasesOf('b'));
    const [before] = [s.state.counters.backupsGranted];
    s.passAlive(100);
    expect(s.state.counters.backupsGranted - before).toBe(1);
    s.finish('b');
    s.feed({ kind: 'reduced', execution: 2 as ExecutionId, failure: null });
    s.submit({ id: 3, units: 2 });
    s.done('b', s.leasesOf('b').slice(0, 1));
    s.passAlive(100);
    expect(s.state.counters.backupsGranted - before).toBe(1);
  });

  test('are not granted while anything is queued, nor before the lease is late', () => {
    const s = trained(40);
    s.submit({ id: 2, units: 2 });
    s.done('b', s.leasesOf('b'));
    s.pass(ENGINE_LIMITS.lateMinMs - 1);
    expect(s.state.counters.backupsGranted).toBe(0);
    s.pass(2);
    expect(s.state.counters.backupsGranted).toBe(1);
  });

  test('are owed for what somebody has who missed a beat, and earned again before anybody else gets one', () => {
    const s = trained(2);
    s.submit({ id: 2, units: 2 });
    s.done('b', s.leasesOf('b'));
    const hearB = () => s.feed({ kind: 'heard', worker: worker('b'), latencyUs: null });
    // Late as it is, nobody has earned a backup yet.
    s.pass(ENGINE_LIMITS.missedBeatMs - 1);
    hearB();
    expect(s.state.counters.backupsGranted).toBe(0);
    s.pass(1);
    expect(s.state.counters.backupsGranted).toBe(1);
    expect(s.state.backupCredit).toBeLessThan(0);
    s.done('b', s.leasesOf('b'));
    expect(s.state.executions.get(2 as ExecutionId)?.status).toBe('reducing');
    s.feed({ kind: 'reduced', execution: 2 as ExecutionId, failure: null });
    s.feed({ kind: 'heard', worker: worker('a'), latencyUs: null });
    s.state.members.get(worker('a'))?.unitUs.clear();
    s.submit({ id: 3, units: 2 });
    s.done('b', s.leasesOf('b'));
    s.passAlive(100);
    expect(s.leasesOf('a').length).toBeGreaterThan(0);
    expect(s.state.counters.backupsGranted).toBe(1);
  });

  test('are owed for so many units at most', () => {
    const s = trained(2);
    const spent = ENGINE_LIMITS.backupShare * ENGINE_LIMITS.backupUnitsOwed;
    s.state.backupCredit = -spent;
    s.submit({ id: 2, units: 2 });
    s.done('b', s.leasesOf('b'));
    s.state.backupCredit = ENGINE_LIMITS.backupShare - 1 - spent;
    s.pass(ENGINE_LIMITS.missedBeatMs);
    s.feed({ kind: 'heard', worker: worker('b'), latencyUs: null });
    expect(s.leasesOf('a').length).toBe(1);
    expect(s.state.counters.backupsGranted).toBe(0);
  });

  test('of the unit that a newcomer is tried with cost nothing, and are counted apart', () => {
    const s = trained(40);
    s.join('n', { isNew: true });
    s.submit({ id: 2, units: 8 });
    expect(s.leasesOf('n')).toHaveLength(1);
    s.state.backupCredit = 0;
    const before = { ...s.state.counters };
    for (let turn = 0; turn < 5; turn++) {
      s.finish('a');
      s.finish('b');
      s.passAlive(100);
    }
    expect(s.state.counters.trialsDoubled - before.trialsDoubled).toBe(1);
    expect(s.state.counters.backupsGranted - before.backupsGranted).toBe(1);
    // Nor does it earn what others of them cost.
    expect(s.state.backupCredit).toBe(0);
  });

  test('pay the first one only, and a refusal of one leaves the unit to the other', () => {
    const s = trained(40);
    const paidBefore = s.state.ledger.totalPosted;
    s.submit({ id: 2, units: 2 });
    s.done('b', s.leasesOf('b'));
    s.passAlive(100);
    const error = { code: 'limit', message: 'no', fault: 'remote', retryable: false } as const;
    const refused = s.done('b', s.leasesOf('b'), { status: 'failed', error });
    expect(effectsOf(refused, 'failed')).toEqual([]);
    expect(s.state.queuedUnits).toBe(0);
    s.done('a', s.leasesOf('a'));
    expect(s.state.ledger.totalPosted - paidBefore).toBe(20n);
    expect(s.state.executions.get(2 as ExecutionId)?.status).toBe('reducing');
  });

  test('and leases that are out are not counted in an image: they are granted again after it', () => {
    const s = trained(40);
    const before = settledCounters(s.state);
    expect(before).toEqual(s.state.counters);
    s.submit({ id: 2, units: 2 });
    s.done('b', s.leasesOf('b'));
    s.passAlive(100);
    expect(s.state.counters.backupsGranted).toBe(before.backupsGranted + 1);
    const after = settledCounters(s.state);
    expect(after).toEqual({
      ...s.state.counters,
      leasesGranted: before.leasesGranted + 1,
      backupsGranted: before.backupsGranted,
    });
    expect(after.leasesGranted - after.backupsGranted).toBe(after.unitsDone);
  });

  test('end with their execution', () => {
    const s = trained(40);
    s.submit({ id: 2, units: 2 });
    s.done('b', s.leasesOf('b'));
    s.passAlive(100);
    const effects = s.feed({ kind: 'cancelled', execution: 2 as ExecutionId });
    expect(effectsOf(effects, 'revokeExecution').map((effect) => effect.worker)).toEqual([
      'a',
      'b',
    ]);
    expect(s.state.leases.size).toBe(0);
  });

  test('that were faster several times in a row show that a worker hangs: it gets nothing for a while', () => {
    const s = trained(400);
    for (let id = 2; s.statusOf('a') !== 'stalled'; id++) {
      expect(id).toBeLessThan(20);
      s.submit({ id, units: 4, isMergeable: true, program: resource(1) });
      for (let turn = 0; turn < 5; turn++) {
        s.finish('b');
        s.passAlive(100);
      }
      s.feed({ kind: 'reduced', execution: id as ExecutionId, failure: null });
      s.state.members.get(worker('a'))?.unitUs.clear();
    }
    s.passAlive(ENGINE_LIMITS.quarantineMinMs + 100);
    expect(s.statusOf('a')).toBe('probation');
  });
});
