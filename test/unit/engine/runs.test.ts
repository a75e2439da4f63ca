/** @file Sessions and runs as a session that attaches sees them. */
import type { ExecutionPlan, RunId, StateId, StateVersion } from '@ravenlab/protocol';
import { API_LIMITS, ENGINE_LIMITS } from '@ravenlab/protocol';
import { RunTable } from '../../../kernel/src/engine/runs.js';

const RUN = 'run-a' as RunId;
const STATES = [3, 4] as StateId[];
const HOLDS_ALL = (): boolean => true;

function stepOf(step: number, runId = RUN, steps: number | null = null): ExecutionPlan {
  return {
    ...{ programs: [], inputs: [], outputs: [], shards: [], clips: [] },
    updates: [{ stateId: 3 as StateId, output: 0, rule: { name: 'assign' }, optimizerId: 9 }],
    step: {
      ...{ runId, step, steps, epoch: 2, epochs: null, samples: 10, lossOutput: -1 },
      bookmark: `after ${String(step)}`,
    },
  };
}

const commit = (runs: RunTable, plan: ExecutionPlan, version: number): void => {
  runs.started(plan);
  runs.committed(plan, version as StateVersion);
};
const attach = (runs: RunTable, version = 0): ReturnType<RunTable['attach']> =>
  runs.attach(version as StateVersion, HOLDS_ALL);

describe('what a session finds', () => {
  test('is nothing in a new engine', () => {
    expect(attach(new RunTable())).toEqual({
      ...{ kind: 'attached', session: 1, version: 0, nextId: 1, run: null },
    });
  });

  test('has no id that an earlier life of the engine may have given out, and keeps its own when it is asked again', () => {
    const runs = new RunTable();
    runs.beginLife(3);
    const saved = runs.image();
    const { nextId } = attach(runs);
    expect(nextId).toBe(2 * ENGINE_LIMITS.idsPerImage + 1);
    // The engine dies, and its kernel attaches again, with states of its own.
    const later = new RunTable();
    later.beginLife(4);
    later.restore(saved);
    attach(later);
    later.sawId(nextId);
    const inheritance = later.takeInheritance();
    expect(inheritance?.firstOwnId).toBeLessThanOrEqual(nextId);
    expect(attach(later).nextId).toBeGreaterThan(3 * ENGINE_LIMITS.idsPerImage);
    // What was made after the image was taken is in none.
    const last = new RunTable();
    last.beginLife(5);
    last.restore({ ...saved, highestId: 10 * ENGINE_LIMITS.idsPerImage });
    expect(attach(last).nextId).toBe(11 * ENGINE_LIMITS.idsPerImage + 1);
  });

  test('is the last run as of its last commit, and ids above all that were seen', () => {
    const runs = new RunTable();
    attach(runs);
    runs.sawId(4);
    runs.open({ kind: 'openRun', runId: RUN, manifest: 'm', stateIds: STATES });
    commit(runs, stepOf(0), 1);
    commit(runs, stepOf(1), 2);
    expect(attach(runs, 2)).toEqual({
      ...{ kind: 'attached', session: 2, version: 2, nextId: 10 },
      run: {
        ...{ runId: RUN, manifest: 'm', bookmark: 'after 1', step: 2, epoch: 2 },
        ...{ version: 2, state: 'running' },
      },
    });
  });

  test('is no run that never committed a step, nor one whose weights are gone', () => {
    const runs = new RunTable();
    runs.open({ kind: 'openRun', runId: RUN, manifest: 'm', stateIds: STATES });
    expect(attach(runs).run).toBeNull();
    commit(runs, stepOf(0), 1);
    expect(runs.attach(1 as StateVersion, (id) => id !== 4).run).toBeNull();
  });

  test('says how the run ended', () => {
    const runs = new RunTable();
    commit(runs, stepOf(0, RUN, 1), 1);
    expect(attach(runs, 1).run?.state).toBe('done');
    runs.ended(RUN, 'stopped');
    expect(attach(runs, 1).run?.state).toBe('stopped');
  });
});

