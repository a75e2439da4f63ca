/**
 * @file One life of the engine in simulation: the shell around the real scheduler, ledger and journal. It carries out
 * effects, sums, commits and answers; a crash ends it between any two of its effects.
 */
/* eslint-disable max-lines -- one life of an engine is one story; its parts are in simEngineParts.ts */
import type { ExecutionId, WorkerId } from '@ravenlab/protocol';
import type { ClusterEffect, ClusterEvent } from '../../kernel/src/core/cluster/events.js';
import { setPin } from '../../kernel/src/core/cluster/classes.js';
import { checkInvariants } from '../../kernel/src/core/cluster/invariants.js';
import { deadline, step } from '../../kernel/src/core/cluster/machine.js';
import { ShardTree } from '../../kernel/src/core/cluster/shardTree.js';
import type {
  ClusterState,
  ExecutionSpec,
  ResourceId,
} from '../../kernel/src/core/cluster/state.js';
import { createCluster } from '../../kernel/src/core/cluster/state.js';
import type { RequestPoint } from '../../kernel/src/core/journal/paidBook.js';
import { PaidBook } from '../../kernel/src/core/journal/paidBook.js';
import type { Flaw } from './canaries.js';
import { SimViolation } from './context.js';
import type { SimContext } from './context.js';
import type { SimResult } from './messages.js';
import { blocksOf } from './messages.js';
import type { SimImage, SimRow } from './simDisk.js';
import { FIRST_IMAGE } from './simDisk.js';
import type { KernelEnd, SimRequest } from './requests.js';
import { auditsOf, runOfAudit } from './simAudits.js';
import type { AuditedExecution, SimAudits } from './simAudits.js';
import {
  REDUCE_MS,
  AUDIT_ROWS,
  DRAIN_MS,
  RUN,
  RETRY_MS,
  UNIT_AMOUNT,
  CHECK_EVERY,
  isEnd,
  TICK,
  NO_RESULTS,
  NOTHING_PAID,
  Killed,
  KILLED,
  IDS_PER_LIFE,
} from './simEngineParts.js';
import type { Active, Accept, Queued, EngineOptions } from './simEngineParts.js';
import { SimHub } from './simHub.js';
import type { JournalOwner } from './simJournal.js';
import { SimJournal } from './simJournal.js';
import { SimStore, unitsOf } from './simStore.js';
import { SimUser } from './simUser.js';
import { add, nextWeight } from './values.js';

/** What a life had in mind ends with it. */
const actAlive = (engine: SimEngine, act: () => void): void => {
  if (!engine.isDead()) act();
};

export class SimEngine implements JournalOwner {
  readonly state: ClusterState;
  readonly journal: SimJournal;
  readonly hub: SimHub;
  readonly user: SimUser;
  states: SimImage;
  kernel: KernelEnd | null = null;
  session = 0;
  private readonly options: EngineOptions;
  private readonly context: SimContext;
  private readonly book: PaidBook;
  private readonly store: SimStore;
  readonly audits: SimAudits;
  private auditRows = 0;
  private readonly active = new Map<ExecutionId, Active>();
  private queue: Queued[] = [];
  private isUpdating = false;
  private nextExecutionId = 1;
  private nextWire: number;
  private timerAtMs = Infinity;
  private isKilled = false;
  private results: readonly SimResult[] = [];
  private paidNow: SimRow[] = [];
  /** Of the version before; for a planted bug. */
  private lastBookmark = 0;
  private readonly flaw: Flaw | null;
  private readonly crashPerMille: number;
  private whenSettled: (() => void) | null = null;

