/**
 * @file The engine as the kernel's main thread sees it: a process that is started on first use, found again after a restart of
 * the kernel, started again after a crash of its own; a request and its answer; a panel state.
 */
import { randomBytes } from 'node:crypto';
import type {
  EngineId,
  EngineReply,
  EngineRequest,
  PanelArgs,
  PanelOp,
  PanelResults,
  PanelSource,
  PanelState,
} from '@ravenlab/protocol';
import {
  ClusterError,
  EMPTY_PANEL_STATE,
  ENGINE_LIMITS,
  RavenError,
  fromWireError,
} from '@ravenlab/protocol';
import type { ReplayedRequest } from '../core/journal/replayLog.js';
import { ReplayLog } from '../core/journal/replayLog.js';
import { chainChoice } from './chain/chainChoice.js';
import { cutBlocks } from './dataStore.js';
import { bytesOfRequest, hasEffect } from './effects.js';
import { readEngineEnv } from './engineEnv.js';
import { dataHome, engineFolder, newEngineId } from './engineId.js';
import type { EngineProcess, TalkOptions } from './engineProcess.js';
import { EngineBusyError, isAlive, joinEngine, startEngine } from './engineProcess.js';
import type { EngineAddress } from './engineRegistry.js';
import {
  findEngines,
  forgetEngine,
  readAddress,
  rememberEngine,
  withdrawAddress,
} from './engineRegistry.js';
import type { KernelRequest, Notice, ToKernel } from './kernelWire.js';
import { idlePanel, withoutEngine } from './panelAway.js';
import { bytesOf } from './tensorBytes.js';

export interface EngineClientOptions {
  /** Shown to the user: nobody to work, a worker that crashed, the engine's death. */
  readonly onNotice?: (notice: Notice) => void;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Names under which a restarted kernel of the same notebook finds its engine again; the surest first. */
  readonly keys?: readonly string[];
  /** Compiled entry of the engine process; for tests. */
  readonly entry?: string;
}

interface Waiting {
  readonly epoch: number;
  readonly resolve: (reply: EngineReply) => void;
  readonly reject: (error: RavenError) => void;
}

/** A request that waits for the journal to catch up. */
interface Held extends Waiting {
  readonly request: KernelRequest;
}

/** Epochs of stopped cells that are remembered; cells are stopped one at a time, so few are needed. */
const STOPPED_KEPT = 64;
/** The engine learns within this time which answers have been read, if no request tells it before; ms. */
const ACK_MS = 5;
/** How often, and after which pause, a kernel asks again for an engine that still has another one; ms. */
const BUSY_TRIES = 4;
const BUSY_PAUSE_MS = 100;
/** Waiting for the journal is told after this long; ms. */
const HELD_NOTICE_MS = 2_000;

export class EngineClient implements PanelSource {
  private readonly options: EngineClientOptions;
  private readonly env: Readonly<Record<string, string | undefined>>;
  private engine: Promise<EngineProcess> | null = null;
  private ready: EngineProcess | null = null;
  private engineId: EngineId | null = null;
  /** What the engine knows this kernel by; another one when all was lost. */
  private name = newName();
  private session = 0;
  private log = newLog();
  private readonly waiting = new Map<number, Waiting>();
  private held: Held[] = [];
  private heldTimer: NodeJS.Timeout | null = null;
  private readonly stopped = new Set<number>();
  private readonly listeners = new Set<() => void>();
  private panelState: PanelState;
  private nextId = 1;
  private ackedTold = 0;
  private ackTimer: NodeJS.Timeout | null = null;
  /** Request that attached, and the version that it found. */
  private base: { readonly id: number; readonly version: number } | null = null;
  private isClosed = false;
  /** Starts in a row after which nothing was journaled, and why the last one ended. */
  private deaths = 0;
  private lastWords = '';
  /** The engine ends because some of what it did is wrong, and is to be done again. */
  private isRewinding = false;
  private lostEngines = 0;
  /** An engine was lost while no request waited for it: the first cell that asks is told, in all that it asks. */
  private loss: { readonly error: ClusterError; toldEpoch: number | null } | null = null;

  constructor(options: EngineClientOptions = {}) {
    this.options = options;
    this.env = options.env ?? process.env;
    this.panelState = this.idle();
  }

