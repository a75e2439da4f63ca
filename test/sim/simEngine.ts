/**
 * @file One life of the engine in simulation: the shell around the real scheduler, ledger and journal. It carries out
 * effects, sums, commits and answers. Its events and its timer are in simLoop.ts, what it pays in simPay.ts.
 */
import type { ExecutionId, WorkerId } from '@ravenlab/protocol';
import type { ClusterEffect, ClusterEvent } from '../../kernel/src/core/cluster/events.js';
import { setPin } from '../../kernel/src/core/cluster/classes.js';
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
import type { SimImage } from './simDisk.js';
import { FIRST_IMAGE } from './simDisk.js';
import type { KernelEnd, SimRequest } from './requests.js';
import { auditsOf, runOfAudit } from './simAudits.js';
import type { AuditedExecution, SimAudits } from './simAudits.js';
import {
  REDUCE_MS,
  DRAIN_MS,
  RUN,
  RETRY_MS,
  UNIT_AMOUNT,
  NOTHING_PAID,
  IDS_PER_LIFE,
} from './simEngineParts.js';
import type { Active, Accept, Queued, EngineOptions } from './simEngineParts.js';
import { SimHub } from './simHub.js';
import type { JournalOwner } from './simJournal.js';
import { SimJournal } from './simJournal.js';
import type { LoopOwner } from './simLoop.js';
import { SimLoop } from './simLoop.js';
import { SimPay } from './simPay.js';
import { SimStore, unitsOf } from './simStore.js';
import { SimUser } from './simUser.js';
import { add, nextWeight } from './values.js';

export class SimEngine implements JournalOwner, LoopOwner {
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
  private readonly loop: SimLoop;
  private readonly pay: SimPay;
  readonly audits: SimAudits;
  private readonly active = new Map<ExecutionId, Active>();
  private queue: Queued[] = [];
  private isUpdating = false;
  private nextExecutionId = 1;
  private nextWire: number;
  private isKilled = false;
  /** Of the version before; for a planted bug. */
  private lastBookmark = 0;
  private readonly flaw: Flaw | null;
  private whenSettled: (() => void) | null = null;

  constructor(options: EngineOptions) {
    const { context, disk, life, canary } = options;
    this.options = options;
    this.context = context;
    this.flaw = canary?.flaw ?? null;
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
    const { state, flaw } = this;
    const loop = new SimLoop({ context, state, canary, trace, owner: this });
    this.loop = loop;
    this.pay = new SimPay(life);
    const apply = (event: ClusterEvent, results?: readonly SimResult[]): void => {
      loop.apply(event, results);
    };
    this.store = new SimStore();
    const { resources } = this.store;
    this.hub = new SimHub({ context, state, resources, flaw, apply });
    const after = (delayMs: number, act: () => void): void => {
      loop.after(delayMs, act);
    };
    this.user = new SimUser({ context, state, apply, after });
    this.audits = auditsOf(this, {
      context,
      flaw,
      state,
      feed: apply,
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
    this.loop.check();
    this.hub.die(isSilent);
    this.options.onDied();
  }

  // -------------------------------------------------------------- what the scheduler says

  carryOut(effect: ClusterEffect): void {
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
        const value = this.loop.results[effect.index]?.value ?? Number.NaN;
        if (this.audits.accepted(effect, value, this.auditedOf(effect.execution))) break;
        this.taken(effect, value);
        const tree = this.active.get(effect.execution)?.tree;
        const merges = tree?.insert(effect.shard, { sum: value }, effect.count) ?? [];
        for (const { target, source } of merges) add(target, source);
        break;
      }
      case 'meter':
        this.pay.meter(effect, this.active.get(effect.execution), this.audits);
        break;
      case 'complete':
        this.loop.after(REDUCE_MS, () => {
          if (this.audits.complete(effect.execution)) return;
          this.loop.apply({ kind: 'reduced', execution: effect.execution, failure: null });
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
        this.loop.after(DRAIN_MS, () => {
          this.loop.apply({ kind: 'resume', worker: effect.worker });
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
    this.loop.apply({ kind: 'ban', worker, isCaught: true });
  }

  /** The rows of one event reach the journal together. */
  carriedOut(): void {
    const rows = this.pay.take();
    if (rows !== null) this.journal.feed({ kind: 'paid', rows });
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
      this.loop.apply({ kind: 'cancelled', execution: active.id });
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
      // What is looked at between two steps shows the bits of the run.
      run: request.kind === 'step' || version > 0 ? RUN : null,
      programs: [{ resource: program, flops: 1_000_000, amount: UNIT_AMOUNT }],
      common: [state],
      units: unitsOf(needed, plan.shards),
      isMergeable: plan.isMergeable,
      paidShards: paid.size === 0 ? NOTHING_PAID : new Set(paid),
    };
    this.active.set(id, { id, point, request, tree, spec, wire, version, weight, dataId, paid });
    this.loop.apply({ kind: 'submitted', spec });
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
    this.loop.after(1, () => {
      const isRead = this.active.size > 0 || !this.audits.isIdle();
      if (!isRead) this.retire(this.store.oldStates(this.states.wire));
    });
  }

  private retire(ids: readonly ResourceId[]): void {
    if (ids.length === 0) return;
    this.store.drop(ids);
    this.loop.apply({ kind: 'retired', resources: ids });
  }

  private failed(execution: ExecutionId): void {
    const active = this.active.get(execution);
    if (active?.request.isRepeat !== true || this.flaw === 'fragileRepeat') {
      if (active !== undefined) this.audits.withdrawn(active.point);
      this.refuse(execution);
      return;
    }
    // It stays active meanwhile: nothing overtakes it, new data least of all.
    this.loop.after(RETRY_MS, () => {
      this.active.delete(execution);
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
    this.loop.after(this.context.plan.answerMs ?? 1, () => {
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
      this.loop.after(this.context.plan.answerMs ?? 1, () => {
        if (this.kernel === kernel) kernel.onDurable(point.request);
      });
    }
  }

  drained(): void {
    // What is asked later finds the room by itself.
    if (this.queue.length === 0 && this.whenSettled === null) return;
    this.loop.after(0, () => {
      this.pump();
      this.checkSettled();
    });
  }

  /** The clean end. */
  closeJournal(): void {
    this.journal.feed({ kind: 'close' });
  }

  closed(): void {
    this.loop.check();
    this.options.onClosed();
  }
}
