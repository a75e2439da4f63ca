/**
 * @file The worker at work: messages become events of the lease machine, its effects become messages to the engine and to
 * the compute thread. Decides nothing itself; shows nothing.
 */
import type {
  ByeMessage,
  BlobMessage,
  EngineId,
  EngineToWorker,
  HelloMessage,
  PingMessage,
  ProgramHash,
  ProgramMessage,
  RunMessage,
  WelcomeMessage,
  WireError,
  WorkerToEngine,
} from '@ravenlab/protocol';
import {
  LIMITS,
  RavenError,
  RemoteProtocolError,
  WALLET_LIMITS,
  WORKER_LIMITS,
  decodeEngineMessage,
  encodeWorkerMessage,
  joinChunks,
  messageBytes,
  toWireError,
} from '@ravenlab/protocol';
import { ComputeClient } from '../compute/computeClient.js';
import type {
  ComputeOptions,
  ComputeReady,
  ComputeResults,
  ToCompute,
  UnitOutcome,
} from '../compute/computeMessages.js';
import type { QuickRuns } from '../compute/quickRuns.js';
import type { WorkerEffect, WorkerEvent } from '../core/events.js';
import { step } from '../core/machine.js';
import type { WorkerState } from '../core/state.js';
import { initialState, isComplete, keysOf } from '../core/state.js';
import type { DealMessage, PayView } from '../wallet/payDesk.js';
import { answersOf } from './answers.js';
import { Assembly } from './assembly.js';
import { ownRun, packBatch } from './computeInputs.js';
import type { Link, LinkOptions } from './engineLink.js';
import { linkTo } from './linkTo.js';
import { checkedOutcome, coveredUnits, openOutcomes, samplesPerUnit } from './outcomes.js';
import type { PaidWork, PayOptions } from './paidWork.js';
import { readProgram } from './readProgram.js';

/** What the worker tells of itself; the rest of HELLO is known when the compute thread is ready. */
export type Introduction = Pick<HelloMessage, 'workerId' | 'token' | 'incarnation' | 'name'>;

export interface RuntimeOptions {
  readonly link: LinkOptions;
  readonly compute: ComputeOptions;
  readonly introduction: Introduction;
  /** Runs small batches on this thread; null: none. Programs of strangers have no business beside our keys. */
  readonly quick: QuickRuns | null;
  /** The account to be paid on; null: works unpaid. */
  readonly pay: PayOptions | null;
}

/** What a person may want to know. */
export interface RuntimeEvents {
  ready(ready: ComputeReady): void;
  welcome(message: WelcomeMessage): void;
  disconnected(): void;
  unitsDone(done: {
    readonly units: number;
    readonly failed: number;
    readonly samples: number;
  }): void;
  earned(units: number, amount: bigint): void;
  paid(view: PayView): void;
  problem(error: WireError): void;
  /** The worker's life ends; `error` null when all is well. */
  ended(reason: ByeMessage['reason'] | 'stopped', error: RavenError | null): void;
}

/** Credit below this many bytes may wait a little for company. */
const SMALL_CREDIT_BYTES = 64 * 1024;
const CREDIT_DELAY_MS = 10;
const WATCH_MS = 1000;
const LEASES_PER_WALL = 10;

const LAST_VOUCHER: WireError = {
  code: 'chain',
  message: 'all is done; waiting for the last voucher. Ctrl-C again does not wait',
  fault: 'remote',
  retryable: true,
};

type Readers = {
  readonly [K in EngineToWorker['kind']]: (message: Extract<EngineToWorker, { kind: K }>) => void;
};

export class WorkerRuntime {
  private readonly options: RuntimeOptions;
  private readonly events: RuntimeEvents;
  private readonly link: Link;
  private readonly compute: ComputeClient;
  private readonly state: WorkerState;
  private readonly assembly = new Assembly();
  /** For a compute thread that starts anew. */
  private readonly programs = new Map<ProgramHash, Uint8Array>();
  private ready: ComputeReady | undefined;
  private paidWork: PaidWork | null = null;
  private engineId: EngineId | undefined;
  private isWelcome = false;
  private consumedBytes = 0;
  private creditedBytes = 0;
  private creditTimer: NodeJS.Timeout | undefined;
  private watchTimer: NodeJS.Timeout | undefined;
  private lastHeardMs = 0;
  /** A unit that takes longer is stuck. */
  private wallMs: number = WORKER_LIMITS.unitWallMs;
  /** Runs while a worker that is done waits to be promised what it delivered. */
  private lastVoucherTimer: NodeJS.Timeout | undefined;
  private hasEnded = false;