  /**
   * Asks the engine, starting it if it does not run. Requests are sent in call order. Arrays of a request must not change
   * any more: they are sent again if the engine dies before its journal has them.
   * @param epoch of the cell that asks.
   * Rejects with the engine's RavenError, 'interrupted' for a stopped cell, or ClusterError when there is no engine.
   */
  request(request: EngineRequest, epoch = 0): Promise<EngineReply> {
    if (this.stopped.has(epoch)) return Promise.reject(interrupted());
    const loss = request.kind === 'command' ? null : this.lossFor(epoch);
    if (loss !== null) return Promise.reject(loss);
    return new Promise((resolve, reject) => {
      const held: Held = { epoch, resolve, reject, request: toWire(request) };
      // Commands pass: they are how one looks at an engine that waits.
      if (request.kind !== 'command' && this.held.length > 0) this.hold(held);
      else if (!this.submit(held)) this.hold(held);
    });
  }

  /** Stop: everything this cell epoch waits for rejects, and what it asked for does not happen any more. */
  cancelEpoch(epoch: number): void {
    this.stopped.add(epoch);
    const [oldest] = this.stopped;
    if (this.stopped.size > STOPPED_KEPT && oldest !== undefined) this.stopped.delete(oldest);
    this.ready?.send({ kind: 'cancelEpoch', epoch });
    for (const held of this.held) if (held.epoch === epoch) held.reject(interrupted());
    this.held = this.held.filter((held) => held.epoch !== epoch);
    for (const [id, waiting] of [...this.waiting]) {
      if (waiting.epoch === epoch) this.settle(id)?.reject(interrupted());
    }
  }

  /**
   * Ends the engine and its workers; resolves when the process is gone. With `restart` they stay, and wait for the kernel of
   * the same notebook that comes next.
   */
  async close(options?: { readonly restart: boolean }): Promise<void> {
    this.isClosed = true;
    if (this.ackTimer !== null) clearTimeout(this.ackTimer);
    if (this.heldTimer !== null) clearTimeout(this.heldTimer);
    const engine = await this.engine?.catch(() => null);
    const { keys } = this.options;
    if (options?.restart === true && keys !== undefined) {
      engine?.detach();
      return;
    }
    if (this.engineId !== null) forgetEngine(this.env, keys ?? [], this.engineId);
    await engine?.close();
  }

  /** Joins the engine that a kernel of this notebook left behind, if one lives, so that the panel shows it; starts none. */
  look(): void {
    const found = this.engine === null && !this.isClosed ? this.livingEngine() : null;
    if (found === null) return;
    this.showPanel(withoutEngine(this.panelState, 'starting'));
    const joining = this.join(found.address, this.talkOptions());
    this.engine = joining;
    joining.then(
      (engine) => {
        this.engineId = found.engineId;
        this.welcomed(engine);
      },
      () => {
        // It ended, or is another kernel's: there is nothing to show. Who asked meanwhile gets an engine in the usual way.
        this.engine = null;
        this.showPanel(this.idle());
        if (this.waiting.size > 0) this.start();
      },
    );
  }

