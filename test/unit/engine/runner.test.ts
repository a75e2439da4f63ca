/**
 * @file Requests that an earlier life of the engine answered and that are asked again: nobody stops them, and workers cannot
 * make them fail. Steps that begin with weights that a worker makes: they wait, fail and begin again with them. The real scheduler; workers are answers that the test makes up.
 */
import { createHash } from 'node:crypto';
import type {
  DoneMessage,
  EngineReply,
  ExecutionPlan,
  LeaseId,
  ProgramHash,
  RunId,
  StateId,
  StateVersion,
  UpdateRule,
  WireError,
  WorkerId,
} from '@ravenlab/protocol';
import { ENGINE_LIMITS, encodeProgram } from '@ravenlab/protocol';
import type { ClusterEffect } from '../../../kernel/src/core/cluster/events.js';
import { createCluster } from '../../../kernel/src/core/cluster/state.js';
import { ClusterLoop } from '../../../kernel/src/engine/clusterLoop.js';
import type { Performers } from '../../../kernel/src/engine/clusterLoop.js';
import { DataStore } from '../../../kernel/src/engine/dataStore.js';
import { SharedHeap } from '../../../kernel/src/engine/heap.js';
import { ProgramTable } from '../../../kernel/src/engine/programTable.js';
import type { Reducer } from '../../../kernel/src/engine/reducer.js';
import { Resources } from '../../../kernel/src/engine/resources.js';
import { Runner } from '../../../kernel/src/engine/runner.js';
import { RunTable } from '../../../kernel/src/engine/runs.js';
import type { WorkerSession } from '../../../kernel/src/engine/session.js';
import { StateStore } from '../../../kernel/src/engine/states.js';
import type { QueuedRequest } from '../../../kernel/src/engine/ticket.js';

/** So large that its update is worth a worker's while. */
const TYPE = { dtype: 'float32', shape: [10_000] } as const;
const TYPE_BYTES = 40_000;
const STATE = 1 as StateId;
const CELL = 7;
const WORKER = 'a'.repeat(64) as WorkerId;
const SHARDS = 2;
const OPTIMIZER = 2;
const MOMENTUM: UpdateRule = {
  name: 'sgd',
  ...{ learningRate: 1, momentum: 0.5, dampening: 0, nesterov: false, weightDecay: 0 },
};
/** Sums and updates without arithmetic: what they make is not what this is about. Those that wait are done when told. */
const waiting: (() => void)[] = [];
let isReducerSlow = false;
const REDUCER: Reducer = {
  run: (_body, onDone) => {
    if (isReducerSlow) waiting.push(() => onDone(-1));
    else onDone(-1);
  },
};

const bytes = encodeProgram({
  inputs: [TYPE],
  nodes: [{ op: 'neg', inputs: [0], params: {}, type: TYPE }],
  outputs: [1],
});
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
const HASH = sha256(bytes) as ProgramHash;

function stepOf(version: number, rule: UpdateRule = { name: 'assign' }): ExecutionPlan {
  return {
    programs: [HASH],
    inputs: [{ kind: 'state', stateId: STATE, version: version as StateVersion }],
    outputs: [{ combine: 'sum', axis: 0, type: TYPE, deliver: true }],
    shards: Array.from({ length: SHARDS }, (_, i) => ({ program: 0, offset: i, size: 1 })),
    updates: [{ stateId: STATE, output: 0, rule, optimizerId: OPTIMIZER }],
    clips: [],
    step: {
      ...{ runId: 'run' as RunId, step: version, steps: null, epoch: 0, epochs: null },
      ...{ samples: SHARDS, lossOutput: -1, bookmark: '' },
    },
  };
}