  constructor(options: EngineOptions) {
    const { context, disk, life, canary } = options;
    this.options = options;
    this.context = context;
    this.flaw = canary?.flaw ?? null;
    this.crashPerMille = context.plan.rates.engineCrash;
    const restored = disk.restore();
    if (restored.current !== null && restored.image === null) {
      throw new SimViolation(`the image in slot ${String(restored.current.slot)} is torn`);
    }
    this.states = restored.image ?? FIRST_IMAGE;
    this.session = restored.current?.point.session ?? 0;
    for (const row of restored.rows) this.session = Math.max(this.session, row.session);
    this.book = new PaidBook(canary?.book?.(restored.rows) ?? restored.rows);
    if (restored.current !== null) this.book.settle(restored.current.point);
    const base = life * IDS_PER_LIFE;
    this.nextWire = (canary?.flaw === 'sameWire' ? 0 : base) + this.states.version + 1;
    this.state = createCluster(base + 1, canary?.flaw === 'sameLeases' ? 1 : base + 1);
    for (const row of restored.rows) {
      this.state.ledger.restore(row.worker as WorkerId, row.amount, 1);
    }
    const { trace } = options;
    this.journal = new SimJournal({ context, disk, owner: this, restored, canary, trace });
    const apply = (event: ClusterEvent, results?: readonly SimResult[]): void => {
      this.apply(event, results);
    };
    this.store = new SimStore();
    const { state, flaw } = this;
    const { resources } = this.store;
    this.hub = new SimHub({ context, state, resources, flaw, apply });
    const after = (delayMs: number, act: () => void): void => {
      this.after(delayMs, act);
    };
    this.user = new SimUser({ context, state, apply, after });
    this.audits = auditsOf(this, {
      context,
      flaw,
      state,
      feed: (event) => {
        this.apply(event);
      },
      nextExecution: () => this.nextExecutionId++ as ExecutionId,
      after,
      onCaught: options.onCaught,
    });
    this.takePin(this.states.pin);
    this.store.begin(this.states);
  }

  /** Point that everything up to it is part of what this life began with. */
  get restoredPoint(): RequestPoint {
    return this.journal.state.current?.point ?? { session: 0, request: 0 };
  }

  /** Bit class that the run is pinned to. */
  private get pin(): string | null {
    const pin = this.state.pins.get(RUN);
    return pin?.isFirm === true ? pin.bitClass : null;
  }

  private takePin(bitClass: string | null): void {
    if (bitClass !== null && this.flaw !== 'noPin')
      setPin(this.state, RUN, { bitClass, isFirm: true, isMixed: false });
  }

  isDead(): boolean {
    return this.isKilled;
  }

  /**
   * kill -9: nothing of this life happens any more.
   * @param isSilent the machine is gone too: nobody tells the workers.
   */
  die(isSilent = false): void {
    if (this.isKilled) return;
    this.isKilled = true;
    checkInvariants(this.state);
    this.hub.die(isSilent);
    this.options.onDied();
  }

  // -------------------------------------------------------------- driving the machine

  private apply(event: ClusterEvent, results: readonly SimResult[] = NO_RESULTS): void {
    const { canary, trace, context } = this.options;
    const seen = canary?.event === undefined ? event : canary.event(event);
    trace.events++;
    if (seen === null) {
      this.arm();
      return;
    }
    const made = step(this.state, seen, trace.events, context.heap.nowMs);
    const effects = canary?.effects === undefined ? made : canary.effects(made, seen, this.state);
    if (trace.isOn) trace.note(context.heap.nowMs, seen, effects);
    this.checkState(effects);
    this.results = results;
    try {
      for (const effect of effects) {
        if (context.befalls('engineCrash', this.crashPerMille)) throw KILLED;
        this.carryOut(effect);
      }
      this.journalPay();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      this.die();
      return;
    }
    this.arm();
  }

  /**
   * All sets are derived from each other again with every few events, and whenever an execution or a life ends: a set that went wrong
   * stays wrong, and the story of the last events is in the finding.
   */
  private checkState(effects: readonly ClusterEffect[]): void {
    if (this.options.trace.events % CHECK_EVERY !== 0 && !effects.some(isEnd)) return;
    checkInvariants(this.state);
  }

  private arm(): void {
    const at = deadline(this.state);
    if (at === null || at >= this.timerAtMs) return;
    this.timerAtMs = at;
    this.context.heap.at(at, this.onTimer);
  }

  private readonly onTimer = (): void => {
    if (this.timerAtMs > this.context.heap.nowMs || this.isKilled) return; // it was for a deadline that moved
    this.timerAtMs = Infinity;
    const due = deadline(this.state);
    if (due !== null && due <= this.context.heap.nowMs) this.apply(TICK);
    else this.arm();
  };

  private after(delayMs: number, act: () => void): void {
    const { heap } = this.context;
    heap.call(heap.nowMs + delayMs, actAlive, this, act);
  }

