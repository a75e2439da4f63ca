/** @file An auditor over a made-up cluster, for the courses of audits: its judges, its checks and what it computes are the test's. */
import { createHash } from 'node:crypto';
import type {
  Address,
  DoneMessage,
  ExecutionId,
  LeaseId,
  ProgramHash,
  StateId,
} from '@ravenlab/protocol';
import type { DataId } from '@ravenlab/protocol';
import type { ExecutionPlan, StateVersion, WorkerId } from '@ravenlab/protocol';
import { NO_RECEIPT, encodeProgram } from '@ravenlab/protocol';
import type { ClusterEvent } from '../../../kernel/src/core/cluster/events.js';
import { step } from '../../../kernel/src/core/cluster/machine.js';
import type { AuditRule } from '../../../kernel/src/core/cluster/state.js';
import { createCluster } from '../../../kernel/src/core/cluster/state.js';
import type { CommittedWork } from '../../../kernel/src/core/ledger/payLane.js';
import type { CheckVerdict } from '../../../kernel/src/core/verify/checkUnit.js';
import type { Part } from '../../../kernel/src/core/verify/compare.js';
import { Auditor } from '../../../kernel/src/engine/auditor.js';
import { Collector } from '../../../kernel/src/engine/collector.js';
import { DataStore } from '../../../kernel/src/engine/dataStore.js';
import { SharedHeap } from '../../../kernel/src/engine/heap.js';
import type { BoundPlan } from '../../../kernel/src/engine/planView.js';
import { bindPlan } from '../../../kernel/src/engine/planView.js';
import { ProgramTable } from '../../../kernel/src/engine/programTable.js';
import type { Reducer } from '../../../kernel/src/engine/reducer.js';
import { Resources } from '../../../kernel/src/engine/resources.js';
import { StateStore } from '../../../kernel/src/engine/states.js';

const TYPE = { dtype: 'float32', shape: [1] } as const;
const STATE = 1 as StateId;
export const [ANNA, BEN, CLEO, DORA] = ['anna', 'ben', 'cleo', 'dora'] as [
  WorkerId,
  WorkerId,
  WorkerId,
  WorkerId,
];
export const OWN = 'own' as WorkerId;
const bytes = encodeProgram({
  inputs: [TYPE],
  nodes: [{ op: 'neg', inputs: [0], params: {}, type: TYPE }],
  outputs: [1],
});
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
export const HASH = sha256(bytes) as ProgramHash;
const PAYEE = `0x${'1'.repeat(40)}` as Address;
/** A data set that every answer was read from. */
export const DATA = 9 as DataId;
const REDUCER: Reducer = {
  run: (_body, onDone) => {
    onDone(-1);
  },
};
const PLAN: ExecutionPlan = {
  programs: [HASH],
  inputs: [{ kind: 'state', stateId: STATE, version: 0 as StateVersion }],
  outputs: [{ combine: 'concat', axis: 0, type: TYPE, deliver: true }],
  shards: [{ program: 0, offset: 0, size: 1 }],
  ...{ updates: [], clips: [], step: null },
};
const nothing = (): void => undefined;

