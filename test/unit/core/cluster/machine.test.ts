/** @file The scheduler's promises, one sentence each; invariants are re-derived after every event. */
import type { ExecutionId, LeaseId } from '@ravenlab/protocol';
import { ENGINE_LIMITS, LIMITS } from '@ravenlab/protocol';
import { deadline } from '../../../../kernel/src/core/cluster/machine.js';
import type { ResourceId } from '../../../../kernel/src/core/cluster/state.js';
import { MIB, Scheduler, effectsOf, kinds, resource, shardsOf, spec, worker } from './lib.js';

describe('granting', () => {
  test('units of equal workers are spread evenly, in shard order', () => {
    const s = new Scheduler();
    s.join('a');
    s.join('b');
    const runs = effectsOf(s.submit({ units: 4 }), 'run');
    const shards = runs.map((run) => [run.worker, shardsOf(run).flat()]);
    expect(shards).toEqual([
      ['a', [0, 2]],
      ['b', [1, 3]],
    ]);
  });

  test('the program and the weights go before the run, once', () => {
    const s = new Scheduler();
    s.join('a');
    const weights = resource(7);
    const first = s.submit({ units: 2, common: [weights] });
    expect(kinds(first)).toEqual(['provide', 'run']);
    expect(effectsOf(first, 'provide')[0]?.resources).toEqual([1, 7]);
    s.finish('a');
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    expect(kinds(s.submit({ id: 2, units: 2, common: [weights] }))).toEqual(['run']);
  });

  test('a worker that is five times faster gets about five times the units', () => {
    const s = new Scheduler();
    s.join('fast');
    s.join('slow');
    const program = resource(1);
    s.submit({ units: 2, program });
    s.done('fast', s.leasesOf('fast'), { computeUs: 1000 });
    s.done('slow', s.leasesOf('slow'), { computeUs: 5000 });
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    const runs = effectsOf(s.submit({ id: 2, units: 12, program }), 'run');
    const counts = new Map(runs.map((run) => [run.worker as string, run.groups.length]));
    expect(counts.get('fast')).toBe(10);
    expect(counts.get('slow')).toBe(2);
  });

  test('the last unit waits for the fast worker rather than go to one fifty times slower', () => {
    const s = new Scheduler();
    s.join('fast');
    s.join('slow');
    const program = resource(1);
    s.submit({ units: 2, program });
    s.done('fast', s.leasesOf('fast'), { computeUs: 20_000 });
    s.done('slow', s.leasesOf('slow'), { computeUs: 1_000_000 });
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    s.submit({ id: 2, units: 5, program });
    expect(s.leasesOf('slow')).toHaveLength(0);
    s.finish('fast');
    expect(s.state.executions.get(2 as ExecutionId)?.status).toBe('reducing');
  });

  test('a unit follows the data that a worker already holds', () => {
    const s = new Scheduler();
    s.join('a');
    s.join('b');
    const big = (shard: number) => [resource(100 + shard, 32 * MIB)];
    s.submit({ units: 2, perUnit: big });
    expect(s.state.members.get(worker('a'))?.held.has(100 as ResourceId)).toBe(true);
    s.finish('a');
    s.finish('b');
    s.feed({ kind: 'credit', worker: worker('a'), inFlightBytes: 0 });
    s.feed({ kind: 'credit', worker: worker('b'), inFlightBytes: 0 });
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    const again = s.submit({ id: 2, units: 2, perUnit: big });
    expect(effectsOf(again, 'provide')).toHaveLength(0);
  });

  test('no more bytes are on the way than the credit window allows', () => {
    const s = new Scheduler();
    s.join('a', { windowBytes: 4 * MIB });
    const effects = s.submit({ units: 8, perUnit: (shard) => [resource(50 + shard, 3 * MIB)] });
    expect(effectsOf(effects, 'provide')).toHaveLength(1);
    expect(s.leasesOf('a')).toHaveLength(1);
    const more = s.feed({ kind: 'credit', worker: worker('a'), inFlightBytes: 0 });
    expect(effectsOf(more, 'provide')).toHaveLength(1);
  });

  test('a resource above the window still goes, alone', () => {
    const s = new Scheduler();
    s.join('a', { windowBytes: MIB });
    s.submit({ units: 1, common: [resource(9, 10 * MIB)] });
    expect(s.leasesOf('a')).toHaveLength(1);
  });

  test('what no longer fits is dropped, least recently used first, never what is in use', () => {
    const s = new Scheduler();
    s.join('a', { memoryBytes: Math.ceil((10 * MIB * 100) / ENGINE_LIMITS.heldPercent) });
    for (let id = 1; id <= 3; id++) {
      s.submit({ id, units: 1, common: [resource(20 + id, 3 * MIB)] });
      s.finish('a');
      s.feed({ kind: 'reduced', execution: id as ExecutionId, failure: null });
      s.feed({ kind: 'credit', worker: worker('a'), inFlightBytes: 0 });
    }
    const effects = s.submit({ id: 4, units: 1, common: [resource(24, 3 * MIB)] });
    expect(effectsOf(effects, 'drop')[0]?.resources).toEqual([21]);
    expect(kinds(effects)).toEqual(['drop', 'provide', 'run']);
  });
});