  private carryOut(effect: ClusterEffect): void {
    switch (effect.kind) {
      case 'provide': {
        const resources = this.store.found(effect.resources);
        this.hub.send(effect.worker, { kind: 'provide', resources });
        break;
      }
      case 'run':
        this.sendRun(effect);
        break;
      case 'drop':
        this.hub.send(effect.worker, { kind: 'drop', resources: effect.resources });
        break;
      case 'revoke':
        this.hub.send(effect.worker, { kind: 'revoke', leases: effect.leases });
        this.user.reactTo(effect.worker);
        break;
      case 'revokeExecution':
        this.hub.send(effect.worker, { kind: 'revokeExecution', execution: effect.execution });
        break;
      case 'accept': {
        const value = this.results[effect.index]?.value ?? Number.NaN;
        if (this.audits.accepted(effect, value, this.auditedOf(effect.execution))) break;
        this.taken(effect, value);
        const tree = this.active.get(effect.execution)?.tree;
        const merges = tree?.insert(effect.shard, { sum: value }, effect.count) ?? [];
        for (const { target, source } of merges) add(target, source);
        break;
      }
      case 'meter':
        this.meter(effect);
        break;
      case 'complete':
        this.after(REDUCE_MS, () => {
          if (this.audits.complete(effect.execution)) return;
          this.apply({ kind: 'reduced', execution: effect.execution, failure: null });
        });
        break;
      case 'committed':
        this.commit(effect.execution);
        break;
      case 'failed':
        if (!this.audits.failed(effect.execution)) this.failed(effect.execution);
        break;
      case 'expel':
        this.hub.expel(effect.worker);
        break;
      case 'ping':
        this.hub.send(effect.worker, { kind: 'ping', sentMs: this.context.heap.nowMs });
        break;
      case 'drained':
        this.after(DRAIN_MS, () => {
          this.apply({ kind: 'resume', worker: effect.worker });
        });
        break;
      case 'starved':
      case 'relieved':
      case 'quarantined':
        break;
    }
  }

  private sendRun(effect: Extract<ClusterEffect, { kind: 'run' }>): void {
    const audit = this.audits.auditOf(effect.execution);
    if (audit !== null) {
      this.hub.send(effect.worker, runOfAudit(effect, audit));
      return;
    }
    const active = this.active.get(effect.execution);
    if (active === undefined) return;
    const { leaseMs, groups } = effect;
    const { salt } = active.request;
    const { wire: version, dataId } = active;
    const execution = active.id;
    this.hub.send(effect.worker, {
      kind: 'run',
      execution,
      salt,
      version,
      dataId,
      leaseMs,
      groups,
    });
  }

  private taken({ execution, worker, shard, count }: Accept, value: number): void {
    const salt = this.active.get(execution)?.request.salt ?? 0;
    this.options.onTaken({ worker, salt, shard, count, value });
  }

  private auditedOf(execution: ExecutionId): AuditedExecution | null {
    const active = this.active.get(execution);
    if (active === undefined) return null;
    const { point, request, wire, dataId, spec } = active;
    return { point, isEffect: request.kind === 'step', salt: request.salt, wire, dataId, spec };
  }

  /** It cheated in an earlier life. */
  convict(worker: WorkerId): void {
    this.apply({ kind: 'ban', worker, isCaught: true });
  }

  /** The rows of one event reach the journal together. */
  private journalPay(): void {
    if (this.paidNow.length === 0) return;
    const rows = this.paidNow;
    this.paidNow = [];
    this.journal.feed({ kind: 'paid', rows });
  }

  private meter({ entry, execution, shard }: Extract<ClusterEffect, { kind: 'meter' }>): void {
    const audit = this.audits.auditOf(execution);
    if (audit !== null) {
      // Numbers above those of an execution's own units, never given out twice.
      const key = AUDIT_ROWS + this.options.life * AUDIT_ROWS + this.auditRows++;
      const { worker, amount } = entry;
      this.paidNow.push({ ...audit.answer.point, shard: key, worker, amount });
      return;
    }
    const active = this.active.get(execution);
    if (active === undefined) throw new SimViolation('a unit of no execution is paid');
    const { session, request } = active.point;
    if (active.paid.has(shard)) {
      const unit = `${String(session)}/${String(request)}/${String(shard)}`;
      throw new SimViolation(`unit ${unit} was paid before, and is paid again`);
    }
    active.paid.add(shard);
    this.paidNow.push({ session, request, shard, worker: entry.worker, amount: entry.amount });
  }

