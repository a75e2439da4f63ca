/**
 * @file The kernel's requests in order: programs, states and data at once, executions when the versions they name exist.
 * An execution's result becomes a version or nothing at all.
 */
import type {
  DoneMessage,
  EngineReply,
  ExecutionId,
  ExecutionPlan,
  LeaseId,
  ProgramHash,
  WorkerId,
} from '@ravenlab/protocol';
import { ENGINE_LIMITS, RavenError } from '@ravenlab/protocol';
import type { ClusterEvent } from '../core/cluster/events.js';
import type { ClusterState, Failure } from '../core/cluster/state.js';
import type { RequestPoint } from '../core/journal/paidBook.js';
import type { ActiveExecution } from './activeExecution.js';
import type { AuditedExecution } from './auditCase.js';
import { Advances } from './advances.js';
import { Collector } from './collector.js';
import type { Reducers } from './collector.js';
import { hasEffect } from './effects.js';
import type { Block, SharedHeap } from './heap.js';
import { bindPlan, readsData } from './planView.js';
import type { RunnerJournal } from './runnerJournal.js';
import type { WorkerSession } from './session.js';
import type { Draft } from './states.js';
import { StepChain } from './stepChain.js';
import { draftsOf, haveSlots, settledPlan, updateBatchOf } from './stepUpdate.js';
import type { StoreHandlers, Stores } from './storeRequests.js';
import { storeHandlers } from './storeRequests.js';
import type { QueuedRequest, RunOfCell, Ticket } from './ticket.js';
import { errorOf, isSameRun, namedVersion, noVersion, runOfCell, stopError } from './ticket.js';

export interface RunnerOptions extends Stores {
  readonly heap: SharedHeap;
  readonly reducers: Reducers;
  readonly cluster: ClusterState;
  readonly feed: (event: ClusterEvent) => void;
  readonly beforeSubmit: () => void;
  /** @param isLate of a cell whose training was stopped: the step was whole already. */
  readonly onCommitted: (plan: ExecutionPlan, collector: Collector, isLate: boolean) => void;
  readonly onFailed: (plan: ExecutionPlan, error: RavenError) => void;
  /** Workers refuse what they did before; it is tried again until one takes it. */
  readonly onRefused: (message: string) => void;
  /** States that were being written are there, or never will be. */
  readonly onWritten: () => void;
  /** Calls back after some ms, unless the engine has ended. */
  readonly after: (delayMs: number, act: () => void) => void;
  readonly journal: RunnerJournal;
  /** What an audit needs stays. */
  readonly isAudited: {
    data(ids: readonly number[]): boolean;
    program(hash: ProgramHash): boolean;
  };
  /** Nothing is built on what was answered to this request. */
  readonly onWithdrawn: (point: RequestPoint) => void;
}

const STOPPED_IN_PANEL = 'stopped from the panel';
/** The user is told of a repeated execution that was refused so often. */
const REFUSALS_TOLD = 3;

export class Runner {
  /** Workers that make the next version too. */
  readonly advances: Advances;
  private readonly options: RunnerOptions;
  private readonly handlers: StoreHandlers;
  private readonly queue: Ticket[] = [];
  private readonly active = new Map<number, ActiveExecution>();
  /** They are the journal's, and may end, when their turn has come. */
  private readonly steps = new StepChain<ActiveExecution>();
  private nextExecution = 1;
  /** Sums that wait with their update until a copy of the slots is made. */
  private held: ActiveExecution[] = [];
  /** Versions that the kernel has reached back at most. */
  private lag = 0;
  /** Run and cell of the training step that was asked for last. */
  private training: RunOfCell | null = null;
  /** The run that was stopped last: steps that its cell still sends are refused. */
  private stopped: RunOfCell | null = null;

  constructor(options: RunnerOptions) {
    this.options = options;
    this.advances = new Advances(options.states);
    this.handlers = storeHandlers(options, (version) => {
      this.checkVersion(version);
      this.reachBack(version);
    });
  }

  get isBusy(): boolean {
    return this.active.size + this.queue.length > 0;
  }

  /** How many versions back a request has named a version. */
  get versionLag(): number {
    return this.lag;
  }

  /** A shard is paid. @returns the request that it is part of. */
  paid(execution: number, shard: number): RequestPoint | null {
    const run = this.active.get(execution);
    if (run === undefined) return null;
    if (run.ticket.isRepeat) run.paid.add(shard);
    return run.ticket.point;
  }