describe('results', () => {
  test('a unit is accepted once: its second DONE is stale', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 1 });
    const leases = s.leasesOf('a');
    expect(kinds(s.done('a', leases))).toEqual(['meter', 'accept', 'complete']);
    expect(s.done('a', leases)).toEqual([]);
    expect(s.state.counters.staleResults).toBe(1);
    expect(s.state.ledger.totalPosted).toBe(10n);
  });

  test('a unit that was paid before the engine was restarted is taken, and not paid again', () => {
    const s = new Scheduler();
    s.join('a');
    s.feed({ kind: 'submitted', spec: { ...spec({ units: 2 }), paidShards: new Set([1]) } });
    const effects = s.done('a', s.leasesOf('a'));
    expect(kinds(effects)).toEqual(['meter', 'accept', 'accept', 'complete']);
    expect(effectsOf(effects, 'meter')[0]).toMatchObject({ execution: 1, shard: 0 });
    expect(s.state.ledger.totalPosted).toBe(10n);
    expect(s.state.ledger.pendingCount).toBe(0);
  });

  test('a lease of another worker does not count', () => {
    const s = new Scheduler();
    s.join('a');
    s.join('thief');
    s.submit({ units: 1 });
    expect(s.done('thief', s.leasesOf('a'))).toEqual([]);
    expect(s.state.ledger.accounts.get(worker('thief'))?.posted ?? 0n).toBe(0n);
  });

  test('a value that is not finite fails the execution at once and recalls the rest', () => {
    const s = new Scheduler();
    s.join('a');
    s.join('b');
    s.submit({ units: 4 });
    const effects = s.done('a', s.leasesOf('a').slice(0, 1), { status: 'nonFinite', output: 2 });
    expect(effectsOf(effects, 'failed')[0]?.failure).toMatchObject({ code: 'numeric', output: 2 });
    expect(
      effectsOf(effects, 'revokeExecution')
        .map((e) => e.worker)
        .sort(),
    ).toEqual(['a', 'b']);
    expect(s.state.queuedUnits).toBe(0);
  });

  test('a unit that fails is tried elsewhere, then its error is the execution’s', () => {
    const s = new Scheduler();
    for (const name of ['a', 'b', 'c']) s.join(name);
    s.submit({ units: 1 });
    const error = { code: 'internal', message: 'boom', fault: 'local', retryable: true } as const;
    const tried: string[] = [];
    let last = '';
    for (let attempt = 0; attempt < ENGINE_LIMITS.unitAttempts; attempt++) {
      const [holder] = [...s.state.leases.values()];
      tried.push(holder!.worker);
      last = kinds(s.done(holder!.worker, [holder!.id], { status: 'failed', error })).join();
    }
    expect(new Set(tried).size).toBe(3);
    expect(last).toContain('failed');
  });

  test('every effect names the event that caused it', () => {
    const s = new Scheduler();
    s.join('a');
    const effects = s.submit({ units: 1 });
    expect(new Set(effects.map((effect) => effect.cause))).toEqual(new Set([2]));
  });
});

