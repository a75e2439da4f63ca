/** @file Courses of audits: who is caught, what is paid, and what happens to answers that nobody can judge. Judges are made up. */
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
import { ENGINE_LIMITS, NO_RECEIPT, encodeProgram } from '@ravenlab/protocol';
import type { ClusterEvent } from '../../../kernel/src/core/cluster/events.js';
import { step } from '../../../kernel/src/core/cluster/machine.js';
import type { AuditRule } from '../../../kernel/src/core/cluster/state.js';
import { createCluster } from '../../../kernel/src/core/cluster/state.js';
import type { CommittedWork } from '../../../kernel/src/core/ledger/payLane.js';
import type { CheckVerdict } from '../../../kernel/src/core/verify/checkUnit.js';
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
const [ANNA, BEN, CLEO, DORA] = ['anna', 'ben', 'cleo', 'dora'] as [
  WorkerId,
  WorkerId,
  WorkerId,
  WorkerId,
];
const OWN = 'own' as WorkerId;
const bytes = encodeProgram({
  inputs: [TYPE],
  nodes: [{ op: 'neg', inputs: [0], params: {}, type: TYPE }],
  outputs: [1],
});
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
const HASH = sha256(bytes) as ProgramHash;
const PAYEE = `0x${'1'.repeat(40)}` as Address;
/** A data set that every answer was read from. */
const DATA = 9 as DataId;
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
function start(random = 0, bitClass = 'one') {
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
  return {
    ...{ auditor, cluster, clock, told, asked },
    get held() {
      return held;
    },
    join(...workers: readonly WorkerId[]) {
      for (const worker of workers) {
        const joining = {
          ...{ worker, incarnation: 1, gflops: 1, bitClass, owner: worker },
          ...{ isTrusted: worker === OWN, memoryBytes: 2 ** 30, windowBytes: 2 ** 20, held: [] },
        };
        step(cluster, { kind: 'joined', ...joining }, 0, clock.now);
      }
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
function workOf(worker: WorkerId, lease: number): CommittedWork {
  return {
    ...{ session: 1, request: 1, shard: lease, worker, lease: lease as LeaseId, program: HASH },
    ...{ payee: PAYEE, flops: 1, sizeBytes: 4, amount: 1n, result: NO_RECEIPT },
  };
}

test('who is asked to repeat an answer and lies is caught by the next one, and unpaid for that unit', () => {
  const it = start();
  it.join(ANNA, BEN);
  const honest = it.answer(ANNA, 1, 5);
  // The user's own worker is still starting.
  const lie = it.repeat(BEN, 6);
  it.join(OWN);
  it.pass(0);
  it.repeat(OWN, 5);
  expect(it.told).toEqual(['ben caught']);
  expect([it.paid(honest), it.paid(lie)]).toEqual(['clean', 'refused']);
  expect(it.held).toBeNull();
});

test('all who gave another result than the one that two agree on are caught', () => {
  const it = start();
  it.join(ANNA, BEN, CLEO, DORA);
  const lie = it.answer(ANNA, 1, 6);
  const units = [it.repeat(BEN, 7), it.repeat(CLEO, 5), it.repeat(DORA, 5)];
  expect(it.told).toEqual(['anna caught, built on', 'ben caught']);
  expect([lie, ...units].map(it.paid)).toEqual(['refused', 'refused', 'clean', 'clean']);
});

test('the word of who was caught meanwhile decides nothing', () => {
  const it = start();
  it.join(ANNA, BEN, CLEO, DORA);
  const honest = it.answer(ANNA, 1, 5);
  it.repeat(BEN, 6);
  it.answer(BEN, 2, 6);
  it.join(OWN);
  // Anna's goes on as it was asked; Ben's own answer is judged by the user's worker first.
  const [anna = 0, ben = 0] = it.asked.keys();
  const rule = it.asked.get(anna);
  it.asked.delete(anna);
  expect(it.asked.has(ben)).toBe(true);
  it.repeat(OWN, 5);
  expect(it.told).toEqual(['ben caught, built on']);
  if (rule !== undefined) it.asked.set(anna, rule);
  // Cleo says what Ben said: alone, that is no majority.
  it.repeat(CLEO, 6);
  expect(it.paid(honest)).toBe('open');
  it.repeat(OWN, 5);
  expect(it.told).toEqual(['ben caught, built on', 'cleo caught']);
  expect(it.paid(honest)).toBe('clean');
});

test('an answer that comes with a refused one is refused as well, and holds the run', () => {
  const it = start();
  it.join(ANNA, OWN);
  const odd = it.answer(ANNA, 1, Number.NaN);
  expect(it.told).toEqual(['anna caught, built on']);
  it.join(ANNA);
  it.cluster.standings.clear();
  it.join(ANNA);
  const late = it.answer(ANNA, 2, 5);
  expect([odd, late].map(it.paid)).toEqual(['refused', 'refused']);
  expect(it.held).toBe(1);
});

test('four results of which no two agree: done again, unpaid, and nobody is accused', () => {
  const it = start();
  it.join(ANNA, BEN, CLEO, DORA);
  const units = [
    it.answer(ANNA, 1, 1),
    ...[it.repeat(BEN, 2), it.repeat(CLEO, 3), it.repeat(DORA, 4)],
  ];
  expect(it.told).toEqual(['anna withheld']);
  expect(units.map(it.paid)).toEqual(['refused', 'refused', 'refused', 'refused']);
  // Until it was done again nothing of it is relied on.
  expect(it.held).toBe(1);
  expect(it.auditor.book.isCaught(ANNA)).toBe(false);
});

test('two that differ and nobody to decide: asked again when a third one comes, else done again', () => {
  const it = start();
  it.join(ANNA, BEN);
  it.answer(ANNA, 1, 1);
  it.repeat(BEN, 2);
  expect(it.asked.size).toBe(0);
  it.pass(ENGINE_LIMITS.auditWaitMs - 1);
  expect([it.told, it.held]).toEqual([[], 1]);
  it.pass(1);
  expect(it.told).toEqual(['anna withheld']);

  const other = start();
  other.join(ANNA, BEN);
  other.answer(ANNA, 1, 1);
  other.repeat(BEN, 2);
  other.pass(ENGINE_LIMITS.auditWaitMs - 1);
  other.join(OWN);
  other.pass(0);
  other.repeat(OWN, 1);
  expect(other.told).toEqual(['ben caught']);
});

test('an audit that judges fail vouches for nothing before it', () => {
  const it = start(0.999);
  it.cluster.verified.set(ANNA, 100);
  it.join(ANNA, BEN, CLEO);
  const before = it.answer(ANNA, 1, 1);
  it.answer(ANNA, 2, 1);
  it.pass(ENGINE_LIMITS.auditIdleMs);
  for (let times = 0; times < ENGINE_LIMITS.auditFailures; times++) it.fail();
  expect(it.told).toEqual(['anna withheld']);
  expect(it.paid(before)).toBe('refused');
  expect(it.held).toBe(1);
});

test("what the user's own worker is too small for counts, and the user is told", () => {
  const it = start();
  it.join(ANNA, OWN);
  const unit = it.answer(ANNA, 1, 1);
  for (let times = 0; times < ENGINE_LIMITS.auditFailures; times++) it.fail();
  expect(it.told).toEqual(['anna unverified']);
  expect([it.paid(unit), it.held]).toEqual(['unverified', null]);
});

test('a worker that is paused judges nothing, and nobody waits for it', () => {
  const it = start();
  it.join(ANNA, BEN);
  step(it.cluster, { kind: 'pause', worker: BEN }, 0, 0);
  it.answer(ANNA, 1, 1);
  it.pass(ENGINE_LIMITS.auditWaitMs);
  expect(it.told).toEqual(['anna unverified']);
});

test('answers that read data which is dropped are audited first', () => {
  const it = start(0.999);
  it.cluster.verified.set(ANNA, 100);
  it.join(ANNA, OWN);
  const unit = it.answer(ANNA, 1, 1);
  expect(it.auditor.usesProgram(HASH)).toBe(true);
  expect(it.auditor.usesData([DATA + 1])).toBe(false);
  expect(it.asked.size).toBe(0);
  expect(it.auditor.usesData([DATA])).toBe(true);
  it.repeat(OWN, 1);
  expect(it.auditor.usesData([DATA])).toBe(false);
  expect(it.paid(unit)).toBe('clean');
});

test('too much to keep is kept as a hash, which a judge of the same class is compared with', () => {
  const limit = ENGINE_LIMITS.auditBytes;
  jest.replaceProperty(ENGINE_LIMITS, 'auditBytes', 3);
  const it = start(0.999);
  it.cluster.verified.set(ANNA, 100).set(BEN, 100);
  it.join(ANNA, BEN, OWN);
  const right = it.answer(ANNA, 1, 1);
  const wrong = it.answer(BEN, 2, 6);
  it.pass(ENGINE_LIMITS.auditIdleMs);
  it.repeat(OWN, 1);
  it.repeat(OWN, 1);
  expect([right, wrong].map(it.paid)).toEqual(['clean', 'refused']);
  jest.restoreAllMocks();
  expect(ENGINE_LIMITS.auditBytes).toBe(limit);
});

test('units of an earlier life are vouched for by the next clean audit of their worker', () => {
  const it = start();
  it.join(ANNA, OWN);
  it.auditor.restore([workOf(ANNA, 7), workOf(BEN, 8)]);
  it.pass(ENGINE_LIMITS.auditIdleMs);
  expect(it.paid('anna 7')).toBe('open');
  it.answer(ANNA, 2, 1);
  it.repeat(OWN, 1);
  expect(it.paid('anna 7')).toBe('clean');
  // Ben never came back.
  expect(it.paid('ben 8')).toBe('open');
  it.pass(ENGINE_LIMITS.auditWaitMs);
  expect([it.paid('ben 8'), it.told]).toEqual(['unverified', []]);
});

test('... and refused when it is caught first', () => {
  const it = start();
  it.join(ANNA, OWN);
  it.auditor.restore([workOf(ANNA, 7)]);
  it.answer(ANNA, 2, 6);
  it.repeat(OWN, 1);
  expect(it.paid('anna 7')).toBe('refused');
});

const KNOWN = 'onnx-cpu 1.22 avx2';

/** A stranger with a good name, whose answers are checked, and a judge. */
function known(bitClass = KNOWN) {
  const it = start(0.999, bitClass);
  it.cluster.verified.set(ANNA, 100);
  it.join(ANNA, OWN);
  it.check();
  return it;
}

test('a wrong product catches who sent it, without a judge', () => {
  const it = known();
  const unit = it.answer(ANNA, 1, 6);
  it.checked('wrong');
  expect([it.told, it.asked.size]).toEqual([['anna caught, built on'], 0]);
  expect([it.paid(unit), it.held]).toEqual(['refused', 1]);
});

test.each([
  ['of a backend whose arithmetic is not known', 'onnx-cuda 1.22 sm90', 'wrong'],
  ['that cannot be told from rounding', KNOWN, 'unclear'],
] as const)(
  'a product %s is repeated, and accuses nobody by itself',
  (_name, bitClass, opinion) => {
    const it = known(bitClass);
    const unit = it.answer(ANNA, 1, 5);
    it.checked(opinion);
    expect([it.told, it.asked.size]).toEqual([[], 1]);
    it.repeat(OWN, 5);
    expect([it.told, it.paid(unit)]).toEqual([[], 'clean']);
  },
);

test('a right product waits for an audit as any answer', () => {
  const it = known();
  const unit = it.answer(ANNA, 1, 5);
  it.checked('right');
  expect([it.asked.size, it.paid(unit), it.held]).toEqual([0, 'open', 1]);
  it.pass(ENGINE_LIMITS.auditIdleMs);
  it.repeat(OWN, 5);
  expect([it.paid(unit), it.held]).toEqual(['clean', null]);
});

test('while a product is being checked, no later answer vouches for it', () => {
  const it = known();
  const first = it.answer(ANNA, 1, 6);
  const second = it.answer(ANNA, 2, 5);
  expect(it.auditor.usesData([DATA])).toBe(true);
  // The second one is through first, and is repeated.
  const waits = it.takeCheck();
  it.checked('unclear');
  it.repeat(OWN, 5);
  expect([it.paid(first), it.paid(second), it.held]).toEqual(['open', 'clean', 1]);
  waits?.({ opinion: 'wrong', output: 0, row: 0, column: 0 });
  expect([it.told, it.paid(first)]).toEqual([['anna caught, built on'], 'refused']);
  expect(it.auditor.usesData([DATA])).toBe(false);
});

test('where nobody can repeat anything, products are checked all the same', () => {
  const it = start(0, KNOWN);
  it.join(ANNA);
  it.answer(ANNA, 1, 5);
  it.pass(ENGINE_LIMITS.auditWaitMs);
  it.check();
  const right = it.answer(ANNA, 2, 5);
  expect([it.paid(right), it.held]).toEqual(['open', 2]);
  it.checked('right');
  expect([it.paid(right), it.held]).toEqual(['unverified', null]);
  const wrong = it.answer(ANNA, 3, 6);
  it.checked('wrong');
  expect(it.told.at(-1)).toBe('anna caught, built on');
  expect([it.paid(wrong), it.held]).toEqual(['refused', 3]);
});