  /** The journal has made its copy, or room. */
  resume(): void {
    const ready = this.held.filter((run) => this.mayFinish(run));
    this.held = this.held.filter((run) => !ready.includes(run));
    for (const run of ready) this.finish(run);
    this.pump();
  }

  /** Also for audits: no two executions of a life have one number. */
  newExecution(): ExecutionId {
    return this.nextExecution++ as ExecutionId;
  }

  /** What an audit has to know of an execution. */
  executionOf(execution: number): AuditedExecution | null {
    const run = this.active.get(execution);
    if (run === undefined) return null;
    const { ticket, bound, collector } = run;
    return { point: ticket.point, isEffect: hasEffect(ticket.request), bound, collector };
  }

  submit(ticket: Ticket): void {
    if (this.queue.length >= ENGINE_LIMITS.queuedRequests && !ticket.isRepeat) {
      ticket.reject(
        new RavenError(
          'limit',
          `${String(this.queue.length)} requests wait for the engine; await some of them first`,
        ),
      );
      return;
    }
    const training = runOfCell(ticket);
    if (training !== null) {
      this.training = training;
      if (isSameRun(training, this.stopped) && !ticket.isRepeat) {
        ticket.reject(stopError(STOPPED_IN_PANEL));
        return;
      }
    }
    this.queue.push(ticket);
    this.pump();
  }

  /** Stop: what this cell asked for and is not committed never happens. */
  cancelEpoch(epoch: number): void {
    this.cancelWhere((ticket) => ticket.epoch === epoch, 'stopped');
  }

  /**
   * Ends a run: its executions, and, should Stop fall between two steps, those that the cell has yet to send. A later cell
   * may go on with it. @returns how many executions there were.
   */
  cancelRun(runId: string): number {
    if (this.training?.runId === runId) this.stopped = this.training;
    return this.cancelWhere((ticket) => runOfCell(ticket)?.runId === runId, STOPPED_IN_PANEL);
  }

  accept(
    effect: {
      readonly worker: WorkerId;
      readonly execution: number;
      readonly shard: number;
      readonly count: number;
      readonly index: number;
    },
    done: DoneMessage | null,
  ): void {
    const { worker, execution, shard, count, index } = effect;
    const run = this.active.get(execution);
    const unit = done?.units[index];
    if (run === undefined || unit?.status !== 'ok') return;
    this.advances.accepted(execution, worker, count, run.bound.plan.shards.length);
    run.collector.accept(shard, count, unit.lease, unit.outputs);
  }

  /** Gives back what came in pieces of leases that are void. */
  discard(leases: readonly LeaseId[]): void {
    for (const { collector } of this.active.values()) {
      for (const lease of leases) collector.discard(lease);
    }
  }

  /** A worker will make the next version too, from a sum that it has yet to compute. */
  making(session: WorkerSession, execution: number): void {
    if (!this.advances.making(session, execution)) return;
    const run = this.active.get(execution);
    if (run !== undefined) this.goAhead(run);
  }

  /** All units are in. */
  complete(execution: number, workers: number): void {
    const run = this.active.get(execution);
    if (run === undefined) return;
    run.workers = workers;
    run.collector.whenSummed(() => {
      if (this.mayFinish(run)) this.finish(run);
      else this.held.push(run);
    });
  }

  committed(execution: number): void {
    const run = this.active.get(execution);
    if (run === undefined) return;
    const { bound, collector, ticket, workers } = run;
    this.options.onCommitted(bound.plan, collector, isSameRun(runOfCell(ticket), this.stopped));
    const reply: EngineReply = {
      kind: 'executed',
      outputs: collector.delivered(),
      version: run.version ?? this.options.states.version,
      units: bound.plan.shards.length,
      workers,
    };
    this.end(run);
    ticket.resolve(reply);
    this.settled();
  }

  failed(execution: number, failure: Failure): void {
    const run = this.active.get(execution);
    if (run === undefined) return;
    // Numbers depend on no worker: what was finite and is not now is another run.
    if (run.ticket.isRepeat && failure.code !== 'numeric') {
      this.tryAgain(run, failure);
      return;
    }
    this.options.onWithdrawn(run.ticket.point);
    const behind = this.steps.behind(run);
    this.end(run);
    const error = errorOf(failure, run.bound.plan);
    for (const each of behind) this.dropAhead(each);
    this.options.onFailed(run.bound.plan, error);
    run.ticket.reject(error);
    this.settled();
  }

