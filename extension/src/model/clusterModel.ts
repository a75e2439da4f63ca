/**
 * @file One kernel's cluster as the panel sees it: connection phase, replica, commands in flight.
 * Owns the comm's life (open, lease, reopen); knows nothing of JupyterLab or the DOM. RFC 2 §3–4.
 */
import type {
  KernelMessage,
  PanelArgs,
  PanelEvent,
  PanelOp,
  PanelReplica,
  PanelResult,
  PanelResults,
} from '@ravenlab/protocol';
import {
  PANEL_LIMITS,
  PANEL_PROTO,
  applyDelta,
  applySnapshot,
  parseKernelMessage,
  readPanelResult,
} from '@ravenlab/protocol';

/** A comm to the kernel; `close` is silent, `onClose` is for the other side's close only. */
export interface CommPort {
  send(data: object): void;
  close(): void;
}

export interface PortHandlers {
  onMessage(data: unknown): void;
  onClose(reason: string | null): void;
}

export interface ModelOptions {
  /** Opens a comm with `data`; throws when the connection cannot carry one. */
  readonly openPort: (data: object, handlers: PortHandlers) => CommPort;
  /** Calls `run` once after `delayMs`; returns what cancels it. */
  readonly after: (delayMs: number, run: () => void) => () => void;
  /** Unique among all front ends of the kernel. */
  readonly newId: () => string;
}

/**
 * `connecting`: asked for a snapshot. `live`: the replica is current. `offline`: the kernel restarts or the
 * connection is down; the replica, if any, is old. `refused`: the kernel said no and why; only a new kernel helps.
 */
export type Phase = 'connecting' | 'live' | 'offline' | 'refused';

/** Immutable; a new object at each change, so that views compare by identity. */
export interface ModelView {
  readonly phase: Phase;
  /** Why it is offline or refused, fit to show; null otherwise. */
  readonly reason: string | null;
  readonly replica: PanelReplica | null;
}

/** A command that the kernel refused or could not do; the message is fit to show. */
export class CommandError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'CommandError';
    this.code = code;
  }
}

interface Waiting {
  settle(result: PanelResult): void;
  fail(error: CommandError): void;
}

/** A snapshot that takes longer than this means that the comm leads nowhere. */
const SNAPSHOT_WAIT_MS = 1_500;
const MAX_SNAPSHOT_WAIT_MS = 30_000;
/** Opens that a kernel may close in a row before it is taken at its word. */
const MAX_REFUSALS = 3;

/** Front end side of the panel protocol for one kernel. */
export class ClusterModel {
  private readonly options: ModelOptions;
  private readonly listeners = new Set<() => void>();
  private readonly eventListeners = new Set<(event: PanelEvent) => void>();
  private readonly waiting = new Map<string, Waiting>();
  private current: ModelView = { phase: 'offline', reason: null, replica: null };
  private port: CommPort | null = null;
  private cancelLease: (() => void) | null = null;
  private cancelSnapshotWait: (() => void) | null = null;
  private snapshotWaitMs = SNAPSHOT_WAIT_MS;
  private refusals = 0;
  private maxHz: number = PANEL_LIMITS.visibleHz;
  private isVisible = false;
  private isDisposed = false;

  constructor(options: ModelOptions) {
    this.options = options;
  }

  /** Stable until something changes: fits `useSyncExternalStore`. */
  readonly view = (): ModelView => this.current;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Things that happened, as opposed to what is; for notifications. */
  onEvent(listener: (event: PanelEvent) => void): () => void {
    this.eventListeners.add(listener);
    return () => this.eventListeners.delete(listener);
  }

  /** Opens a fresh comm; whatever an old one still says is not heard. */
  connect(): void {
    if (this.isDisposed) return;
    this.dropPort();
    this.set({ phase: 'connecting', reason: null });
    const isMine = () => this.port === port;
    let port: CommPort | null = null;
    const handlers: PortHandlers = {
      onMessage: (data) => {
        if (isMine()) this.receive(data);
      },
      onClose: (reason) => {
        if (isMine()) this.closedByKernel(reason);
      },
    };
    try {
      port = this.options.openPort(
        { type: 'open', proto: PANEL_PROTO, maxHz: this.maxHz, visible: this.isVisible },
        handlers,
      );
    } catch (error) {
      this.setOffline(error instanceof Error ? error.message : String(error));
      return;
    }
    this.port = port;
    this.awaitSnapshot();
    this.scheduleLease();
  }

  /** The kernel restarts or cannot be reached; call `connect` or `resume` when it is back. */
  setOffline(reason: string): void {
    this.dropPort();
    this.set({ phase: 'offline', reason });
  }

  /** After a short break of the connection: the comm may still be there, so ask before opening a new one. */
  resume(): void {
    if (this.port === null) {
      this.connect();
      return;
    }
    this.set({ phase: 'connecting', reason: null });
    this.port.send({ type: 'resync' });
    this.awaitSnapshot();
    this.scheduleLease();
  }

  /** The connection is interrupted but the comm may survive it; see `resume`. */
  suspend(reason: string): void {
    this.stopTimers();
    this.set({ phase: 'offline', reason });
  }