  constructor(options: RuntimeOptions, events: RuntimeEvents) {
    this.options = options;
    this.events = events;
    this.state = initialState(options.compute.memoryBytes);
    this.link = linkTo(options.link, {
      up: () => this.sayHello(),
      down: () => this.loseEngine(),
      message: (frames) => this.receive(frames),
      refused: (error) => this.end('refused', error),
      failed: (error) => this.failed(error),
    });
    this.compute = new ComputeClient(options.compute, {
      results: (message) => {
        if (this.takeResults(message)) this.compute.giveBack(message);
      },
      crashed: (error) => this.computeCrashed(error),
      hopeless: (error) => this.end('stopped', error),
    });
  }

  /** Starts the compute thread, then joins. @throws RavenError when the backend does not start. */
  async start(): Promise<void> {
    this.ready = await this.compute.start();
    this.paidWork = await this.makePaidWork(this.ready.gflops);
    this.events.ready(this.ready);
    if (this.hasEnded) return;
    this.watchTimer = setInterval(() => this.watch(), WATCH_MS);
    this.link.open();
  }

  /** Takes no new units and leaves when those it has are done. */
  drain(): void {
    if (this.state.draining) return;
    this.state.draining = true;
    if (!this.isWelcome) {
      this.end('stopped', null);
      return;
    }
    this.send({ kind: 'bye', reason: 'drain', message: 'stopped by its owner' });
    this.leaveWhenDrained();
  }

  /** Leaves at once; units that run are lost, and the engine gives them to others. */
  leave(): void {
    if (this.isWelcome) {
      this.send({ kind: 'bye', reason: 'leave', message: 'stopped by its owner' });
    }
    this.end('stopped', null);
  }

  get queuedUnits(): number {
    return this.state.leases.size;
  }

  /**
   * Frees threads and sockets.
   * @returns false when a unit does not end; the process must then be ended by a signal.
   */
  async close(): Promise<boolean> {
    clearInterval(this.watchTimer);
    clearTimeout(this.creditTimer);
    clearTimeout(this.lastVoucherTimer);
    this.options.quick?.close();
    const closing = [this.link.close(), this.paidWork?.close()];
    const [isFree] = await Promise.all([this.compute.close(), ...closing]);
    return isFree;
  }

  // ---------------------------------------------------------------- conversation

  private sayHello(): void {
    if (this.ready === undefined) return;
    const { introduction, compute } = this.options;
    const { deviceName, version, gflops } = this.ready;
    this.lastHeardMs = performance.now();
    this.send({
      kind: 'hello',
      ...introduction,
      payee: this.options.pay?.account.address ?? null,
      capabilities: {
        backend: compute.backend,
        device: deviceName.slice(0, LIMITS.deviceChars),
        threads: compute.threads,
        memoryBytes: compute.memoryBytes,
        gflops,
        dtypes: ['float32', 'int32', 'bool'],
        bitClass: `${compute.backend} ${version} ${compute.instructions}`.slice(
          0,
          LIMITS.bitClassChars,
        ),
      },
      held: this.held(),
    });
  }

  private held(): HelloMessage['held'] {
    if (this.engineId === undefined) return null;
    const whole = [...this.state.blobs.values()].filter(isComplete).slice(-LIMITS.refsPerMessage);
    return {
      engineId: this.engineId,
      // Programs get their index by a message anyway, and that message carries them.
      programs: [],
      states: whole.flatMap(({ ref }) =>
        ref.kind === 'state' ? [{ stateId: ref.stateId, version: ref.version }] : [],
      ),
      blocks: whole.flatMap(({ ref }) =>
        ref.kind === 'block' ? [{ dataId: ref.dataId, block: ref.block }] : [],
      ),
    };
  }