  /** What was answered before has happened, and can only be done again. */
  private cancelWhere(isOf: (ticket: Ticket) => boolean, why: string): number {
    const matches = (ticket: Ticket): boolean => !ticket.isRepeat && isOf(ticket);
    const error = stopError(why);
    let count = 0;
    for (let i = this.queue.length - 1; i >= 0; i--) {
      const ticket = this.queue[i];
      if (ticket === undefined || !matches(ticket)) continue;
      this.queue.splice(i, 1);
      ticket.reject(error);
      count++;
    }
    for (const run of [...this.active.values()]) {
      // With the one before it, maybe.
      if (!this.active.has(run.id)) continue;
      const isRunning = this.options.cluster.executions.get(run.id)?.status === 'running';
      if (!isRunning || !matches(run.ticket)) continue;
      this.options.feed({ kind: 'cancelled', execution: run.id });
      this.options.onWithdrawn(run.ticket.point);
      const behind = this.steps.behind(run);
      this.end(run);
      run.ticket.reject(error);
      count++;
      for (const each of behind) {
        const isMatch = matches(each.ticket);
        if (isMatch) count++;
        this.dropAhead(each, isMatch ? error : undefined);
      }
    }
    this.settled();
    return count;
  }

  /** Starts whatever can start, in order. */
  private pump(): void {
    for (let ticket = this.queue[0]; ticket !== undefined; ticket = this.queue[0]) {
      const isAhead = this.canStartAhead(ticket);
      if (!isAhead && !this.canStart(ticket.request)) return;
      this.queue.shift();
      const isEffect = hasEffect(ticket.request);
      if (!isAhead) this.options.journal.started(ticket.point, isEffect);
      try {
        if (ticket.request.kind === 'execute') this.start(ticket.request.plan, ticket);
        else ticket.resolve(this.carryOut(ticket.request));
      } catch (error) {
        ticket.reject(error);
      }
      if (isEffect && this.steps.turn === null) this.options.journal.quiet();
    }
  }

  private carryOut(request: Exclude<QueuedRequest, { kind: 'execute' }>): EngineReply {
    const handle = this.handlers[request.kind] as (some: typeof request) => EngineReply;
    return handle(request);
  }

  /** An execution has ended. */
  private settled(): void {
    const { steps, options } = this;
    // With answers of the next step in, what is counted is not that of the versions.
    const isBetween = steps.every(({ id, bound }) => {
      const { unitsLeft } = options.cluster.executions.get(id) ?? {};
      return unitsLeft === bound.plan.shards.length;
    });
    if (steps.turn === null && isBetween) options.journal.quiet();
    if (steps.turn === null && steps.first !== null) this.promote(steps.first);
    this.pump();
  }

  /** Whether nothing has to come before its version, if it makes one. */
  private mayFinish(run: ActiveExecution): boolean {
    return !this.options.journal.isCopying && this.steps.placeOf(run) <= 0;
  }

  /** The version that it began with is committed: it is a step like any other from now on. */
  private promote(run: ActiveExecution): void {
    this.steps.takeTurn(run);
    this.options.journal.started(run.ticket.point, true);
    if (!this.held.includes(run)) {
      this.goAhead(run);
      return;
    }
    if (!this.mayFinish(run)) return;
    this.held = this.held.filter((each) => each !== run);
    this.finish(run);
  }

  /** The version that it began with will not be. */
  private dropAhead(
    run: ActiveExecution,
    error: RavenError = noVersion(namedVersion(run.bound.plan), this.options.states.version),
  ): void {
    this.end(run);
    this.callOff(run);
    this.options.onWithdrawn(run.ticket.point);
    run.ticket.reject(error);
  }

  /** Nobody works on it any more; it has ended here before. */
  private callOff(run: ActiveExecution): void {
    const isRunning = this.options.cluster.executions.get(run.id)?.status === 'running';
    const failure: Failure = { code: 'cluster', message: 'called off', shard: -1, output: -1 };
    if (isRunning) this.options.feed({ kind: 'cancelled', execution: run.id });
    else this.reject(run, failure);
  }

  /**
   * Whether a step can begin with a version that is not there yet: the one after a step of the same run, whose worker makes
   * that version itself.
   */
  private canStartAhead({ request, isRepeat }: Ticket): boolean {
    const { states, journal } = this.options;
    const { length } = this.steps;
    const isOpen = length > 0 && length <= ENGINE_LIMITS.stepsAhead && states.promised === length;
    if (request.kind !== 'execute' || isRepeat || !isOpen) return false;
    const { step, updates } = request.plan;
    if (step === null || updates.length === 0 || journal.isFull || journal.isCopying) return false;
    return (
      this.active.size < ENGINE_LIMITS.executions &&
      this.training?.runId === step.runId &&
      namedVersion(request.plan) === states.version + length
    );
  }