  // -------------------------------------------------------------- requests of the kernel

  /** A kernel is there. `answer` is called when everything that its predecessor did is durable. */
  attach(kernel: KernelEnd, session: number | null, pin: string | null, answer: () => void): void {
    // Steps that were answered and not journaled must be repeated by the same class.
    this.takePin(pin);
    const isNew = session === null;
    this.session = session ?? this.session + 1;
    this.queue = isNew ? [] : this.queue;
    this.kernel = null;
    const ready = (): void => {
      this.kernel = kernel;
      this.journal.feed({ kind: 'attached', session: this.session });
      answer();
    };
    if (!isNew || this.flaw === 'hastyAttach') {
      ready();
      return;
    }
    this.whenSettled = ready;
    this.journal.feed({ kind: 'settle' });
    this.checkSettled();
  }

  /** The kernel is gone for good; what is in flight is finished. */
  detach(): void {
    this.kernel = null;
    this.queue = [];
    this.journal.feed({ kind: 'detached' });
  }

  private checkSettled(): void {
    if (this.whenSettled === null || this.active.size > 0 || !this.journal.isSettled) return;
    const ready = this.whenSettled;
    this.whenSettled = null;
    ready();
  }

  receive(request: SimRequest): void {
    this.queue.push({ point: { session: this.session, request: request.id }, request });
    this.pump();
  }

  acked(request: number): void {
    this.journal.feed({ kind: 'acked', point: { session: this.session, request } });
  }

  /** Stop: what this cell asked for and is not committed never happens. */
  cancelEpoch(epoch: number): void {
    // What was answered before has happened, even if it is being done again.
    const isOf = ({ request }: { readonly request: SimRequest }): boolean =>
      request.epoch === epoch && (!request.isRepeat || this.flaw === 'blindStop');
    const waiting = this.queue.filter(isOf);
    this.queue = this.queue.filter((queued) => !isOf(queued));
    for (const { request } of waiting) this.reply(request.id, false);
    for (const active of [...this.active.values()]) {
      if (!isOf(active) || this.state.executions.get(active.id)?.status !== 'running') continue;
      this.apply({ kind: 'cancelled', execution: active.id });
      this.audits.withdrawn(active.point);
      if (this.isKilled) return;
      this.refuse(active.id);
    }
    this.pump();
  }

  private pump(): void {
    for (let next = this.queue[0]; next !== undefined && !this.isKilled; next = this.queue[0]) {
      if (!this.canStart(next.request) || this.journal.isFull) return;
      this.queue.shift();
      const isEffect = next.request.kind !== 'eval';
      this.journal.feed({ kind: 'started', point: next.point, isEffect });
      if (next.request.kind === 'define') this.takeData(next.request);
      else this.start(next.point, next.request);
    }
  }

  private canStart(request: SimRequest): boolean {
    if (request.kind !== 'define') return !this.isUpdating;
    return this.active.size === 0 && this.audits.release();
  }

  private takeData(request: Extract<SimRequest, { kind: 'define' }>): void {
    const { dataId, data } = request;
    const { dataId: old, version, weight, wire, pin, bookmark } = this.states;
    this.states = { version, weight, wire, dataId, data, pin, bookmark };
    this.store.defineData(dataId, data);
    if (old > 0) this.retire(blocksOf(old));
    if (this.isKilled) return;
    this.reply(request.id, true);
    this.journal.feed({ kind: 'quiet' });
  }