  state(): PanelState {
    return this.panelState;
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async command<Op extends PanelOp>(op: Op, args: PanelArgs[Op]): Promise<PanelResults[Op]> {
    const isStopOfNothing = op === 'stopRun' && this.engine === null;
    if (isStopOfNothing) return { stopped: false } as PanelResults[Op];
    const reply = await this.request({
      kind: 'command',
      op,
      args: { ...args },
    });
    if (reply.kind !== 'result')
      throw new ClusterError(`the engine answered ${op} with ${reply.kind}`);
    return reply.value as PanelResults[Op];
  }

  // ── sending ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends a request, now or when the engine is there; false when the journal has to catch up first. */
  private submit({ epoch, resolve, reject, request }: Held): boolean {
    const isEffect = hasEffect(request);
    const sizeBytes = isEffect ? bytesOfRequest(request) : 0;
    if (!this.log.hasRoomFor(isEffect, sizeBytes)) return false;
    const id = this.nextId++;
    this.waiting.set(id, { epoch, resolve, reject });
    this.log.sent({ id, epoch, isEffect, sizeBytes, body: request });
    if (this.ready !== null) this.send(this.ready, { id, epoch, body: request, isAnswered: false });
    else if (this.engine === null) this.start();
    return true;
  }

  private send(
    engine: EngineProcess,
    sent: Pick<ReplayedRequest<KernelRequest>, 'id' | 'epoch' | 'body' | 'isAnswered'>,
  ): void {
    const { id, epoch, body: request, isAnswered: isRepeat } = sent;
    const { acked } = this.log;
    this.ackedTold = acked;
    engine.send({ kind: 'request', id, epoch, acked, isRepeat, request });
  }

  private hold(held: Held): void {
    this.held.push(held);
    this.heldTimer ??= setTimeout(() => {
      this.heldTimer = null;
      if (this.held.length === 0) return;
      const text =
        `The cell waits: ${String(this.log.size)} requests are not in the engine's journal yet and no more are kept. ` +
        'Free space on its disk; it goes on by itself.';
      this.options.onNotice?.({ level: 'warning', text });
    }, HELD_NOTICE_MS);
  }

  private release(): void {
    let first = this.held[0];
    while (first !== undefined && this.submit(first)) {
      this.held.shift();
      first = this.held[0];
    }
  }

  // ── the process ─────────────────────────────────────────────────────────────────────────────────────────────────

  private start(): void {
    if (this.isClosed) {
      this.lose(new ClusterError('the engine has been closed'));
      return;
    }
    this.showPanel(withoutEngine(this.panelState, 'starting'));
    const starting = this.launch();
    this.engine = starting;
    starting.then(
      (engine) => {
        this.welcomed(engine);
      },
      (error: unknown) => {
        this.notStarted(error);
      },
    );
  }

  /** The engine of this kernel: found if it waits, restored if it left an image, else a new one. */
  private async launch(): Promise<EngineProcess> {
    const { env } = this;
    const { keys = [] } = this.options;
    const wanted = this.engineId ?? readEngineEnv(env).engineId;
    const talk = this.talkOptions();
    const candidates = wanted === null ? findEngines(env, keys) : [wanted];
    for (const engineId of candidates) {
      const address = readAddress(engineFolder(engineId, env));
      if (address === null || !isAlive(address.pid)) {
        return this.launchAs(engineId, talk);
      }
      try {
        return await this.joinOrLaunch(engineId, address, talk);
      } catch (error) {
        // It is another living kernel's, or on its way out: this kernel gets its own, unless it must be this one.
        if (wanted !== null) throw error;
      }
    }
    return this.launchAs(newEngineId(), talk);
  }

  private livingEngine(): { readonly engineId: EngineId; readonly address: EngineAddress } | null {
    const { env } = this;
    const wanted = readEngineEnv(env).engineId;
    const candidates = wanted === null ? findEngines(env, this.options.keys ?? []) : [wanted];
    for (const engineId of candidates) {
      const address = readAddress(engineFolder(engineId, env));
      if (address !== null && isAlive(address.pid)) return { engineId, address };
    }
    return null;
  }

  /** Where nobody listens the process id is that of a zombie, or another program's by now: the folder's lock decides. */
  private async joinOrLaunch(
    engineId: EngineId,
    address: EngineAddress,
    talk: TalkOptions,
  ): Promise<EngineProcess> {
    try {
      const engine = await this.join(address, talk);
      this.engineId = engineId;
      return engine;
    } catch (error) {
      if (error instanceof EngineBusyError) throw error;
      return this.launchAs(engineId, talk);
    }
  }

  /** A kernel that was just killed may not have left its engine yet. */
  private async join(address: EngineAddress, talk: TalkOptions): Promise<EngineProcess> {
    for (let triesLeft = BUSY_TRIES; ; triesLeft--) {
      try {
        return await joinEngine(address.endpoint, address.pid, talk);
      } catch (error) {
        if (!(error instanceof EngineBusyError) || triesLeft === 0) throw error;
        await new Promise((wake) => setTimeout(wake, BUSY_PAUSE_MS));
      }
    }
  }

  private async launchAs(engineId: EngineId, talk: TalkOptions): Promise<EngineProcess> {
    const { entry } = this.options;
    const options = { ...talk, engineId, env: this.env, ...(entry === undefined ? {} : { entry }) };
    const engine = await startEngine(options);
    this.engineId = engineId;
    return engine;
  }

  private talkOptions(): TalkOptions {
    const { name, session } = this;
    return {
      hello: { kind: 'hello', client: name, session },
      // An engine that was given up may still have something to say.
      onMessage: (message) => {
        if (name === this.name) this.take(message);
      },
      onExit: (reason) => {
        if (name === this.name) this.died(reason);
      },
    };
  }

  /** Sends what this engine does not have: after its first start all there is, after a crash what it had not journaled. */
  private welcomed(engine: EngineProcess): void {
    const { session, watermark, isJournaled } = engine.welcome;
    if (this.isClosed) return;
    this.ready = engine;
    this.session = session;
    const { engineId } = this;
    if (engineId !== null) rememberEngine(this.env, this.options.keys ?? [], engineId);
    const replay = this.log.replay(watermark, (epoch) => this.stopped.has(epoch));
    if (replay === null) {
      this.ready = null;
      this.engine = null;
      void engine.close();
      this.lose(this.lostError(`${this.lastWords}; what it had saved cannot be read`));
      return;
    }
    for (const request of replay) this.send(engine, request);
    if (!isJournaled) this.log.settle(Number.MAX_SAFE_INTEGER);
    if (this.deaths > 0) {
      const text = `The engine's process ended (${firstLine(this.lastWords)}) and was started again; nothing is lost.`;
      this.options.onNotice?.({ level: 'info', text });
    }
    this.release();
  }

  private notStarted(error: unknown): void {
    this.engine = null;
    if (this.isClosed) return;
    const failure = asRavenError(error);
    if (this.deaths > 0) {
      this.again(failure.message);
      return;
    }
    this.showPanel({
      ...EMPTY_PANEL_STATE,
      cluster: { ...EMPTY_PANEL_STATE.cluster, state: 'failed' },
    });
    this.options.onNotice?.({ level: 'error', text: failure.message });
    this.rejectAll(failure);
    this.beginAnew();
  }

  /** The engine's process ended by itself. */
  private died(reason: string): void {
    this.engine = null;
    this.ready = null;
    if (this.isClosed) {
      this.rejectAll(this.lostError(reason));
      return;
    }
    if (this.isRewinding) {
      this.isRewinding = false;
      this.start();
      return;
    }
    this.again(reason);
  }

  /** Starts it again, after a pause that grows; gives up when that leads nowhere. */
  private again(reason: string): void {
    this.deaths++;
    this.lastWords = reason;
    if (this.deaths > ENGINE_LIMITS.engineRestarts) {
      this.lose(this.lostError(`${reason}, ${String(this.deaths)} times in a row`));
      return;
    }
    const { engineRestartMinMs, engineRestartMaxMs } = ENGINE_LIMITS;
    const pauseMs = Math.min(engineRestartMaxMs, engineRestartMinMs * 2 ** (this.deaths - 2));
    setTimeout(
      () => {
        if (this.engine === null && !this.isClosed) this.start();
      },
      this.deaths === 1 ? 0 : pauseMs,
    );
  }

  private lostError(reason: string): ClusterError {
    const text = `The engine process ended (${reason}). Weights and data that it held are lost; run the notebook again from the cell that creates the model.`;
    // The API reads the mark: what it thinks the engine knows is void. If nobody waits, the next request is told.
    return new ClusterError(text, { meta: { engineLost: this.lostEngines + 1 } });
  }

  /** The engine cannot be made what it was; the next one is another one. */
  private lose(error: ClusterError): void {
    this.lostEngines++;
    if (this.engineId !== null) withdrawAddress(engineFolder(this.engineId, this.env));
    this.engineId = null;
    const isAwaited = this.waiting.size + this.held.length > 0;
    this.loss = isAwaited ? null : { error, toldEpoch: null };
    this.rejectAll(error);
    this.beginAnew();
    if (this.isClosed) return;
    this.showPanel(withoutEngine(this.panelState, 'failed'));
    this.options.onNotice?.({ level: 'error', text: error.message });
  }

  /** Whoever answers next has never heard of this kernel. */
  private beginAnew(): void {
    this.name = newName();
    this.session = 0;
    this.deaths = 0;
    this.log = newLog();
    this.nextId = 1;
    this.ackedTold = 0;
    this.base = null;
  }

  private rejectAll(error: RavenError): void {
    for (const held of this.held.splice(0)) held.reject(error);
    for (const id of [...this.waiting.keys()]) this.settle(id)?.reject(error);
  }

  // ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  private take(message: ToKernel): void {
    switch (message.kind) {
      case 'reply':
        this.log.answered(message.id, true);
        if (!this.isSameBase(message)) {
          this.diverged('what the kernel before this one did had not been saved yet');
          return;
        }
        this.settle(message.id)?.resolve(message.reply);
        this.acknowledge();
        return;
      case 'failed':
        if (this.log.answered(message.id, false) === 'diverged') {
          this.diverged(message.error.message);
          return;
        }
        this.settle(message.id)?.reject(withMeta(message));
        this.acknowledge();
        return;
      case 'durable':
        this.deaths = 0;
        this.log.settle(message.watermark);
        this.release();
        return;
      case 'rewinding':
        this.isRewinding = true;
        return;
      case 'panel':
        this.showPanel(message.state);
        return;
      case 'notice':
        this.options.onNotice?.(message.notice);
        return;
      case 'welcome':
      case 'busy':
        return;
    }
  }