describe('a mark', () => {
  test('replaces the bookmark of the step that it is of, and of no other', () => {
    const runs = new RunTable();
    commit(runs, stepOf(0), 1);
    runs.mark({ kind: 'mark', runId: RUN, step: 0, bookmark: 'further' });
    expect(attach(runs, 1).run?.bookmark).toBe('further');
    runs.mark({ kind: 'mark', runId: RUN, step: 1, bookmark: 'of a step that failed' });
    expect(attach(runs, 1).run?.bookmark).toBe('further');
  });
});

describe('what is left behind', () => {
  test('is told once, at the first training step; adopted states are spared', () => {
    const runs = new RunTable();
    attach(runs);
    runs.open({ kind: 'openRun', runId: RUN, manifest: 'm', stateIds: STATES });
    commit(runs, stepOf(0), 1);
    attach(runs, 1);
    runs.adopt({ kind: 'adopt', runId: RUN });
    expect(runs.takeInheritance()).toEqual({ firstOwnId: 10, adopted: new Set(STATES) });
    expect(runs.takeInheritance()).toBeNull();
  });

  test('is all of it when nothing was adopted, runs included', () => {
    const runs = new RunTable();
    runs.open({ kind: 'openRun', runId: RUN, manifest: 'm', stateIds: STATES });
    commit(runs, stepOf(0), 1);
    attach(runs, 1);
    expect(runs.takeInheritance()?.adopted.size).toBe(0);
    expect(attach(runs, 1).run).toBeNull();
    expect(() => {
      runs.adopt({ kind: 'adopt', runId: RUN });
    }).toThrow(/run run-a is not known/);
  });
});

describe('bounds', () => {
  test('refuse texts that are too long', () => {
    const runs = new RunTable();
    const manifest = 'x'.repeat(API_LIMITS.manifestChars + 1);
    const bookmark = 'x'.repeat(API_LIMITS.bookmarkChars + 1);
    expect(() => {
      runs.open({ kind: 'openRun', runId: RUN, manifest, stateIds: [] });
    }).toThrow(/manifest has 4194305 characters/);
    expect(() => {
      runs.mark({ kind: 'mark', runId: RUN, step: 0, bookmark });
    }).toThrow(/bookmark has 16385 characters/);
  });

  test('forget the run that trained longest ago', () => {
    const runs = new RunTable();
    for (let i = 0; i <= ENGINE_LIMITS.runs; i++) {
      commit(runs, stepOf(0, `run-${String(i)}` as RunId), i + 1);
    }
    const adopt = (runId: string) => () => {
      runs.adopt({ kind: 'adopt', runId: runId as RunId });
    };
    expect(adopt('run-0')).toThrow(/not known/);
    expect(adopt('run-1')).not.toThrow();
  });
});

describe('what is computed beside a run', () => {
  const look = { ...stepOf(0), updates: [], step: null };
  const other = 'run-b' as RunId;

  test('has the bits of the run that the session trained last', () => {
    const runs = new RunTable();
    attach(runs);
    expect(runs.started(look)).toBeNull();
    commit(runs, stepOf(0), 1);
    expect(runs.started(look)).toBe(RUN);
    expect(runs.started(stepOf(0, other))).toBe(other);
    expect(runs.started(look)).toBe(other);
    const later = new RunTable();
    later.restore(runs.image());
    expect(later.started(look)).toBe(other);
  });

  test('is bound to nothing that another kernel trained, even before it attaches', () => {
    const runs = new RunTable();
    runs.greet(1);
    attach(runs);
    commit(runs, stepOf(0), 1);
    const [back, next] = [new RunTable(), new RunTable()];
    for (const later of [back, next]) later.restore(runs.image());
    back.greet(1);
    next.greet(2);
    expect([back.started(look), next.started(look)]).toEqual([RUN, null]);
  });

  test('is bound to no run of an earlier session, before one is adopted', () => {
    const runs = new RunTable();
    attach(runs);
    commit(runs, stepOf(0), 1);
    attach(runs, 1);
    expect(runs.started(look)).toBeNull();
    runs.adopt({ kind: 'adopt', runId: RUN });
    expect(runs.started(look)).toBe(RUN);
  });
});