describe('groups', () => {
  /** Everything a worker was told to run, group by group. */
  const granted = (s: Scheduler, options: Parameters<Scheduler['submit']>[0]) =>
    effectsOf(s.submit({ ...options, isMergeable: true }), 'run').map((run) => [
      run.worker as string,
      shardsOf(run),
    ]);

  test('one worker adds up all of a power of two of units, and the rest in falling powers', () => {
    const s = new Scheduler();
    s.join('a');
    expect(granted(s, { units: 4 })).toEqual([['a', [[0, 1, 2, 3]]]]);
    s.finish('a');
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    expect(granted(s, { id: 2, units: 7 })).toEqual([['a', [[0, 1, 2, 3], [4, 5], [6]]]]);
  });

  test('two equal workers add up half each', () => {
    const s = new Scheduler();
    s.join('a');
    s.join('b');
    expect(granted(s, { units: 8 })).toEqual([
      ['a', [[0, 1, 2, 3]]],
      ['b', [[4, 5, 6, 7]]],
    ]);
  });

  test('units of different programs, or results that are not sums, are not grouped', () => {
    const s = new Scheduler();
    s.join('a');
    const runs = effectsOf(s.submit({ units: 4 }), 'run');
    expect(runs.map(shardsOf)).toEqual([[[0], [1], [2], [3]]]);
  });

  test('the answer of its first lease settles and pays the whole group at once', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 4, isMergeable: true });
    const effects = s.done('a', s.leasesOf('a').slice(0, 1));
    expect(kinds(effects)).toEqual(['meter', 'meter', 'meter', 'meter', 'accept', 'complete']);
    expect(effectsOf(effects, 'accept')[0]).toMatchObject({ shard: 0, count: 4, index: 0 });
    expect(s.state.ledger.totalPosted).toBe(40n);
  });

  test('another lease of the group cannot answer for it', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 4, isMergeable: true });
    const effects = s.done('a', s.leasesOf('a').slice(1, 2));
    expect(effectsOf(effects, 'accept')).toEqual([]);
    expect(s.state.ledger.totalPosted).toBe(0n);
  });

  test('a group that lost a unit is not taken as a whole: its units run again', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 4, isMergeable: true });
    const leases = s.leasesOf('a');
    const error = { code: 'internal', message: 'boom', fault: 'local', retryable: true } as const;
    s.done('a', leases.slice(2, 3), { status: 'failed', error });
    expect(effectsOf(s.done('a', leases.slice(0, 1)), 'accept')).toEqual([]);
    s.finish('a');
    s.done('a', [leases[1]!, leases[3]!], { status: 'cancelled' });
    s.finish('a');
    expect(s.state.counters.unitsDone).toBe(4);
    expect(s.state.executions.get(1 as ExecutionId)?.status).toBe('reducing');
  });

  test('a worker that leaves gives back whole groups, and another gets them as such', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 4, isMergeable: true });
    s.join('b');
    const effects = s.feed({ kind: 'left', worker: worker('a'), reason: 'gone', isOrderly: false });
    expect(effectsOf(effects, 'run').map(shardsOf)).toEqual([[[0, 1, 2, 3]]]);
  });

  test('groups stay small when they would take long', () => {
    const s = new Scheduler();
    s.join('a');
    const program = resource(1);
    s.submit({ units: 1, program });
    s.done('a', s.leasesOf('a'), { computeUs: ENGINE_LIMITS.groupUs / 2 });
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    const runs = effectsOf(s.submit({ id: 2, units: 8, program, isMergeable: true }), 'run');
    expect(runs.flatMap(shardsOf)[0]).toEqual([0, 1]);
  });

  test('workers of different speed get smaller groups', () => {
    const s = new Scheduler();
    s.join('fast');
    s.join('slow');
    const program = resource(1);
    s.submit({ units: 2, program });
    s.done('fast', s.leasesOf('fast'), { computeUs: 1000 });
    s.done('slow', s.leasesOf('slow'), { computeUs: 4000 });
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    const runs = effectsOf(s.submit({ id: 2, units: 16, program, isMergeable: true }), 'run');
    expect(Math.max(...runs.flatMap(shardsOf).map((group) => group.length))).toBe(2);
  });
});