  private receive(frames: readonly Uint8Array[]): void {
    this.lastHeardMs = performance.now();
    const decoded = decodeEngineMessage(frames);
    if (!decoded.ok) {
      this.breakOff(decoded.error);
      return;
    }
    const message = decoded.value;
    if (message.kind === 'program' || message.kind === 'run' || message.kind === 'blob') {
      this.consumedBytes += messageBytes(frames);
      this.scheduleCredit();
    }
    const read = this.readers[message.kind] as (message: EngineToWorker) => void;
    read(message);
  }

  private readonly readers: Readers = {
    welcome: (message) => this.welcome(message),
    program: (message) => this.takeProgram(message),
    run: (run) => this.takeRun(run),
    blob: (message) => this.takeBlob(message),
    advance: (message) => this.feed({ kind: 'advance', message }),
    keep: (message) => this.feed(message),
    cancel: ({ executions, leases }) => this.feed({ kind: 'cancel', executions, leases }),
    drop: ({ programs, states, data, blocks }) =>
      this.feed({ kind: 'drop', programs, states, data, blocks }),
    ping: (message) => this.answerPing(message),
    challenge: (message) => this.takeDeal(message),
    terms: (message) => this.takeDeal(message),
    voucher: (message) => this.takeDeal(message),
    meter: ({ committedUnits, earnedUnits }) => this.events.earned(committedUnits, earnedUnits),
    error: ({ error }) => this.events.problem(error),
    bye: (message) => this.takeBye(message),
  };

  private takeDeal(message: DealMessage): void {
    const { kind } = message;
    if (this.paidWork !== null) this.paidWork.receive(message);
    // What only those are told who named a payee in their HELLO.
    else this.breakOff(new RemoteProtocolError(`${kind} for a worker without a payee`, { kind }));
  }

  private async makePaidWork(gflops: number): Promise<PaidWork | null> {
    const { pay } = this.options;
    if (pay === null) return null;
    // Who works unpaid, an engine's own worker above all, does not wait for libraries of curves and chains.
    const { PaidWork } = await import('./paidWork.js');
    return new PaidWork(pay, gflops, {
      send: (message) => this.send(message),
      released: (start, skips) => {
        this.startBatch(start);
        for (const skip of skips) this.post(skip);
      },
      left: (reason, error) => {
        this.send({ kind: 'bye', reason, message: error.message.slice(0, LIMITS.errorChars) });
        this.end('stopped', error);
      },
      changed: () => this.leaveWhenDrained(),
      paid: (view) => this.events.paid(view),
      notice: (message) =>
        this.events.problem({ code: 'chain', message, fault: 'remote', retryable: true }),
    });
  }

  private breakOff(error: RavenError): void {
    this.send({ kind: 'error', error: toWireError(error) });
    this.send({ kind: 'bye', reason: 'protocol', message: error.message });
    this.end('protocol', error);
  }

  private welcome(message: WelcomeMessage): void {
    if (this.engineId !== undefined && this.engineId !== message.engineId) this.forgetEverything();
    this.engineId = message.engineId;
    this.isWelcome = true;
    this.consumedBytes = 0;
    this.creditedBytes = 0;
    this.events.welcome(message);
  }

  /** Ids mean nothing to another engine. */
  private forgetEverything(): void {
    const refs = [...this.state.blobs.values()].map(({ ref }) => ref);
    this.feed({
      kind: 'drop',
      programs: [],
      states: refs.flatMap((ref) => (ref.kind === 'state' ? [ref] : [])),
      data: [],
      blocks: refs.flatMap((ref) => (ref.kind === 'block' ? [ref] : [])),
    });
  }

  private takeProgram(message: ProgramMessage): void {
    // A copy: the thread gets a buffer of its own, not a view of a frame.
    const bytes = Uint8Array.from(joinChunks(message.bytes));
    const entry = readProgram(message.hash, bytes);
    if (entry.kind === 'known' && !this.programs.has(message.hash)) {
      this.programs.set(message.hash, bytes);
      this.compute.post({ kind: 'program', hash: message.hash, bytes });
      this.options.quick?.define(entry.info, bytes);
    }
    this.feed({ kind: 'program', index: message.index, entry });
  }

