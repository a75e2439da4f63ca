/**
 * @file The engine as the kernel's main thread sees it: a process that is started on first use, a request and its answer, a
 * panel state. Holds no tensor longer than it takes to pass it on.
 */
import type {
  EngineReply,
  EngineRequest,
  PanelArgs,
  PanelOp,
  PanelResults,
  PanelSource,
  PanelState,
} from '@ravenlab/protocol';
import { ClusterError, EMPTY_PANEL_STATE, RavenError, fromWireError } from '@ravenlab/protocol';
import { cutBlocks } from './dataStore.js';
import type { EngineProcess } from './engineProcess.js';
import { startEngine } from './engineProcess.js';
import type { KernelRequest, Notice, ToKernel } from './kernelWire.js';
import { bytesOf } from './tensorBytes.js';

export interface EngineClientOptions {
  /** Shown to the user: nobody to work, a worker that crashed, the engine's death. */
  readonly onNotice?: (notice: Notice) => void;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Compiled entry of the engine process; for tests. */
  readonly entry?: string;
}

interface Waiting {
  readonly epoch: number;
  readonly resolve: (reply: EngineReply) => void;
  readonly reject: (error: RavenError) => void;
}

/** Epochs of stopped cells that are remembered; cells are stopped one at a time, so few are needed. */
const STOPPED_KEPT = 64;

export class EngineClient implements PanelSource {
  private readonly options: EngineClientOptions;
  private engine: Promise<EngineProcess> | null = null;
  private ready: EngineProcess | null = null;
  private readonly waiting = new Map<number, Waiting>();
  private readonly stopped = new Set<number>();
  private readonly listeners = new Set<() => void>();
  /** An invitation starts the engine, so one can be asked for at any time. */
  private panelState: PanelState = {
    ...EMPTY_PANEL_STATE,
    cluster: { ...EMPTY_PANEL_STATE.cluster, canInvite: true },
  };
  private nextId = 1;
  private isClosed = false;
  private lostEngines = 0;
  /** An engine was lost while no request waited for it: the first cell that asks is told, in all that it asks. */
  private loss: { readonly error: ClusterError; toldEpoch: number | null } | null = null;

  constructor(options: EngineClientOptions = {}) {
    this.options = options;
  }

  /**
   * Asks the engine, starting it if it does not run. Requests are sent in call order.
   * @param epoch of the cell that asks.
   * Rejects with the engine's RavenError, 'interrupted' for a stopped cell, or ClusterError when there is no engine.
   */
  request(request: EngineRequest, epoch = 0): Promise<EngineReply> {
    if (this.stopped.has(epoch)) return Promise.reject(interrupted());
    const loss = request.kind === 'command' ? null : this.lossFor(epoch);
    if (loss !== null) return Promise.reject(loss);
    return new Promise((resolve, reject) => {
      const id = this.nextId++;
      this.waiting.set(id, { epoch, resolve, reject });
      const wire = toWire(request);
      if (this.ready !== null) {
        this.ready.send({ kind: 'request', id, epoch, request: wire });
        return;
      }
      this.start().then(
        (engine) => {
          // Stopped meanwhile.
          if (this.waiting.has(id)) engine.send({ kind: 'request', id, epoch, request: wire });
        },
        (error: unknown) => {
          this.settle(id)?.reject(asRavenError(error));
        },
      );
    });
  }

  /** Stop: everything this cell epoch waits for rejects, and what it asked for does not happen any more. */
  cancelEpoch(epoch: number): void {
    this.stopped.add(epoch);
    const [oldest] = this.stopped;
    if (this.stopped.size > STOPPED_KEPT && oldest !== undefined) this.stopped.delete(oldest);
    this.ready?.send({ kind: 'cancelEpoch', epoch });
    for (const [id, waiting] of [...this.waiting]) {
      if (waiting.epoch === epoch) this.settle(id)?.reject(interrupted());
    }
  }

  /** Ends the engine and its workers; resolves when the process is gone. */
  async close(_options?: { readonly restart: boolean }): Promise<void> {
    this.isClosed = true;
    const engine = await this.engine?.catch(() => null);
    await engine?.close();
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
      args,
    });
    if (reply.kind !== 'result')
      throw new ClusterError(`the engine answered ${op} with ${reply.kind}`);
    return reply.value as PanelResults[Op];
  }

  private start(): Promise<EngineProcess> {
    if (this.isClosed) return Promise.reject(new ClusterError('the engine has been closed'));
    if (this.engine === null) {
      this.engine = this.launch();
      // First in line, so that requests made before and after this moment keep their order.
      this.engine.then(
        (engine) => {
          this.ready = engine;
        },
        () => undefined,
      );
    }
    return this.engine;
  }

  private async launch(): Promise<EngineProcess> {
    this.showPanel({
      ...this.panelState,
      cluster: { ...this.panelState.cluster, state: 'starting' },
    });
    try {
      return await startEngine({
        ...(this.options.entry === undefined ? {} : { entry: this.options.entry }),
        env: this.options.env ?? process.env,
        onMessage: (message) => {
          this.take(message);
        },
        onExit: (reason) => {
          this.died(reason);
        },
      });
    } catch (error) {
      this.engine = null;
      const text = asRavenError(error).message;
      this.showPanel({
        ...EMPTY_PANEL_STATE,
        cluster: { ...EMPTY_PANEL_STATE.cluster, state: 'failed' },
      });
      this.options.onNotice?.({ level: 'error', text });
      throw error;
    }
  }

  private take(message: ToKernel): void {
    switch (message.kind) {
      case 'reply':
        this.settle(message.id)?.resolve(message.reply);
        return;
      case 'failed':
        this.settle(message.id)?.reject(withMeta(message));
        return;
      case 'panel':
        this.showPanel(message.state);
        return;
      case 'notice':
        this.options.onNotice?.(message.notice);
        return;
    }
  }

  private lossFor(epoch: number): ClusterError | null {
    const { loss } = this;
    if (loss === null) return null;
    loss.toldEpoch ??= epoch;
    if (loss.toldEpoch !== epoch) this.loss = null;
    return this.loss?.error ?? null;
  }

  /** The engine's process ended; weights and data that it held are gone. */
  private died(reason: string): void {
    this.engine = null;
    this.ready = null;
    const text = `The engine process ended (${reason}). Weights and data that it held are lost; run the notebook again from the cell that creates the model.`;
    // The API reads the mark: what it thinks the engine knows is void. If nobody waits, the next request is told.
    this.lostEngines++;
    const error = new ClusterError(text, { meta: { engineLost: this.lostEngines } });
    this.loss = this.waiting.size === 0 ? { error, toldEpoch: null } : null;
    for (const id of [...this.waiting.keys()]) this.settle(id)?.reject(error);
    if (this.isClosed) return;
    this.showPanel({
      ...this.panelState,
      cluster: { ...this.panelState.cluster, state: 'failed', workerCount: 0, inFlightUnits: 0 },
    });
    this.options.onNotice?.({ level: 'error', text });
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
