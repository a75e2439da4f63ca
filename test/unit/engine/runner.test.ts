/**
 * @file Requests that an earlier life of the engine answered and that are asked again: nobody stops them, and workers cannot
 * make them fail. The real scheduler; workers are answers that the test makes up.
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
import { StateStore } from '../../../kernel/src/engine/states.js';
import type { QueuedRequest } from '../../../kernel/src/engine/ticket.js';

const TYPE = { dtype: 'float32', shape: [4] } as const;
const STATE = 1 as StateId;
const CELL = 7;
const WORKER = 'a'.repeat(64) as WorkerId;
const SHARDS = 2;
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

function stepOf(version: number): ExecutionPlan {
  return {
    programs: [HASH],
    inputs: [{ kind: 'state', stateId: STATE, version: version as StateVersion }],
    outputs: [{ combine: 'sum', axis: 0, type: TYPE, deliver: true }],
    shards: Array.from({ length: SHARDS }, (_, i) => ({ program: 0, offset: i, size: 1 })),
    updates: [{ stateId: STATE, output: 0, rule: { name: 'assign' }, optimizerId: 2 }],
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
  const granted: { lease: LeaseId; shard: number }[] = [];
  const paid: number[] = [];
  const told: string[] = [];
  const commits: string[] = [];
  const isSettled = { value: true };
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
    run: ({ groups }) => granted.push(...groups.flat()),
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
  states.create(STATE, TYPE, new Uint8Array(16));
  loop.feed({
    ...{ kind: 'joined', worker: WORKER, incarnation: 1, gflops: 1, bitClass: 'one' },
    ...{ isTrusted: true, owner: WORKER },
    ...{ memoryBytes: 2 ** 30, windowBytes: 2 ** 20, held: [] },
  });
  let request = 1;
  const outcomes: string[] = [];
  return {
    ...{ runner, states, granted, paid, told, commits, outcomes, isSettled },
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
      for (const { lease } of granted.splice(0, most)) {
        const error: WireError = {
          ...{ code: 'cluster', message: 'no memory', fault: 'remote', retryable: true },
        };
        const output = status === 'nonFinite' ? 0 : -1;
        const unit = { lease, status, computeUs: 1, output, outputs: [[new Uint8Array(16)]] };
        const result = { ...unit, error: status === 'failed' ? error : null };
        const done = { kind: 'done', units: [result] } as unknown as DoneMessage;
        loop.feed({ kind: 'done', worker: WORKER, results: [result] }, done);
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