  /** Says which answers have been read, soon: an image counts only then. */
  private acknowledge(): void {
    // Without an effect above the watermark no image waits for it.
    const isAwaited = this.log.size > 0 && this.log.acked > this.ackedTold;
    if (this.ackTimer !== null || !isAwaited) return;
    this.ackTimer = setTimeout(() => {
      this.ackTimer = null;
      const { acked } = this.log;
      if (acked <= this.ackedTold) return;
      this.ackedTold = acked;
      this.ready?.send({ kind: 'ack', acked });
    }, ACK_MS);
    this.ackTimer.unref();
  }

  /** What worked before the crash does not work now: going on would give other results than were shown. */
  private diverged(why: string): void {
    const { ready } = this;
    this.ready = null;
    this.engine = null;
    void ready?.close();
    this.lose(this.lostError(`${this.lastWords}; repeating what it had not saved failed: ${why}`));
  }

  /** Everything that this kernel did rests on the version that it attached to. */
  private isSameBase({ id, reply }: Extract<ToKernel, { kind: 'reply' }>): boolean {
    if (reply.kind !== 'attached') return true;
    if (id !== this.base?.id) this.base = { id, version: reply.version };
    return reply.version === this.base.version;
  }

  private lossFor(epoch: number): ClusterError | null {
    const { loss } = this;
    if (loss === null) return null;
    loss.toldEpoch ??= epoch;
    if (loss.toldEpoch !== epoch) this.loss = null;
    return this.loss?.error ?? null;
  }