  private start(
    point: RequestPoint,
    request: Active['request'],
    paid = new Set<number>(this.book.paidOf(point)),
  ): void {
    const { plan } = this.context;
    const { wire, version, weight, dataId } = this.states;
    const id = this.nextExecutionId++ as ExecutionId;
    const tree = new ShardTree<{ sum: number }>(plan.shards);
    if (request.kind === 'step') this.isUpdating = true;
    const needed = this.store.needed(wire, dataId);
    if (needed === null) {
      throw new SimViolation(`request ${String(request.id)} finds no data or no states`);
    }
    const { program, state } = needed;
    const spec: ExecutionSpec = {
      id,
      run: request.kind === 'step' ? RUN : null,
      programs: [{ resource: program, flops: 1_000_000, amount: UNIT_AMOUNT }],
      common: [state],
      units: unitsOf(needed, plan.shards),
      isMergeable: plan.isMergeable,
      paidShards: paid.size === 0 ? NOTHING_PAID : new Set(paid),
    };
    this.active.set(id, { id, point, request, tree, spec, wire, version, weight, dataId, paid });
    this.apply({ kind: 'submitted', spec });
  }

  private commit(execution: ExecutionId): void {
    const active = this.active.get(execution);
    if (active === undefined) return;
    this.active.delete(execution);
    const { request, version } = active;
    const { sum } = active.tree.root;
    if (request.kind === 'eval') {
      this.reply(request.id, true, { version, weight: active.weight, sum });
    } else {
      this.update(active, request.salt, sum);
      this.isUpdating = false;
      const { version: made, weight } = this.states;
      this.reply(request.id, true, { version: made, weight, sum });
    }
    this.ended();
  }

  private update({ point }: Active, salt: number, sum: number): void {
    const old = this.states;
    const weight = nextWeight(old.weight, sum);
    const version = old.version + 1;
    const wire = this.nextWire++;
    const { dataId, data } = old;
    this.lastBookmark = old.bookmark;
    this.states = { version, weight, wire, dataId, data, pin: this.pin, bookmark: salt };
    this.store.defineState(wire, weight);
    this.options.onCommitted(version, { salt, weight, point });
    // Evaluations may still read the version before.
    this.after(1, () => {
      const isRead = this.active.size > 0 || !this.audits.isIdle();
      if (!isRead) this.retire(this.store.oldStates(this.states.wire));
    });
  }

  private retire(ids: readonly ResourceId[]): void {
    if (ids.length === 0) return;
    this.store.drop(ids);
    this.apply({ kind: 'retired', resources: ids });
  }

  private failed(execution: ExecutionId): void {
    const active = this.active.get(execution);
    if (active?.request.isRepeat !== true || this.flaw === 'fragileRepeat') {
      if (active !== undefined) this.audits.withdrawn(active.point);
      this.refuse(execution);
      return;
    }
    this.active.delete(execution);
    this.after(RETRY_MS, () => {
      this.start(active.point, active.request, active.paid);
    });
  }

  private refuse(execution: ExecutionId): void {
    const active = this.active.get(execution);
    if (active === undefined) return;
    this.active.delete(execution);
    if (active.request.kind === 'step') this.isUpdating = false;
    this.reply(active.request.id, false);
    this.ended();
  }

  private ended(): void {
    if (!this.isUpdating) this.journal.feed({ kind: 'quiet' });
    this.drained();
  }

  private reply(
    id: number,
    isOk: boolean,
    result: { version: number; weight: number; sum: number } = { version: 0, weight: 0, sum: 0 },
  ): void {
    const { kernel } = this;
    const { version, weight, sum } = result;
    this.after(1, () => {
      if (this.kernel === kernel)
        kernel?.onReply({ id, isOk, version, weight, sum, pin: this.pin });
    });
  }

  // -------------------------------------------------------------- what the journal says

  capture(): SimImage {
    if (this.flaw === 'lateBookmark') return { ...this.states, bookmark: this.lastBookmark };
    return this.states;
  }

  durable(point: RequestPoint): void {
    this.book.settle(point);
    const { kernel } = this;
    if (kernel !== null && point.session === this.session) {
      this.after(1, () => {
        if (this.kernel === kernel) kernel.onDurable(point.request);
      });
    }
  }

  drained(): void {
    // What is asked later finds the room by itself.
    if (this.queue.length === 0 && this.whenSettled === null) return;
    this.after(0, () => {
      this.pump();
      this.checkSettled();
    });
  }

  /** The clean end. */
  closeJournal(): void {
    this.journal.feed({ kind: 'close' });
  }

  closed(): void {
    checkInvariants(this.state);
    this.options.onClosed();
  }
}