/** A runner over the real scheduler, with a state and a program. */
function start() {
  const resources = new Resources();
  const heap = new SharedHeap(64);
  const cluster = createCluster();
  const granted: { lease: LeaseId; shard: number; worker: WorkerId; execution: number }[] = [];
  const paid: number[] = [];
  const told: string[] = [];
  const commits: string[] = [];
  const isSettled = { value: true };
  const said: string[] = [];
  const sessions = new Map<WorkerId, WorkerSession>();
  const sessionOf = (worker: WorkerId): WorkerSession => {
    const known = sessions.get(worker);
    if (known !== undefined) return known;
    // What an offer needs of a session.
    const session = {
      worker,
      send: ({ kind }: { readonly kind: string }) => said.push(kind),
      advance: ({ kind }: { readonly kind: string }) => said.push(kind),
    } as unknown as WorkerSession;
    sessions.set(worker, session);
    return session;
  };
  const nothing = (): void => undefined;
  const idle = {
    provide: nothing,
    drop: nothing,
    ping: nothing,
    starved: nothing,
    relieved: nothing,
  };
  const performers: Performers = {
    ...{ ...idle, expel: nothing, drained: nothing, quarantined: nothing },
    revoke: ({ leases }) => {
      runner.discard(leases);
    },
    revokeExecution: nothing,
    run: ({ worker, execution, groups }) => {
      const bound = runner.executionOf(execution)?.bound;
      if (bound !== undefined) runner.advances.offer(sessionOf(worker), bound, execution, groups);
      for (const lease of groups.flat()) granted.push({ ...lease, worker, execution });
    },
    accept: (effect, done) => {
      runner.accept(effect, done);
    },
    meter: ({ execution, shard }: Extract<ClusterEffect, { kind: 'meter' }>) => {
      if (runner.paid(execution, shard) !== null) paid.push(shard);
    },
    complete: ({ execution, workers }) => {
      runner.complete(execution, workers);
    },
    committed: ({ execution }) => {
      runner.committed(execution);
    },
    failed: ({ execution, failure }) => {
      runner.failed(execution, failure);
    },
  };
  const now = (): number => Date.now();
  const loop = new ClusterLoop({
    ...{ state: cluster, now, performers },
    onFatal: (error) => {
      throw error;
    },
  });
  const programs = new ProgramTable({ resources, sha256, amountOf: () => 1n, retire: nothing });
  const states = new StateStore(heap, resources, nothing);
  const data = new DataStore(resources, nothing);
  const runner: Runner = new Runner({
    ...{ heap, programs, states, data, runs: new RunTable(), cluster },
    reducers: { inline: REDUCER, thread: REDUCER },
    onWritten: nothing,
    feed: (event) => {
      loop.feed(event);
    },
    beforeSubmit: nothing,
    onCommitted: ({ step }, _collector, isLate) => {
      commits.push(`${String(step?.step)} ${isLate ? 'late' : 'in time'}`);
    },
    onFailed: nothing,
    onRefused: (message) => told.push(message),
    after: (delayMs, act) => {
      setTimeout(act, delayMs);
    },
    isAudited: { data: () => false, program: () => false },
    onWithdrawn: nothing,
    journal: {
      ...{ started: nothing, quiet: nothing, isFull: false, isCopying: false },
      paidOf: () => new Set(),
      settle: () => isSettled.value,
    },
  });
  programs.define(HASH, bytes);
  states.create(STATE, TYPE, new Uint8Array(TYPE_BYTES));
  const join = (worker: WorkerId): void => {
    loop.feed({
      ...{ kind: 'joined', worker, incarnation: 1, gflops: 1, bitClass: 'one' },
      ...{ isTrusted: true, owner: worker },
      ...{ memoryBytes: 2 ** 30, windowBytes: 2 ** 20, held: [] },
    });
  };
  join(WORKER);
  let request = 1;
  const outcomes: string[] = [];
  return {
    ...{ runner, states, granted, paid, told, commits, outcomes, isSettled, said, join },
    /** Its worker says that it makes the update of the execution that was granted last. */
    make(): void {
      const last = granted.at(-1);
      if (last !== undefined) runner.making(sessionOf(last.worker), last.execution);
    },
    /** Its worker says that it has not made the update of the execution that was granted first. */
    unmake(): void {
      const [first] = granted;
      if (first !== undefined) runner.advances.unmade(sessionOf(first.worker), first.execution);
    },
    /** The execution whose slots its worker is believed to hold. */
    keptBy: () => states.slotsOf(STATE, OPTIMIZER)?.keeper?.execution ?? null,
    leave(worker: WorkerId): void {
      granted.splice(0);
      loop.feed({ kind: 'left', worker, reason: 'gone', isOrderly: true });
    },
    ask(what: QueuedRequest, isRepeat: boolean): void {
      const id = request++;
      runner.submit({
        ...{ point: { session: 1, request: id }, epoch: CELL, isRepeat, request: what },
        resolve: ({ kind }: EngineReply) => outcomes.push(`${String(id)} ${kind}`),
        reject: (error) => outcomes.push(`${String(id)} ${(error as Error).name}`),
      });
    },
    /** The worker answers what it holds. */
    answer(status: 'ok' | 'failed' | 'nonFinite', most = Infinity): void {
      for (const { lease, worker } of granted.splice(0, most)) {
        const error: WireError = {
          ...{ code: 'cluster', message: 'no memory', fault: 'remote', retryable: true },
        };
        const output = status === 'nonFinite' ? 0 : -1;
        const unit = {
          lease,
          status,
          computeUs: 1,
          output,
          outputs: [[new Uint8Array(TYPE_BYTES)]],
        };
        const result = { ...unit, error: status === 'failed' ? error : null };
        const done = { kind: 'done', units: [result] } as unknown as DoneMessage;
        loop.feed({ kind: 'done', worker, results: [result] }, done);
      }
    },
    end: () => {
      loop.stop();
    },
  };
}