  private takeRun(run: RunMessage): void {
    this.wallMs = Math.max(WORKER_LIMITS.unitWallMs, LEASES_PER_WALL * run.leaseMs);
    this.feed({ kind: 'run', run: ownRun(run) });
  }

  private takeBlob(message: BlobMessage): void {
    for (const chunk of message.chunks) {
      const { offsetBytes, totalBytes } = chunk;
      const bytes = messageBytes(chunk.bytes);
      const ref =
        chunk.kind === 'state'
          ? ({ kind: 'state', stateId: chunk.stateId, version: chunk.version } as const)
          : ({ kind: 'block', dataId: chunk.dataId, block: chunk.block } as const);
      const effects = step(this.state, { kind: 'chunk', ref, offsetBytes, totalBytes, bytes });
      for (const effect of effects) {
        if (effect.kind !== 'store') {
          this.carryOut(effect);
          continue;
        }
        this.assembly.write(effect.key, chunk, effect.begins);
        if (effect.ends) this.handOver(effect.key);
      }
    }
  }

  private handOver(key: string): void {
    const bytes = this.assembly.take(key);
    this.options.quick?.put(key, bytes);
    this.compute.post({ kind: 'tensor', key, bytes }, [bytes.buffer as ArrayBuffer]);
  }

  private answerPing({ seq, sentMs }: PingMessage): void {
    this.send({
      kind: 'pong',
      seq,
      sentMs,
      queuedUnits: this.state.leases.size,
      busyMs: this.compute.busyMs,
      heldBytes: this.state.heldBytes,
    });
  }

  private takeBye({ reason, message }: ByeMessage): void {
    if (reason === 'expelled') {
      // Mostly it heard nothing from here for too long, or too many came at once: not all come back at once.
      this.link.restart(WORKER_LIMITS.reconnectMinMs * (1 + 9 * Math.random()));
      return;
    }
    const isFine = reason === 'leave' || reason === 'shutdown' || reason === 'drain';
    const error = isFine ? null : new RavenError('cluster', `the engine said goodbye: ${message}`);
    this.end(reason, error);
  }

  // ---------------------------------------------------------------- machine

  private feed(event: WorkerEvent): void {
    for (const effect of step(this.state, event)) this.carryOut(effect);
  }

  private carryOut(effect: WorkerEffect): void {
    switch (effect.kind) {
      case 'need':
        this.send(effect);
        return;
      case 'start':
        if (this.paidWork?.holds(effect) !== true) this.startBatch(effect);
        return;
      case 'fail':
        this.send({
          kind: 'done',
          execution: effect.execution,
          outputBytes: [],
          units: effect.units,
        });
        this.events.unitsDone({ units: 0, failed: effect.units.length, samples: 0 });
        this.leaveWhenDrained();
        return;
      case 'forget':
        this.assembly.forget(effect.keys);
        this.options.quick?.forget(effect.keys);
        this.post(effect);
        return;
      case 'forgetProgram':
        this.programs.delete(effect.hash);
        this.options.quick?.forgetProgram(effect.hash);
        this.post(effect);
        return;
      case 'advance':
        this.post(effect);
        this.send({ kind: 'making', execution: effect.message.execution });
        return;
      case 'unmade':
        this.send(effect);
        return;
      case 'keep':
      case 'forgetSlots':
        this.post(effect);
        return;
      case 'skip':
        if (this.paidWork?.skips(effect) !== true) this.post(effect);
        return;
      case 'answer':
      case 'store':
        throw new Error(`${effect.kind} answers an event that has its own path`);
    }
  }

  private startBatch({ batch, hash }: Extract<WorkerEffect, { kind: 'start' }>): void {
    const { quick } = this.options;
    const { message, transfer } = packBatch(batch.id, hash, batch.run);
    const outcomes = quick?.run(message, () => keysOf(batch.run)) ?? null;
    if (outcomes === null) this.compute.post(message, transfer);
    else this.takeResults({ kind: 'results', batch: batch.id, outcomes });
  }