  /** Head of the queue only: a request that has to wait holds up those behind it, which keeps their order. */
  private canStart(request: QueuedRequest): boolean {
    const isUpdating = this.steps.turn !== null;
    switch (request.kind) {
      case 'execute':
        if (this.active.size >= ENGINE_LIMITS.executions || this.options.journal.isFull) {
          return false;
        }
        if (request.plan.updates.length > 0) return !isUpdating;
        return !isUpdating || namedVersion(request.plan) <= this.options.states.version;
      case 'readStates':
        return !isUpdating || request.version <= this.options.states.version;
      case 'createState':
      case 'dropStates':
      case 'readSlots':
      case 'writeSlots':
        return !isUpdating;
      case 'createData':
      case 'dropData':
        return !this.usesData(request);
      case 'attach':
        // A new kernel replays onto what the ones before did: that must be safe first.
        return this.active.size === 0 && this.options.journal.settle();
      case 'mark':
        return !isUpdating;
      case 'defineProgram':
      case 'openRun':
      case 'adopt':
        return true;
    }
  }

  private usesData(request: Extract<QueuedRequest, { kind: 'createData' | 'dropData' }>): boolean {
    const ids: readonly number[] = request.kind === 'dropData' ? request.dataIds : [request.dataId];
    const isRead = [...this.active.values()].some(({ bound }) => readsData(bound, ids));
    return isRead || this.options.isAudited.data(ids);
  }

  private start(plan: ExecutionPlan, ticket: Ticket): void {
    const { states, data, runs } = this.options;
    const isAhead = this.steps.turn !== null && plan.updates.length > 0;
    if (!isAhead) this.checkVersion(namedVersion(plan));
    const run = runs.started(plan);
    for (const input of plan.inputs) if (input.kind === 'state') this.reachBack(input.version);
    if (plan.step !== null) this.dropInheritance();
    const id = this.newExecution();
    const bound = bindPlan(id, plan, {
      ...{ states, data, run },
      program: (hash) => this.options.programs.get(hash),
    });
    this.options.programs.use(bound.programs, (hash) => this.isActive(hash));
    const releases = bound.revisions.map((revision) => states.pin(revision));
    const paid = new Set(this.options.journal.paidOf(ticket.point));
    this.launch({ id, ticket, bound, releases, paid, refusals: 0 });
  }

  /** Hands it to the scheduler. */
  private launch(
    begun: Omit<ActiveExecution, 'collector' | 'workers' | 'version' | 'drafts'>,
  ): void {
    const { id, bound, paid } = begun;
    const { heap, reducers, beforeSubmit, feed } = this.options;
    const collector = new Collector(bound, heap, reducers);
    const run: ActiveExecution = { ...begun, collector, workers: 0, version: null, drafts: null };
    this.active.set(id, run);
    if (bound.plan.updates.length > 0) this.steps.add(run);
    beforeSubmit();
    const { spec } = bound;
    feed({
      kind: 'submitted',
      spec: paid.size === 0 ? spec : { ...spec, paidShards: new Set(paid) },
    });
  }

  /**
   * Repeats what workers refuse now and did before, at the same place: it stays active, so nothing overtakes it, and keeps
   * what it reads and what of it is paid.
   */
  private tryAgain(run: ActiveExecution, failure: Failure): void {
    const { engineRestartMinMs, engineRestartMaxMs } = ENGINE_LIMITS;
    const { ticket, bound, releases, paid } = run;
    run.collector.close();
    this.takeBack(run);
    const refusals = run.refusals + 1;
    if (refusals === REFUSALS_TOLD) this.options.onRefused(failure.message);
    const pauseMs = Math.min(engineRestartMaxMs, engineRestartMinMs * 2 ** run.refusals);
    this.options.after(pauseMs, () => {
      this.leave(run);
      const id = this.newExecution();
      const again = { ...bound, spec: { ...bound.spec, id } };
      this.launch({ id, ticket, bound: again, releases, paid, refusals });
    });
  }

  /** What earlier sessions left and this one did not adopt, at its first training step. */
  private dropInheritance(): void {
    const { states, data, runs } = this.options;
    const inheritance = runs.takeInheritance();
    if (inheritance === null) return;
    const { firstOwnId, adopted } = inheritance;
    states.drop(states.ids().filter((id) => id < firstOwnId && !adopted.has(id)));
    data.drop(data.ids().filter((id) => id < firstOwnId));
  }