describe('members that fail', () => {
  test('a worker that leaves gives its units back at once, and the other gets them', () => {
    const s = new Scheduler();
    s.join('a');
    s.join('b');
    s.submit({ units: 4 });
    const effects = s.feed({ kind: 'left', worker: worker('a'), reason: 'gone', isOrderly: false });
    expect(effectsOf(effects, 'run')[0]?.worker).toBe('b');
    s.finish('b');
    expect(s.state.executions.get(1 as ExecutionId)?.status).toBe('reducing');
    expect(s.state.ledger.accounts.get(worker('b'))?.units).toBe(4);
  });

  test('a late result of a worker that left and came back is not taken', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 1 });
    const old = s.leasesOf('a');
    s.feed({ kind: 'left', worker: worker('a'), reason: 'gone', isOrderly: false });
    s.join('a');
    expect(s.done('a', old)).toEqual([]);
    expect(s.leasesOf('a')).not.toEqual(old);
    s.finish('a');
    expect(s.state.counters.unitsDone).toBe(1);
  });

  test('silence makes a worker suspect, then gone', () => {
    const s = new Scheduler();
    s.join('a');
    s.pass(3000);
    expect(s.state.members.get(worker('a'))?.status).toBe('suspect');
    s.feed({ kind: 'heard', worker: worker('a'), latencyUs: null });
    expect(s.state.members.get(worker('a'))?.status).toBe('active');
    const effects = s.pass(LIMITS.heartbeatTimeoutMs + 100);
    expect(kinds(effects)).toContain('expel');
    expect(s.state.members.size).toBe(0);
  });

  test('a worker that beats and answers nothing loses its leases, and is trusted again after an answer', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 2 });
    const old = s.leasesOf('a');
    const effects = s.passAlive(ENGINE_LIMITS.stallMs + 1000);
    expect(effectsOf(effects, 'revoke')[0]?.leases).toEqual(old);
    expect(s.state.members.get(worker('a'))?.status).toBe('stalled');
    expect(s.leasesOf('a')).toEqual([]);
    s.join('b');
    expect(s.leasesOf('b').length).toBeGreaterThan(0);
    s.done('a', old.slice(0, 1));
    expect(s.state.members.get(worker('a'))?.status).toBe('active');
    expect(s.state.counters.unitsDone).toBe(0);
  });

  test('a worker that keeps asking for what it was sent is expelled', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 1, common: [resource(5)] });
    let effects: string[] = [];
    for (let i = 0; i <= ENGINE_LIMITS.needsInARow; i++) {
      const need = { kind: 'need', worker: worker('a'), resources: [5 as ResourceId] } as const;
      effects = kinds(s.feed(need));
    }
    expect(effects).toContain('expel');
    expect(s.state.members.size).toBe(0);
  });

  test('a draining worker ends what it has, gets nothing new, and says when it is through', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 1 });
    expect(s.feed({ kind: 'drain', worker: worker('a') })).toEqual([]);
    s.submit({ id: 2, units: 1 });
    expect(s.leasesOf('a')).toHaveLength(1);
    expect(kinds(s.done('a', s.leasesOf('a')))).toContain('drained');
    expect(s.leasesOf('a')).toHaveLength(0);
    s.feed({ kind: 'resume', worker: worker('a') });
    expect(s.leasesOf('a')).toHaveLength(1);
  });
});

describe('executions', () => {
  test('a cancel recalls the units and pays nobody for them', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 3 });
    const leases = s.leasesOf('a');
    const effects = s.feed({ kind: 'cancelled', execution: 1 as ExecutionId });
    expect(kinds(effects)).toEqual(['revokeExecution']);
    expect(s.done('a', leases)).toEqual([]);
    expect(s.state.ledger.totalPosted).toBe(0n);
    expect(s.state.ledger.pendingCount).toBe(0);
  });

  test('a cancel that comes when all units are in is too late', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 1 });
    s.finish('a');
    expect(s.feed({ kind: 'cancelled', execution: 1 as ExecutionId })).toEqual([]);
    const end = s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    expect(kinds(end)).toEqual(['committed']);
    const again = s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    expect(again).toEqual([]);
  });

  test('work without a worker is told once after two seconds, and runs when one joins', () => {
    const s = new Scheduler();
    s.submit({ units: 1 });
    expect(deadline(s.state)).toBe(s.now + ENGINE_LIMITS.noWorkerNoticeMs);
    expect(effectsOf(s.pass(5000), 'starved')).toHaveLength(1);
    const joined = s.join('late');
    expect(effectsOf(joined, 'run')).toHaveLength(1);
    expect(effectsOf(joined, 'relieved')).toHaveLength(1);
    s.submit({ id: 2, units: 1 });
    expect(effectsOf(s.finish('late'), 'relieved')).toEqual([]);
  });

  test('that work waited is over too when it is not wanted any more, and nothing is over that was not told', () => {
    const s = new Scheduler();
    s.submit({ units: 1 });
    s.pass(5000);
    const told = s.feed({ kind: 'cancelled', execution: 1 as ExecutionId });
    expect(effectsOf(told, 'relieved')).toHaveLength(1);
    s.submit({ id: 2, units: 1 });
    const untold = s.feed({ kind: 'cancelled', execution: 2 as ExecutionId });
    expect(effectsOf(untold, 'relieved')).toEqual([]);
  });

  test('nothing to do and nobody there sets no timer', () => {
    expect(deadline(new Scheduler().state)).toBeNull();
  });

  test('retired resources are dropped by those who hold them', () => {
    const s = new Scheduler();
    s.join('a');
    s.join('b');
    s.submit({ units: 1, common: [resource(8)] });
    s.finish('a');
    const effects = s.feed({ kind: 'retired', resources: [8 as ResourceId] });
    expect(effectsOf(effects, 'drop').map((effect) => effect.worker)).toEqual(['a']);
  });

  test('lease ids are never used twice', () => {
    const s = new Scheduler();
    s.join('a');
    const seen = new Set<LeaseId>();
    for (let id = 1; id <= 20; id++) {
      s.submit({ id, units: 3 });
      for (const lease of s.leasesOf('a')) {
        expect(seen.has(lease)).toBe(false);
        seen.add(lease);
      }
      s.finish('a');
      s.feed({ kind: 'reduced', execution: id as ExecutionId, failure: null });
    }
  });
});
