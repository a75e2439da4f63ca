/** @file Audits in the scheduler: who may do them, when, and that nothing else hangs on them. */
import type { ExecutionId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { ClusterEffect } from '../../../../kernel/src/core/cluster/events.js';
import type { AuditRule } from '../../../../kernel/src/core/cluster/state.js';
import { Scheduler, spec, worker } from './lib.js';

const RULE: AuditRule = {
  excludes: new Set([worker('stranger')]),
  excludesOwners: new Set(['stranger']),
  isTrustedOnly: true,
  bitClass: 'class-a',
};

function audit(scheduler: Scheduler, rule: Partial<AuditRule> = {}, id = 9): ClusterEffect[] {
  const audited = { ...spec({ id, units: 4, isMergeable: true }), audit: { ...RULE, ...rule } };
  return scheduler.feed({ kind: 'submitted', spec: { ...audited, run: null } });
}

const runsOf = (effects: readonly ClusterEffect[], id: number) =>
  effects.flatMap((effect) =>
    effect.kind === 'run' && effect.execution === id
      ? [{ worker: effect.worker, sizes: effect.groups.map((group) => group.length) }]
      : [],
  );

test('an audit goes to an idle worker of the user as one group, never to who is audited', () => {
  const scheduler = new Scheduler();
  scheduler.join('stranger', { isTrusted: false });
  expect(runsOf(audit(scheduler), 9)).toEqual([]);
  expect(runsOf(scheduler.join('own'), 9)).toEqual([{ worker: worker('own'), sizes: [4] }]);
});

test('another stranger may, where the rule says so; one of the same owner may not', () => {
  const scheduler = new Scheduler();
  scheduler.join('twin', { isTrusted: false, owner: 'stranger' });
  expect(runsOf(audit(scheduler, { isTrustedOnly: false }), 9)).toEqual([]);
  const effects = scheduler.join('other', { isTrusted: false });
  expect(runsOf(effects, 9)).toEqual([{ worker: worker('other'), sizes: [4] }]);
});

test('an audit waits for a worker of the class that it asks for', () => {
  const scheduler = new Scheduler();
  scheduler.join('own', { bitClass: 'class-b' });
  expect(runsOf(audit(scheduler), 9)).toEqual([]);
  expect(runsOf(audit(scheduler, { bitClass: null }, 10), 10)).toHaveLength(1);
});

test('it waits while its worker has other work, and goes first when it has waited long', () => {
  const scheduler = new Scheduler();
  scheduler.join('own');
  scheduler.submit({ id: 1, units: 200 });
  expect(runsOf(audit(scheduler), 9)).toEqual([]);
  scheduler.now += ENGINE_LIMITS.auditPatienceMs;
  const [lease] = scheduler.leasesOf('own');
  const effects = scheduler.feed({
    kind: 'done',
    worker: worker('own'),
    results: [{ lease: lease!, status: 'ok', computeUs: 10, output: -1, error: null }],
  });
  expect(runsOf(effects, 9)).toEqual([{ worker: worker('own'), sizes: [4] }]);
});

test('nobody is told that work waits for workers when it is an audit', () => {
  const scheduler = new Scheduler();
  audit(scheduler);
  scheduler.now += 2 * ENGINE_LIMITS.noWorkerNoticeMs;
  expect(scheduler.feed({ kind: 'tick' }).filter(({ kind }) => kind === 'starved')).toEqual([]);
});

test('an auditor that leaves gives it back whole; it ends like any execution and is gone', () => {
  const scheduler = new Scheduler();
  scheduler.join('own');
  audit(scheduler);
  scheduler.join('second');
  expect(runsOf(scheduler.lose('own'), 9)).toEqual([{ worker: worker('second'), sizes: [4] }]);
  const [lease] = scheduler.leasesOf('second');
  const done = scheduler.feed({
    kind: 'done',
    worker: worker('second'),
    results: [{ lease: lease!, status: 'ok', computeUs: 10, output: -1, error: null }],
  });
  expect(done.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['accept', 'complete']));
  scheduler.feed({ kind: 'reduced', execution: 9 as ExecutionId, failure: null });
  expect([...scheduler.state.audits, ...scheduler.state.executions.keys()]).toEqual([]);
});

test('a stranger alone cannot stop a run by calling a value infinite', () => {
  const scheduler = new Scheduler();
  scheduler.join('stranger', { isTrusted: false });
  scheduler.submit({ id: 1, units: 1 });
  scheduler.join('own');
  const lie = (name: string): string[] => {
    const [lease] = scheduler.leasesOf(name);
    const result = { lease: lease!, computeUs: 1, output: 0, error: null };
    const results = [{ ...result, status: 'nonFinite' as const }];
    return scheduler.feed({ kind: 'done', worker: worker(name), results }).map(({ kind }) => kind);
  };
  expect(lie('stranger')).not.toContain('failed');
  expect(lie('own')).toContain('failed');
});
