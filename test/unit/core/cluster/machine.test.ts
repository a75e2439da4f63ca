/** @file The scheduler by scenario: a list of events in, the effects out. Faults at large are test/sim's. */
import type { ExecutionId, LeaseId } from '@ravenlab/protocol';
import { ENGINE_LIMITS, LIMITS } from '@ravenlab/protocol';
import { ClusterDriver, execution, kinds, resource, runsOf, worker } from './lib.js';

const EXECUTION = 1 as ExecutionId;

describe('an execution', () => {
  test('sends the program once, runs every shard, and completes when all are in', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    const effects = cluster.apply({ kind: 'submitted', spec: execution(1, 2, [resource(7)]) });
    expect(kinds(effects)).toEqual(['provide', 'run']);
    expect(effects[0]).toMatchObject({ worker: 'a', resources: [1, 7] });
    expect(runsOf(effects, 'a')).toEqual([0, 1]);

    const [first, second] = cluster.leasesOf('a') as [LeaseId, LeaseId];
    expect(kinds(cluster.done('a', second))).toEqual(['meter', 'accept']);
    const last = cluster.done('a', first);
    expect(kinds(last)).toEqual(['meter', 'accept', 'complete']);
    expect(last[1]).toMatchObject({ shard: 0 });
    expect(kinds(cluster.apply({ kind: 'reduced', execution: EXECUTION, failure: null }))).toEqual([
      'committed',
    ]);
    expect(cluster.state.ledger.totalPosted).toBe(10n);
    expect(cluster.state.executions.size).toBe(0);
  });

  test('does not send again what a worker holds', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    cluster.apply({ kind: 'submitted', spec: execution(1, 1, [resource(7)]) });
    cluster.done('a', cluster.leasesOf('a')[0] as LeaseId);
    cluster.apply({ kind: 'reduced', execution: EXECUTION, failure: null });
    const effects = cluster.apply({ kind: 'submitted', spec: execution(2, 1, [resource(8)]) });
    expect(effects[0]).toMatchObject({ kind: 'provide', resources: [8] });
  });

  test('fails at once when an output is not finite, before any update', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    cluster.apply({ kind: 'submitted', spec: execution(1, 3) });
    const effects = cluster.fail('a', cluster.leasesOf('a')[1] as LeaseId, 'nonFinite');
    const failed = effects.find((effect) => effect.kind === 'failed');
    expect(failed).toMatchObject({ failure: { code: 'numeric', shard: 1, output: 2 } });
    expect(kinds(effects)).not.toContain('complete');
    expect(cluster.leasesOf('a')).toEqual([]);
    expect(cluster.state.ledger.totalPosted).toBe(0n);
  });

  test('tries a failing unit elsewhere, and gives up after the last attempt', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    cluster.apply({ kind: 'submitted', spec: execution(1, 1) });
    for (let attempt = 1; attempt < ENGINE_LIMITS.unitAttempts; attempt++) {
      const effects = cluster.fail('a', cluster.leasesOf('a')[0] as LeaseId, 'failed');
      expect(kinds(effects)).toEqual(['run']);
    }
    const effects = cluster.fail('a', cluster.leasesOf('a')[0] as LeaseId, 'failed');
    expect(effects.at(-1)).toMatchObject({
      kind: 'failed',
      failure: { code: 'limit', message: 'no memory' },
    });
  });

  test('is cancelled with its leases revoked and nothing paid', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    cluster.apply({ kind: 'submitted', spec: execution(1, 2) });
    const [lease] = cluster.leasesOf('a') as [LeaseId];
    const effects = cluster.apply({ kind: 'cancelled', execution: EXECUTION });
    expect(kinds(effects)).toEqual(['revokeExecution']);
    expect(cluster.done('a', lease)).toEqual([]);
    expect(cluster.state.counters.staleResults).toBe(1);
    expect(cluster.state.ledger.totalPosted).toBe(0n);
  });
});