let engine: ReturnType<typeof start>;
beforeEach(() => {
  jest.useFakeTimers();
  engine = start();
});
afterEach(() => {
  engine.end();
  jest.useRealTimers();
});

/** Answers until nothing more is granted. */
function answerAll(status: 'ok' | 'failed'): void {
  for (let i = 0; i < 100 && engine.granted.length > 0; i++) engine.answer(status);
}

test('Stop ends what the cell waits for, and not what was answered before the engine died', () => {
  engine.ask({ kind: 'execute', plan: stepOf(0) }, true);
  engine.ask({ kind: 'execute', plan: stepOf(1) }, true);
  engine.ask({ kind: 'execute', plan: stepOf(2) }, false);
  engine.runner.cancelEpoch(CELL);
  expect(engine.outcomes).toEqual(['3 RavenError']);
  answerAll('ok');
  expect(engine.outcomes).toEqual(['3 RavenError', '1 executed', '2 executed']);
  expect(engine.states.version).toBe(2);
});

test('a run that is stopped in the panel takes its repeated steps all the same', () => {
  engine.ask({ kind: 'execute', plan: stepOf(0) }, true);
  expect(engine.runner.cancelRun('run')).toBe(0);
  engine.ask({ kind: 'execute', plan: stepOf(1) }, true);
  engine.ask({ kind: 'execute', plan: stepOf(2) }, false);
  answerAll('ok');
  expect(engine.outcomes).toEqual(['3 RavenError', '1 executed', '2 executed']);
});

test('a step that is whole when its run is stopped is committed, and known to be late', () => {
  engine.ask({ kind: 'execute', plan: stepOf(0) }, false);
  answerAll('ok');
  isReducerSlow = true;
  engine.ask({ kind: 'execute', plan: stepOf(1) }, false);
  answerAll('ok');
  engine.runner.cancelRun('run');
  isReducerSlow = false;
  for (const done of waiting.splice(0)) done();
  expect(engine.commits).toEqual(['0 in time', '1 late']);
  expect(engine.outcomes).toEqual(['1 executed', '2 executed']);
});

test('a new step fails when its workers refuse it often enough', () => {
  engine.ask({ kind: 'execute', plan: stepOf(0) }, false);
  answerAll('failed');
  expect(engine.outcomes).toEqual(['1 RavenError']);
});

test('a repeated one is tried again at its place, and pays nothing twice', () => {
  engine.ask({ kind: 'execute', plan: stepOf(0) }, true);
  engine.ask({ kind: 'dropStates', stateIds: [STATE] }, true);
  // A newcomer gets one shard: that is done and paid, the other one is refused.
  engine.answer('ok', 1);
  expect(engine.paid).toEqual([0]);
  for (let refusals = 0; refusals < 4; refusals++) {
    answerAll('failed');
    expect(engine.granted).toEqual([]);
    expect(engine.outcomes).toEqual([]);
    jest.advanceTimersByTime(ENGINE_LIMITS.engineRestartMaxMs);
  }
  expect(engine.told).toEqual(['no memory']);
  answerAll('ok');
  expect(engine.outcomes).toEqual(['1 executed', '2 ok']);
  expect(engine.paid).toEqual([0, 1]);
});

test('numbers that are not finite any more are told at once: no worker can change them', () => {
  engine.ask({ kind: 'execute', plan: stepOf(0) }, true);
  engine.answer('nonFinite', 1);
  expect(engine.outcomes).toEqual(['1 NumericError']);
});

test('a new kernel is answered when what the one before did is journaled', () => {
  engine.isSettled.value = false;
  engine.ask({ kind: 'attach' }, false);
  engine.ask({ kind: 'openRun', runId: 'run' as RunId, manifest: '', stateIds: [] }, false);
  expect(engine.outcomes).toEqual([]);
  engine.isSettled.value = true;
  engine.runner.resume();
  expect(engine.outcomes).toEqual(['1 attached', '2 ok']);
});