  private idle(): PanelState {
    return idlePanel(chainChoice(this.env, dataHome(this.env)).kind !== 'off');
  }

  private showPanel(state: PanelState): void {
    this.panelState = state;
    for (const listener of this.listeners) listener();
  }

  private settle(id: number): Waiting | undefined {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    return waiting;
  }
}

function newLog(): ReplayLog<KernelRequest> {
  const { replayRequests, replayBytes } = ENGINE_LIMITS;
  return new ReplayLog<KernelRequest>({ requests: replayRequests, sizeBytes: replayBytes });
}

function newName(): string {
  return randomBytes(16).toString('hex');
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

function toWire(request: EngineRequest): KernelRequest {
  if (request.kind !== 'createData') return request;
  const { kind, dataId, type, data } = request;
  return { kind, dataId, type, blocks: cutBlocks(type, bytesOf(data)) };
}

function withMeta(message: Extract<ToKernel, { kind: 'failed' }>): RavenError {
  const { code, message: text, fault, retryable } = message.error;
  if (Object.keys(message.meta).length === 0) return fromWireError(message.error);
  return new RavenError(code, text, { fault, retryable, meta: message.meta });
}

function interrupted(): RavenError {
  return new RavenError('interrupted', 'the cell was stopped');
}

function asRavenError(error: unknown): RavenError {
  if (error instanceof RavenError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ClusterError(`the engine could not be started: ${message}`, { cause: error });
}