  private reachBack(version: number): void {
    this.lag = Math.max(this.lag, this.options.states.version - version);
  }

  private isActive(hash: ProgramHash): boolean {
    const isRead = [...this.active.values()].some(({ bound }) =>
      bound.plan.programs.includes(hash),
    );
    return isRead || this.options.isAudited.program(hash);
  }

  private checkVersion(version: number): void {
    const { version: committed } = this.options.states;
    if (version > committed) throw noVersion(version, committed);
  }

  /** Sums are made: update the states, or just answer. */
  private finish(run: ActiveExecution): void {
    const { bound, collector } = run;
    if (bound.plan.updates.length === 0) {
      this.options.feed({ kind: 'reduced', execution: run.id, failure: null });
      return;
    }
    const scratch: Block[] = [];
    try {
      // What a step makes whose turn has only come now is kept too.
      this.goAhead(run);
      if (run.drafts !== null && !this.advances.isTaken(run.id)) this.recall(run, run.drafts);
      const { states, reducers } = this.options;
      const plan = settledPlan(bound.plan, collector);
      const drafts = (run.drafts ??= draftsOf(plan, states));
      const made = { collector, drafts, scratch };
      const { batch, reducer } = updateBatchOf(plan, made, this.options);
      const hasTime = this.steps.length > 1;
      reducers[reducer].run({ kind: 'update', batch, hasTime }, (output) => {
        this.commit(run, drafts, scratch, output);
      });
    } catch (error) {
      for (const block of scratch) this.options.heap.free(block);
      if (!(error instanceof RavenError)) throw error;
      const { code, message } = error;
      this.reject(run, { code, message, shard: -1, output: -1 });
    }
  }

  /** Before its sum is here, the worker that makes the version too may have the next step. */
  private goAhead(run: ActiveExecution): void {
    const { advances } = this;
    const { states } = this.options;
    const isNext = this.steps.turn !== null && this.steps.placeOf(run) === states.promised;
    if (!isNext || run.drafts !== null || !advances.canKeep(run.id)) return;
    // Slots that are made anew would be taken from the step before it.
    if (states.promised > 0 && !haveSlots(run.bound.plan, states)) return;
    try {
      run.drafts = draftsOf(run.bound.plan, this.options.states);
    } catch (error) {
      // Then its own update will find the room, or say that there is none.
      if (error instanceof RavenError) return;
      throw error;
    }
    const promised = advances.keep(run.id, run.drafts);
    if (promised === null) return;
    this.options.feed({ kind: 'making', ...promised });
    this.pump();
  }

  /** It has no version to make any more, or not yet. */
  private takeBack(run: ActiveExecution): void {
    if (run.drafts === null) return;
    this.recall(run, run.drafts);
    this.options.states.discard(run.drafts);
    run.drafts = null;
  }

  /** The result came from somebody else: what was begun with the promised version is begun again with the real one. */
  private recall(run: ActiveExecution, drafts: readonly Draft[]): void {
    for (const each of this.steps.behind(run)) {
      this.end(each);
      this.callOff(each);
      this.queue.unshift(each.ticket);
    }
    this.options.states.withdraw(drafts);
    this.options.onWritten();
  }

  private commit(
    run: ActiveExecution,
    drafts: readonly Draft[],
    scratch: readonly Block[],
    notFinite: number,
  ): void {
    for (const block of scratch) this.options.heap.free(block);
    if (notFinite >= 0) {
      const message = `output ${String(notFinite)} is NaN or infinite when summed over all micro-shards`;
      this.reject(run, { code: 'numeric', message, shard: -1, output: notFinite });
      return;
    }
    run.version = this.advances.commit(run.id, drafts);
    run.drafts = null;
    this.options.onWritten();
    this.options.runs.committed(run.bound.plan, run.version);
    this.options.feed({ kind: 'reduced', execution: run.id, failure: null });
  }

  private reject(run: ActiveExecution, failure: Failure): void {
    this.options.feed({ kind: 'reduced', execution: run.id, failure });
  }

  /** Whatever follows is of another execution. */
  private leave(run: ActiveExecution): void {
    this.active.delete(run.id);
    this.steps.remove(run);
    this.advances.ended(run.id);
  }

  private end(run: ActiveExecution): void {
    this.leave(run);
    this.held = this.held.filter((each) => each !== run);
    if (run.drafts !== null) {
      this.options.states.discard(run.drafts);
      run.drafts = null;
      this.options.onWritten();
    }
    run.collector.close();
    for (const release of run.releases) release();
  }
}