test('slots stay with the worker that makes the weights, unless it says that it has not made them', () => {
  const ask = (step: number): void =>
    engine.ask({ kind: 'execute', plan: stepOf(step, MOMENTUM) }, false);
  // The first is a trial, and slots are sent to who has all of a step twice in a row.
  for (const step of [0, 1]) {
    ask(step);
    answerAll('ok');
  }
  ask(2);
  engine.make();
  const { execution } = engine.granted[0] ?? { execution: -1 };
  engine.answer('ok', SHARDS);
  expect(engine.keptBy()).toBe(execution);
  ask(3);
  engine.make();
  engine.unmake();
  engine.answer('ok', SHARDS);
  expect(engine.outcomes).toHaveLength(4);
  expect(engine.keptBy()).toBeNull();
});

const other = 'b'.repeat(64) as WorkerId;

describe('a step that begins with weights that a worker makes', () => {
  /** Two steps are asked for; the worker has the whole first one, makes its update, and has the second one too. */
  beforeEach(() => {
    engine.ask({ kind: 'execute', plan: stepOf(0) }, false);
    answerAll('ok');
    engine.said.splice(0);
    engine.ask({ kind: 'execute', plan: stepOf(1) }, false);
    engine.ask({ kind: 'execute', plan: stepOf(2) }, false);
    expect(engine.granted).toHaveLength(SHARDS);
    engine.make();
    expect(engine.granted).toHaveLength(2 * SHARDS);
    expect(engine.said).toEqual(['advance', 'keep', 'advance']);
    expect(engine.outcomes).toEqual(['1 executed']);
  });

  test('is committed after the one before, in order', () => {
    answerAll('ok');
    expect(engine.outcomes).toEqual(['1 executed', '2 executed', '3 executed']);
    expect(engine.commits).toEqual(['0 in time', '1 in time', '2 in time']);
    expect(engine.states.version).toBe(3);
    expect(engine.paid).toHaveLength(3 * SHARDS);
  });

  test('waits with its own update until the one before is committed', () => {
    isReducerSlow = true;
    answerAll('ok');
    expect(engine.outcomes).toEqual(['1 executed']);
    waiting.shift()?.();
    expect(engine.outcomes).toEqual(['1 executed', '2 executed']);
    isReducerSlow = false;
    for (const done of waiting.splice(0)) done();
    expect(engine.outcomes).toEqual(['1 executed', '2 executed', '3 executed']);
  });

  test('begins again when the result before it comes from somebody else', () => {
    engine.join(other);
    engine.leave(WORKER);
    engine.said.splice(0);
    answerAll('ok');
    expect(engine.outcomes).toEqual(['1 executed', '2 executed', '3 executed']);
    expect(engine.commits).toEqual(['0 in time', '1 in time', '2 in time']);
    expect(engine.states.version).toBe(3);
    expect(engine.states.promised).toBe(0);
    expect(engine.said).not.toContain('keep');
    // The name that the other worker may still know means nothing any more: four versions, and one number more.
    expect(engine.states.latest(STATE).wireVersion).toBe(5);
  });

  test('fails with the one before it, and the weights stay', () => {
    engine.answer('nonFinite', 1);
    expect(engine.outcomes).toEqual(['1 executed', '3 ClusterError', '2 NumericError']);
    expect(engine.states.version).toBe(1);
    expect(engine.states.promised).toBe(0);
    engine.granted.splice(0);
    engine.ask({ kind: 'execute', plan: stepOf(1) }, false);
    answerAll('ok');
    expect(engine.outcomes.at(-1)).toBe('4 executed');
    expect(engine.states.version).toBe(2);
  });

  test('is stopped with the one before it', () => {
    engine.runner.cancelEpoch(CELL);
    expect(engine.outcomes).toEqual(['1 executed', '2 RavenError', '3 RavenError']);
    expect(engine.states.promised).toBe(0);
    engine.granted.splice(0);
    engine.ask({ kind: 'execute', plan: stepOf(1) }, false);
    answerAll('ok');
    expect(engine.states.version).toBe(2);
  });

  test('begins again when the one before it, a repeated one, is tried again', () => {
    engine.runner.cancelEpoch(CELL);
    engine.granted.splice(0);
    engine.outcomes.splice(0);
    engine.ask({ kind: 'execute', plan: stepOf(1) }, true);
    engine.ask({ kind: 'execute', plan: stepOf(2) }, false);
    engine.make();
    expect(engine.granted).toHaveLength(2 * SHARDS);
    for (let refusals = 0; refusals < 4; refusals++) {
      answerAll('failed');
      expect(engine.outcomes).toEqual([]);
      jest.advanceTimersByTime(ENGINE_LIMITS.engineRestartMaxMs);
    }
    answerAll('ok');
    expect(engine.outcomes).toEqual(['4 executed', '5 executed']);
    expect(engine.states.version).toBe(3);
  });
});