  /** How often to be told, and whether anyone looks; takes effect at once. */
  setPace(pace: { readonly maxHz?: number; readonly visible?: boolean }): void {
    const maxHz = pace.maxHz ?? this.maxHz;
    const isVisible = pace.visible ?? this.isVisible;
    if (maxHz === this.maxHz && isVisible === this.isVisible) return;
    this.maxHz = maxHz;
    this.isVisible = isVisible;
    if (this.port !== null && this.current.phase !== 'offline') this.lease();
  }

  /** Runs a command in the kernel; rejects with CommandError. */
  command<Op extends PanelOp>(op: Op, args: PanelArgs[Op]): Promise<PanelResults[Op]> {
    return new Promise((resolve, reject) => {
      const port = this.port;
      if (port === null || this.current.phase === 'offline') {
        const why = this.current.reason ?? 'the kernel is not connected';
        reject(new CommandError('offline', why));
        return;
      }
      const id = this.options.newId();
      const cancelTimeout = this.options.after(PANEL_LIMITS.commandTimeoutMs, () => {
        this.waiting.delete(id);
        reject(new CommandError('timeout', `${op}: the kernel did not answer in time`));
      });
      this.waiting.set(id, {
        settle: (result) => {
          cancelTimeout();
          if (!result.ok) {
            reject(new CommandError(result.error.code, result.error.text));
            return;
          }
          try {
            resolve(readPanelResult(op, result.value));
          } catch (error) {
            reject(new CommandError('protocol', String(error)));
          }
        },
        fail: (error) => {
          cancelTimeout();
          reject(error);
        },
      });
      port.send({ type: 'cmd', id, op, args });
    });
  }

  dispose(): void {
    if (this.isDisposed) return;
    this.isDisposed = true;
    this.dropPort();
    this.listeners.clear();
    this.eventListeners.clear();
  }

  private receive(data: unknown): void {
    const parsed = parseKernelMessage(data);
    if (parsed.ok) this.handle(parsed.value);
    // What follows a message that cannot be read is a gap, so a snapshot is asked for by itself.
    else this.set({ reason: parsed.error });
  }

  private handle(message: KernelMessage): void {
    switch (message.type) {
      case 'snapshot':
      case 'delta': {
        const { replica } = this.current;
        const step =
          message.type === 'snapshot'
            ? applySnapshot(replica, message)
            : applyDelta(replica, message);
        if (step.kind === 'gap') this.resync();
        if (step.kind !== 'applied') return;
        if (message.type === 'snapshot') this.arrived();
        // A delta that fits is as current as a snapshot, unless one was asked for and is on its way.
        const phase = this.cancelSnapshotWait === null ? 'live' : this.current.phase;
        this.set({ phase, reason: null, replica: step.replica });
        return;
      }
      case 'event':
        this.tell(message);
        return;
      case 'result': {
        const waiting = this.waiting.get(message.id);
        this.waiting.delete(message.id);
        waiting?.settle(message);
        return;
      }
    }
  }

  /** One request at a time: deltas that follow a gap are gaps too. */
  private resync(): void {
    if (this.cancelSnapshotWait !== null) return;
    this.port?.send({ type: 'resync' });
    this.awaitSnapshot();
  }

  private awaitSnapshot(): void {
    this.cancelSnapshotWait?.();
    this.cancelSnapshotWait = this.options.after(this.snapshotWaitMs, () => {
      this.snapshotWaitMs = Math.min(MAX_SNAPSHOT_WAIT_MS, this.snapshotWaitMs * 2);
      this.connect();
    });
  }

  private arrived(): void {
    this.cancelSnapshotWait?.();
    this.cancelSnapshotWait = null;
    this.snapshotWaitMs = SNAPSHOT_WAIT_MS;
    this.refusals = 0;
  }

  private closedByKernel(reason: string | null): void {
    this.port = null;
    this.dropPort();
    this.refusals++;
    const why = reason ?? 'the kernel closed the panel channel';
    if (this.refusals >= MAX_REFUSALS) {
      this.set({ phase: 'refused', reason: why });
      return;
    }
    this.set({ phase: 'connecting', reason: why });
    this.awaitSnapshot();
  }

  private lease(): void {
    this.port?.send({ type: 'lease', maxHz: this.maxHz, visible: this.isVisible });
    this.scheduleLease();
  }

  private scheduleLease(): void {
    this.cancelLease?.();
    this.cancelLease = this.options.after(PANEL_LIMITS.leaseEveryMs, () => this.lease());
  }

  private stopTimers(): void {
    this.cancelLease?.();
    this.cancelLease = null;
    this.cancelSnapshotWait?.();
    this.cancelSnapshotWait = null;
  }

  private dropPort(): void {
    this.stopTimers();
    const port = this.port;
    this.port = null;
    port?.close();
    const lost = new CommandError('offline', 'the kernel went away before it answered');
    for (const waiting of this.waiting.values()) waiting.fail(lost);
    this.waiting.clear();
  }

  private set(change: Partial<ModelView>): void {
    this.current = { ...this.current, ...change };
    for (const listener of this.listeners) listener();
  }

  private tell(event: PanelEvent): void {
    for (const listener of this.eventListeners) listener(event);
  }
}