describe('a worker that leaves', () => {
  test('has its units run elsewhere at once', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    cluster.apply({ kind: 'submitted', spec: execution(1, 2) });
    cluster.join('b');
    const effects = cluster.apply({ kind: 'left', worker: worker('a'), reason: 'closed' });
    expect(runsOf(effects, 'b')).toEqual([0, 1]);
  });

  test('and comes back under the same name is not paid for its old leases', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    cluster.apply({ kind: 'submitted', spec: execution(1, 1) });
    const [old] = cluster.leasesOf('a') as [LeaseId];
    cluster.join('a');
    expect(cluster.leasesOf('a')).not.toContain(old);
    expect(cluster.done('a', old)).toEqual([]);
    expect(cluster.state.ledger.totalPosted).toBe(0n);
  });

  test('is noticed by silence, after a warning state that gets no new work', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    const quiet = cluster.advanceTo(LIMITS.heartbeatTimeoutMs - 1);
    expect(kinds(quiet)).not.toContain('expel');
    expect(cluster.state.members.get(worker('a'))?.status).toBe('suspect');
    expect(kinds(cluster.apply({ kind: 'submitted', spec: execution(1, 1) }))).toEqual([]);
    expect(kinds(cluster.advanceTo(LIMITS.heartbeatTimeoutMs))).toContain('expel');
    expect(cluster.state.members.size).toBe(0);
  });

  test('gets nothing new while it drains, and is told when it is done', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    cluster.apply({ kind: 'submitted', spec: execution(1, 1) });
    expect(cluster.apply({ kind: 'drain', worker: worker('a') })).toEqual([]);
    cluster.apply({ kind: 'submitted', spec: execution(2, 1) });
    const effects = cluster.done('a', cluster.leasesOf('a')[0] as LeaseId);
    expect(kinds(effects)).toEqual(['meter', 'accept', 'drained', 'complete']);
    expect(runsOf(cluster.apply({ kind: 'resume', worker: worker('a') }), 'a')).toEqual([0]);
  });
});

describe('a worker that answers pings and computes nothing', () => {
  test('loses its leases and gets no more until it shows a result', () => {
    const cluster = new ClusterDriver();
    cluster.join('a');
    cluster.apply({ kind: 'submitted', spec: execution(1, 1) });
    const [old] = cluster.leasesOf('a') as [LeaseId];
    for (let at = 1_000; at <= ENGINE_LIMITS.stallMs; at += 1_000) {
      cluster.advanceTo(at);
      cluster.apply({ kind: 'heard', worker: worker('a'), latencyUs: 100 });
    }
    expect(cluster.state.members.get(worker('a'))?.status).toBe('stalled');
    expect(cluster.leasesOf('a')).toEqual([]);
    const effects = cluster.done('a', old);
    expect(kinds(effects)).toEqual(['run']);
    expect(cluster.state.members.get(worker('a'))?.status).toBe('active');
  });
});

describe('shares', () => {
  test('follow measured speed', () => {
    const cluster = new ClusterDriver();
    cluster.join('fast');
    cluster.join('slow');
    cluster.apply({ kind: 'submitted', spec: execution(1, 100) });
    const counts = { fast: 0, slow: 0 };
    // Each answers in its own time: the slow one takes five times as long.
    const busyUntil = { fast: 0, slow: 0 };
    while (cluster.state.executions.get(EXECUTION)?.status === 'running') {
      const name = busyUntil.fast <= busyUntil.slow ? 'fast' : 'slow';
      const [lease] = cluster.leasesOf(name);
      const computeUs = name === 'fast' ? 2_000 : 10_000;
      busyUntil[name] += computeUs;
      if (lease === undefined) continue;
      cluster.done(name, lease, computeUs);
      counts[name]++;
    }
    expect(counts.fast + counts.slow).toBe(100);
    expect(counts.fast / counts.slow).toBeGreaterThan(3.5);
  });
});

test('a cluster without workers says so once, after a moment', () => {
  const cluster = new ClusterDriver();
  cluster.apply({ kind: 'submitted', spec: execution(1, 1) });
  expect(cluster.advanceTo(ENGINE_LIMITS.noWorkerNoticeMs - 1)).toEqual([]);
  expect(kinds(cluster.advanceTo(10 * ENGINE_LIMITS.noWorkerNoticeMs))).toEqual(['starved']);
});

test('a worker that asks again and again for what it was sent is expelled', () => {
  const cluster = new ClusterDriver();
  cluster.join('a');
  cluster.apply({ kind: 'submitted', spec: execution(1, 1) });
  const ask = { kind: 'need', worker: worker('a'), resources: [resource(1).id] } as const;
  for (let i = 0; i < ENGINE_LIMITS.needsInARow; i++) {
    expect(kinds(cluster.apply(ask))).toEqual(['provide']);
  }
  expect(kinds(cluster.apply(ask))).toContain('expel');
});