/** An auditor whose judges answer what the test says. */
export function start(random = 0, bitClass = 'one') {
  const [resources, heap, cluster] = [new Resources(), new SharedHeap(64), createCluster()];
  const programs = new ProgramTable({ resources, sha256, amountOf: () => 1n, retire: nothing });
  const stores = {
    states: new StateStore(heap, resources, nothing),
    data: new DataStore(resources, nothing),
    program: (hash: ProgramHash) => programs.get(hash),
  };
  programs.define(HASH, bytes);
  stores.states.create(STATE, TYPE, new Uint8Array(4));
  const reducers = { inline: REDUCER, thread: REDUCER };
  const clock = { now: 0 };
  let nextId = 1_000;
  let lease = 1;
  const running = new Map<number, { readonly request: number; readonly collector: Collector }>();
  /** Audits under way, oldest first. */
  const asked = new Map<number, AuditRule>();
  const told: string[] = [];
  /** Checks that a thread has not answered yet, oldest first; null: nothing can be checked. */
  let checks: ((verdict: CheckVerdict) => void)[] | null = null;
  /** Answers that the engine computes anew, oldest first; it cannot until the test says so. */
  let isComputed = false;
  const computing: ((parts: readonly Part[] | null) => void)[] = [];
  const paid = new Map<string, string>();
  let held: number | null = null;
  const planned = bindPlan(1 as ExecutionId, PLAN, { ...stores, run: null });
  const tensor = { dataId: DATA, type: TYPE, rows: 1, blockRows: 1, blocks: [] };
  const read = { kind: 'data', tensor } as const;
  const bound: BoundPlan = { ...planned, inputs: [...planned.inputs, read] };
  const done = (value: number): DoneMessage => {
    const outputs = [[new Uint8Array(Float32Array.of(value).buffer)]];
    const unit = { lease: 1, status: 'ok', computeUs: 1, outputs, digest: null };
    return { kind: 'done', units: [unit] } as unknown as DoneMessage;
  };
  const take = (worker: WorkerId, execution: number, value: number): LeaseId => {
    const own = lease++ as LeaseId;
    const isTrusted = cluster.members.get(worker)?.isTrusted === true;
    const leases = isTrusted ? [] : [own];
    const where = { worker, execution: execution as ExecutionId, shard: 0, count: 1, index: 0 };
    auditor.accepted({ kind: 'accept', cause: 1, leases, ...where }, done(value));
    return own;
  };
  const auditor: Auditor = new Auditor({
    ...{ cluster, heap, reducers, beforeSubmit: nothing },
    checks: {
      prepare: () => {
        if (checks === null) return null;
        const { length } = checks;
        return { flops: 1, isInline: false, run: (onDone) => void (checks![length] = onDone) };
      },
      recompute: (_bound, _answer, onDone) => {
        if (!isComputed) return false;
        computing.push(onDone);
        return true;
      },
    },
    feed: (event: ClusterEvent) => {
      if (event.kind === 'submitted' && event.spec.audit !== undefined) {
        asked.set(event.spec.id, event.spec.audit);
      }
      if (event.kind === 'cancelled' || event.kind === 'reduced') asked.delete(event.execution);
    },
    nextExecution: () => nextId++ as ExecutionId,
    executionOf: (id) => {
      const found = running.get(id);
      if (found === undefined) return null;
      const { request, collector } = found;
      return { point: { session: 1, request }, isEffect: true, bound, collector };
    },
    pin: () => nothing,
    paidOf: () => new Set(),
    random: () => random,
    now: () => clock.now,
    onHeld: (from) => {
      held = from?.request ?? null;
    },
    onEnded: nothing,
    onJudged: (judgements) => {
      for (const { answer, verdict } of judgements) {
        for (const each of answer.leases) paid.set(`${answer.worker} ${String(each)}`, verdict);
      }
    },
    onCaught: ({ worker, isBuiltOn }) => {
      told.push(`${worker} caught${isBuiltOn ? ', built on' : ''}`);
      step(cluster, { kind: 'ban', worker, isCaught: true }, 0, clock.now);
    },
    onUnverified: (worker) => told.push(`${worker} unverified`),
    onWithheld: ({ worker }) => told.push(`${worker} withheld`),
  });
  const join = (worker: WorkerId, ownClass: string): void => {
    const joining = {
      ...{ worker, incarnation: 1, gflops: 1, bitClass: ownClass, owner: worker },
      ...{ isTrusted: worker === OWN, memoryBytes: 2 ** 30, windowBytes: 2 ** 20, held: [] },
    };
    step(cluster, { kind: 'joined', ...joining }, 0, clock.now);
  };
  return {
    ...{ auditor, cluster, clock, told, asked },
    get held() {
      return held;
    },
    join(...workers: readonly WorkerId[]) {
      for (const worker of workers) join(worker, bitClass);
    },
    joinAs: (otherClass: string, worker: WorkerId) => {
      join(worker, otherClass);
    },
    leave(worker: WorkerId) {
      const how = { reason: 'left', isOrderly: true } as const;
      step(cluster, { kind: 'left', worker, ...how }, 0, clock.now);
    },
    /** A stranger answers a step. @returns the name of its unit. */
    answer(worker: WorkerId, request: number, value: number): string {
      running.set(request, { request, collector: new Collector(bound, heap, reducers) });
      return `${worker} ${String(take(worker, request, value))}`;
    },
    /** Somebody repeats what is asked for first. @returns the name of its unit. */
    repeat(worker: WorkerId, value: number): string {
      const [execution] = asked.keys();
      if (execution === undefined) throw new Error('nothing is asked');
      const unit = `${worker} ${String(take(worker, execution, value))}`;
      auditor.complete(execution);
      return unit;
    },
    /** From now on all answers are checked. */
    check(): void {
      checks ??= [];
    },
    /** The first check that is under way: its verdict is the test's from now on. */
    takeCheck: () => checks?.shift(),
    checked(opinion: CheckVerdict['opinion']): void {
      checks?.shift()?.({ opinion, output: 0, row: 1, column: 2 });
    },
    /** From now on the engine can compute what is disputed. */
    compute(): void {
      isComputed = true;
    },
    /** What it computes; null: it cannot. */
    computed(value: number | null): void {
      const parts: Part[] = [
        { dtype: 'float32', bytes: new Uint8Array(Float32Array.of(value ?? 0).buffer) },
      ];
      computing.shift()?.(value === null ? null : parts);
    },
    fail(): void {
      const [execution] = asked.keys();
      asked.delete(execution ?? 0);
      const failure = { code: 'cluster', message: 'no memory', shard: 0, output: -1 } as const;
      auditor.failed(execution ?? 0, failure);
    },
    pass(ms: number): void {
      clock.now += ms;
      auditor.tick();
    },
    paid: (unit: string): string => paid.get(unit) ?? 'open',
  };
}

/** A unit of an earlier life that had no receipt. */
export function workOf(worker: WorkerId, lease: number): CommittedWork {
  return {
    ...{ session: 1, request: 1, shard: lease, worker, lease: lease as LeaseId, program: HASH },
    ...{ payee: PAYEE, flops: 1, sizeBytes: 4, amount: 1n, result: NO_RECEIPT },
  };
}
