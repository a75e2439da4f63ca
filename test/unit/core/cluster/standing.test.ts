/** @file What the cluster remembers of workers: failures, quarantine, pauses, bans, proof, and the class of a run's bits. */
import type { ExecutionId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { promiseOf } from '../../../../kernel/src/core/cluster/classes.js';
import { restoreRules, rulesOf } from '../../../../kernel/src/core/cluster/rules.js';
import { backOffMs, standingOf } from '../../../../kernel/src/core/cluster/standing.js';
import { Scheduler, effectsOf, kinds, worker } from './lib.js';

const flap = (s: Scheduler, name: string, times: number) => {
  for (let i = 0; i < times; i++) {
    s.lose(name);
    s.join(name);
  }
};

describe('quarantine', () => {
  test('doubles with every further one, up to a bound, and is forgotten in time', () => {
    const { quarantineMinMs, quarantineMaxMs } = ENGINE_LIMITS;
    expect([1, 2, 3].map(backOffMs)).toEqual([1, 2, 4].map((times) => times * quarantineMinMs));
    expect(backOffMs(1_000)).toBe(quarantineMaxMs);
    const s = new Scheduler();
    s.join('f');
    flap(s, 'f', 3);
    expect(standingOf(s.state, worker('f')).strikes).toBe(1);
    s.passAlive(ENGINE_LIMITS.flapForgetMs + quarantineMinMs + 1_000);
    flap(s, 'f', 3);
    expect(standingOf(s.state, worker('f')).strikes).toBe(1);
  });

  test('is not for a worker that says that it goes, nor for failures that are far apart', () => {
    const s = new Scheduler();
    for (let i = 0; i < 5; i++) {
      s.join('polite');
      s.feed({ kind: 'left', worker: worker('polite'), reason: 'bye', isOrderly: true });
      s.join('rare');
      s.lose('rare');
      s.passAlive(ENGINE_LIMITS.flapWindowMs / 2);
    }
    for (const name of ['polite', 'rare']) {
      s.join(name);
      expect(s.statusOf(name)).toBe('active');
    }
  });

  test('the past of so many workers is kept and no more, bans last of all', () => {
    const s = new Scheduler();
    s.feed({ kind: 'ban', worker: worker('villain') });
    for (let i = 0; i < ENGINE_LIMITS.standings + 10; i++) {
      standingOf(s.state, worker(`w${String(i)}`));
    }
    expect(s.state.standings.size).toBe(ENGINE_LIMITS.standings);
    expect(s.state.standings.get(worker('villain'))?.status).toBe('banned');
  });
});

describe('newcomers', () => {
  test('are tried one unit at a time until they have answered one', () => {
    const s = new Scheduler();
    s.join('n', { isNew: true });
    s.submit({ units: 8 });
    expect(s.leasesOf('n')).toHaveLength(1);
    s.done('n', s.leasesOf('n'));
    expect(s.statusOf('n')).toBe('active');
    expect(s.leasesOf('n').length).toBeGreaterThan(1);
  });

  test('a reconnection is no news, a new process is', () => {
    const s = new Scheduler();
    s.join('a', { isNew: true });
    s.submit({ units: 1 });
    s.finish('a');
    s.lose('a');
    s.join('a', { isNew: true });
    expect(s.statusOf('a')).toBe('active');
    s.lose('a');
    s.join('a', { isNew: true, incarnation: 2 });
    expect(s.statusOf('a')).toBe('probation');
  });

  test('one that never answers is given up like any other', () => {
    const s = new Scheduler();
    s.join('a');
    s.join('n', { isNew: true });
    s.submit({ units: 20 });
    s.finish('a');
    s.finish('a');
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    s.passAlive(ENGINE_LIMITS.stallMs);
    expect(s.statusOf('n')).toBe('stalled');
    s.passAlive(ENGINE_LIMITS.quarantineMinMs + 100);
    expect(s.statusOf('n')).toBe('probation');
  });
});

describe('what the user rules', () => {
  test('a pause takes units back, and a resumed worker need not prove itself again', () => {
    const s = new Scheduler();
    s.join('a');
    s.submit({ units: 4 });
    const effects = s.feed({ kind: 'pause', worker: worker('a') });
    expect(kinds(effects)).toEqual(['revoke']);
    expect(s.state.queuedUnits).toBe(4);
    s.feed({ kind: 'resume', worker: worker('a') });
    expect(s.statusOf('a')).toBe('active');
    expect(s.state.queuedUnits).toBe(0);
  });

  test('a ban of a stranger holds when he comes', () => {
    const s = new Scheduler();
    s.feed({ kind: 'ban', worker: worker('villain') });
    expect(effectsOf(s.join('villain'), 'expel')).toHaveLength(1);
    expect(s.statusOf('villain')).toBeNull();
  });

  test('bans, pauses, classes and their mixing are the same after a restart', () => {
    const s = new Scheduler();
    s.join('a', { bitClass: 'avx2' });
    s.submit({ units: 1, run: 'run-1' });
    s.finish('a');
    s.feed({ kind: 'ban', worker: worker('villain') });
    s.feed({ kind: 'pause', worker: worker('a') });
    const kept = JSON.parse(JSON.stringify(rulesOf(s.state))) as ReturnType<typeof rulesOf>;
    const again = new Scheduler();
    restoreRules(again.state, kept);
    expect(rulesOf(again.state)).toEqual(rulesOf(s.state));
    again.join('a', { bitClass: 'avx2' });
    again.join('b', { bitClass: 'avx512' });
    again.join('villain');
    again.submit({ units: 2, run: 'run-1' });
    expect([again.statusOf('a'), again.statusOf('villain')]).toEqual(['paused', null]);
    expect(again.leasesOf('b')).toEqual([]);
  });
});

describe('bit classes', () => {
  test('a result that was leased before the class was decided is not taken from another one', () => {
    const s = new Scheduler();
    s.join('a', { bitClass: 'x' });
    s.submit({ units: 20, run: 'r' });
    s.feed({ kind: 'mixClasses', isAllowed: true });
    s.join('b', { bitClass: 'y' });
    s.feed({ kind: 'mixClasses', isAllowed: false });
    s.done('a', s.leasesOf('a').slice(0, 1));
    const before = s.state.counters.unitsDone;
    s.done('b', s.leasesOf('b').slice(0, 1));
    expect(s.state.counters.unitsDone).toBe(before);
    expect(promiseOf(s.state, 'r')).toEqual({ bitClass: 'x', isExact: true });
  });

  test('what was mixed once is within tolerance for good', () => {
    const s = new Scheduler();
    s.join('a', { bitClass: 'x' });
    s.join('b', { bitClass: 'y' });
    s.feed({ kind: 'mixClasses', isAllowed: true });
    s.submit({ units: 4, run: 'r' });
    s.done('a', s.leasesOf('a').slice(0, 1));
    s.done('b', s.leasesOf('b').slice(0, 1));
    s.feed({ kind: 'mixClasses', isAllowed: false });
    expect(promiseOf(s.state, 'r')).toEqual({ bitClass: 'x', isExact: false });
    expect(promiseOf(s.state, 'another').isExact).toBe(true);
  });

  test('before a run there is nothing to keep: each execution takes whoever is here', () => {
    const s = new Scheduler();
    s.join('a', { bitClass: 'x' });
    s.submit({ id: 1, units: 1 });
    s.finish('a');
    s.feed({ kind: 'reduced', execution: 1 as ExecutionId, failure: null });
    s.lose('a');
    s.join('b', { bitClass: 'y' });
    s.submit({ id: 2, units: 1 });
    expect(s.leasesOf('b')).toHaveLength(1);
  });
});