  /** @returns whether nobody reads the outputs any more. */
  private takeResults({ batch, outcomes: said }: ComputeResults): boolean {
    const started = this.state.batches.get(batch);
    if (started === undefined) return true;
    let isCopied = true;
    const { run, outputBytes } = started;
    const outcomes = said.map((outcome) => checkedOutcome(outcome, outputBytes));
    if (outcomes.some(({ isAdvancing }) => isAdvancing === true)) {
      // First of all: the next batch may begin while this one's results are sent.
      this.feed({ kind: 'advanced', execution: run.execution });
    }
    const covered = outcomes.map((outcome) => coveredUnits(run, outcome));
    for (const effect of step(this.state, { kind: 'computed', batch, units: covered.flat() })) {
      if (effect.kind !== 'answer') {
        this.carryOut(effect);
        continue;
      }
      const open = new Set(effect.units);
      const wanted = outcomes.flatMap((outcome, i) =>
        openOutcomes(outcome, covered[i] ?? [], open),
      );
      for (const message of answersOf(effect.batch, wanted))
        isCopied = this.send(message) && isCopied;
      this.paidWork?.delivered(effect.batch, wanted);
      this.count(run, wanted);
    }
    this.leaveWhenDrained();
    return isCopied;
  }

  private count(run: RunMessage, outcomes: readonly UnitOutcome[]): void {
    const units = outcomes
      .filter(({ status }) => status === 'ok')
      .reduce((sum, outcome) => sum + coveredUnits(run, outcome).length, 0);
    const failed = outcomes.filter(
      ({ status }) => status === 'failed' || status === 'nonFinite',
    ).length;
    this.events.unitsDone({ units, failed, samples: units * samplesPerUnit(run) });
  }

  private computeCrashed(error: WireError): void {
    this.events.problem(error);
    this.options.quick?.forgetAll();
    this.feed({ kind: 'crashed', error });
    for (const [hash, bytes] of this.programs) this.post({ kind: 'program', hash, bytes });
  }

  private post(message: ToCompute): void {
    this.compute.post(message);
  }

  // ---------------------------------------------------------------- upkeep

  private scheduleCredit(): void {
    const owed = this.consumedBytes - this.creditedBytes;
    if (owed >= LIMITS.creditEveryBytes) {
      this.sendCredit();
      return;
    }
    if (owed >= SMALL_CREDIT_BYTES) setImmediate(() => this.sendCredit());
    else this.creditTimer ??= setTimeout(() => this.sendCredit(), CREDIT_DELAY_MS);
  }

  private sendCredit(): void {
    clearTimeout(this.creditTimer);
    this.creditTimer = undefined;
    if (!this.isWelcome || this.creditedBytes === this.consumedBytes) return;
    this.creditedBytes = this.consumedBytes;
    this.send({ kind: 'credit', consumedBytes: this.consumedBytes });
  }

  private watch(): void {
    this.compute.watch(this.wallMs);
    const silentMs = performance.now() - this.lastHeardMs;
    const patienceMs = this.isWelcome ? LIMITS.heartbeatTimeoutMs : WORKER_LIMITS.welcomeMs;
    if (this.lastHeardMs === 0 || silentMs < patienceMs + LIMITS.heartbeatMs) return;
    this.lastHeardMs = performance.now();
    this.link.restart();
  }

  private leaveWhenDrained(): void {
    if (!this.state.draining || this.state.leases.size > 0) return;
    if (this.paidWork?.isOwed !== true) {
      this.leave();
      return;
    }
    if (this.lastVoucherTimer !== undefined) return;
    this.lastVoucherTimer = setTimeout(() => this.leave(), WALLET_LIMITS.lastVoucherMs);
    this.events.problem(LAST_VOUCHER);
  }

  private loseEngine(): void {
    this.isWelcome = false;
    this.feed({ kind: 'disconnected' });
    this.paidWork?.disconnected();
    this.events.disconnected();
    if (this.state.draining) this.end('stopped', null);
  }

  /** @returns whether what the message carries may change now. */
  private send(message: WorkerToEngine): boolean {
    return this.link.send(encodeWorkerMessage(message));
  }

  private failed(error: Error): void {
    this.end(
      'stopped',
      new RavenError('cluster', `the socket failed: ${error.message}`, { cause: error }),
    );
  }

  private end(reason: ByeMessage['reason'] | 'stopped', error: RavenError | null): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.events.ended(reason, error);
  }
}