describe('steps that begin with weights that are to be made from weights that are to be made', () => {
  /** Four steps are asked for; the worker has the first three, one behind the other. */
  beforeEach(() => {
    engine.ask({ kind: 'execute', plan: stepOf(0) }, false);
    answerAll('ok');
    engine.said.splice(0);
    for (const step of [1, 2, 3, 4]) engine.ask({ kind: 'execute', plan: stepOf(step) }, false);
    engine.make();
    engine.make();
    expect(engine.granted).toHaveLength(3 * SHARDS);
    expect(engine.said).toEqual(['advance', 'keep', 'advance', 'keep', 'advance']);
    // The result of the third has a name too, and the fourth waits: no more than two are ahead.
    engine.make();
    expect(engine.granted).toHaveLength(3 * SHARDS);
    expect(engine.states.promised).toBe(3);
  });

  test('are committed in order, and the fourth has its turn', () => {
    isReducerSlow = true;
    engine.answer('ok', 3 * SHARDS);
    expect(engine.outcomes).toEqual(['1 executed']);
    isReducerSlow = false;
    waiting.shift()?.();
    answerAll('ok');
    const outcomes = [1, 2, 3, 4, 5].map((id) => `${String(id)} executed`);
    expect(engine.outcomes).toEqual(outcomes);
    expect(engine.states.version).toBe(5);
    expect(engine.states.promised).toBe(0);
    expect(engine.paid).toHaveLength(5 * SHARDS);
    // Every version has the number that it was promised under.
    expect(engine.states.latest(STATE).wireVersion).toBe(6);
  });

  test('begin again, in order, when the first result comes from somebody else', () => {
    engine.join(other);
    engine.leave(WORKER);
    answerAll('ok');
    expect(engine.outcomes).toEqual([1, 2, 3, 4, 5].map((id) => `${String(id)} executed`));
    expect(engine.states.promised).toBe(0);
    expect(engine.states.version).toBe(5);
  });

  test('fail with the first, and the weights stay', () => {
    engine.answer('nonFinite', 1);
    expect(engine.outcomes.slice(0, 4)).toEqual([
      '1 executed',
      '4 ClusterError',
      '3 ClusterError',
      '2 NumericError',
    ]);
    answerAll('ok');
    expect(engine.outcomes.at(-1)).toBe('5 ClusterError');
    expect(engine.states.version).toBe(1);
    expect(engine.states.promised).toBe(0);
  });

  test('fail with the second, and the first is whole', () => {
    const first = engine.granted.splice(0, SHARDS);
    engine.answer('nonFinite', 1);
    expect(engine.outcomes).toEqual(['1 executed', '4 ClusterError', '3 NumericError']);
    engine.granted.splice(0, Infinity, ...first);
    answerAll('ok');
    expect(engine.outcomes.slice(3)).toEqual(['2 executed', '5 ClusterError']);
    expect(engine.states.version).toBe(2);
    expect(engine.states.promised).toBe(0);
  });

  test('are stopped together, and training goes on from the last whole one', () => {
    engine.runner.cancelEpoch(CELL);
    expect([...engine.outcomes].sort()).toEqual([
      '1 executed',
      ...[2, 3, 4, 5].map((id) => `${String(id)} RavenError`),
    ]);
    expect(engine.states.promised).toBe(0);
    engine.granted.splice(0);
    engine.ask({ kind: 'execute', plan: stepOf(1) }, false);
    answerAll('ok');
    expect(engine.states.version).toBe(2);
  });

  test('are no more when one needs slots that are not there: it would take others from the step before it', () => {
    answerAll('ok');
    engine.ask({ kind: 'execute', plan: stepOf(5) }, false);
    for (const step of [6, 7]) engine.ask({ kind: 'execute', plan: stepOf(step, MOMENTUM) }, false);
    engine.make();
    engine.make();
    expect(engine.granted).toHaveLength(2 * SHARDS);
    expect(engine.states.promised).toBe(1);
    answerAll('ok');
    expect(engine.outcomes.slice(5)).toEqual([6, 7, 8].map((id) => `${String(id)} executed`));
    expect(engine.states.version).toBe(8);
  });
});
