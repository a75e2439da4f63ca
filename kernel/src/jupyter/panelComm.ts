/**
 * @file Serves the panel protocol to every front end of this kernel: one stream each, paced, leased, commands run once.
 * Runs on the main thread, so panels live while a cell spins. Knows nothing of the engine but `PanelSource`. RFC 2 §3.
 */
import type {
  FrontMessage,
  PanelCmd,
  PanelResult,
  PanelSource,
  PanelState,
} from '@ravenlab/protocol';
import {
  ClusterError,
  EMPTY_PANEL_STATE,
  PANEL_LIMITS as LIMITS,
  PANEL_PROTO,
  compareAmounts,
  diffPanelState,
  parseFrontMessage,
  toWireError,
} from '@ravenlab/protocol';
import type { Comm, CommData, CommTarget } from './comms.js';

/** Time as the composition root gives it; tests give their own. */
export interface PanelClock {
  /** Monotonic: pacing and leases must survive a change of the wall clock. */
  nowMs(): number;
  /** Unix time, for people. */
  wallMs(): number;
  /** Calls `run` once after `delayMs`; returns what cancels it. Must not keep the process alive. */
  after(delayMs: number, run: () => void): () => void;
}

export interface PanelHubOptions {
  readonly source: PanelSource;
  readonly clock: PanelClock;
  /** Where a failure of the source goes; a panel never takes the kernel down. */
  readonly onError: (context: string, error: unknown) => void;
}

/** One front end. */
interface Client {
  readonly comm: Comm;
  readonly stream: number;
  seq: number;
  leaseUntilMs: number;
  intervalMs: number;
  nextPushAtMs: number;
  /** What the front end holds after the last push; null when it needs a snapshot. */
  sent: PanelState | null;
  isDirty: boolean;
  commandsInFlight: number;
}

interface Reply {
  readonly result: Promise<PanelResult>;
  isSettled: boolean;
}

function intervalOf(message: { readonly maxHz: number; readonly visible: boolean }): number {
  const allowedHz = message.visible ? LIMITS.visibleHz : LIMITS.hiddenHz;
  return 1000 / Math.max(LIMITS.slowestHz, Math.min(allowedHz, message.maxHz));
}

/** The rows that matter most when there are more than a snapshot carries: members before leavers, then earners. */
export function boundPanelState(state: PanelState): PanelState {
  const { contributors, payments, alerts } = state;
  const isBounded =
    contributors.length <= LIMITS.contributors &&
    payments.payees.length <= LIMITS.payees &&
    alerts.length <= LIMITS.alerts;
  if (isBounded) return state;
  const isGone = (row: { readonly state: string }) => Number(row.state === 'gone');
  return {
    ...state,
    contributors: [...contributors]
      .sort((a, b) => isGone(a) - isGone(b) || compareAmounts(b.earnedUnits, a.earnedUnits))
      .slice(0, LIMITS.contributors),
    payments: {
      ...payments,
      payees: [...payments.payees]
        .sort((a, b) => compareAmounts(b.metered, a.metered))
        .slice(0, LIMITS.payees),
    },
    alerts: alerts.slice(-LIMITS.alerts),
  };
}

/** The comm target `ravenlab.cluster.v1`. */
export class PanelHub implements CommTarget {
  private readonly options: PanelHubOptions;
  private readonly clients = new Set<Client>();
  private readonly replies = new Map<string, Reply>();
  private unsubscribe: (() => void) | null = null;
  private wake: { readonly atMs: number; readonly cancel: () => void } | null = null;
  private nextStream = 1;

  constructor(options: PanelHubOptions) {
    this.options = options;
  }

  onOpen(comm: Comm, data: CommData): void {
    const parsed = parseFrontMessage(data);
    if (!parsed.ok || parsed.value.type !== 'open') {
      comm.close({ reason: parsed.ok ? 'panel: the first message must be open' : parsed.error });
      return;
    }
    const { proto } = parsed.value;
    if (proto !== PANEL_PROTO) {
      const reason = `panel: this kernel speaks protocol ${PANEL_PROTO}, the front end ${proto}; update the older one`;
      comm.close({ reason });
      return;
    }
    if (!this.makeRoom()) {
      comm.close({ reason: `panel: ${LIMITS.clients} front ends are connected; close one` });
      return;
    }
    const now = this.options.clock.nowMs();
    const client: Client = {
      comm,
      stream: this.nextStream++,
      seq: 0,
      leaseUntilMs: now + LIMITS.leaseMs,
      intervalMs: intervalOf(parsed.value),
      nextPushAtMs: now,
      sent: null,
      isDirty: true,
      commandsInFlight: 0,
    };
    this.clients.add(client);
    comm.onMessage = (message) => this.receive(client, message);
    comm.onClose = () => this.remove(client);
    this.subscribe();
    this.pump();
  }

  /** Number of front ends that get pushes now. */
  get leased(): number {
    const now = this.options.clock.nowMs();
    return [...this.clients].filter((client) => client.leaseUntilMs > now).length;
  }

  /** Ends all pushes; the kernel closes the comms. */
  close(): void {
    this.clients.clear();
    this.rest();
  }

  private receive(client: Client, data: CommData): void {
    const parsed = parseFrontMessage(data);
    if (!parsed.ok) {
      const text = parsed.error.slice(0, LIMITS.textChars);
      client.comm.send({ type: 'event', level: 'error', code: 'protocol', text });
      return;
    }
    const message = parsed.value;
    this.renew(client, message);
    if (message.type === 'cmd') this.runCommand(client, message);
    this.pump();
  }

  private renew(client: Client, message: FrontMessage): void {
    const now = this.options.clock.nowMs();
    // While the lease was out, changes were not noted.
    if (client.leaseUntilMs <= now) client.isDirty = true;
    client.leaseUntilMs = now + LIMITS.leaseMs;
    this.subscribe();
    if (message.type === 'resync') {
      client.sent = null;
      client.isDirty = true;
    }
    if (message.type !== 'lease') return;
    const intervalMs = intervalOf(message);
    // A panel that is shown again is served at its new pace at once, not after the slow interval.
    client.nextPushAtMs += Math.min(0, intervalMs - client.intervalMs);
    client.intervalMs = intervalMs;
  }

  private subscribe(): void {
    this.unsubscribe ??= this.options.source.onChange(() => this.markDirty());
  }

  private markDirty(): void {
    for (const client of this.clients) client.isDirty = true;
    this.pump();
  }

  /** Pushes what is due and sleeps until the next push is. */
  private pump(): void {
    const now = this.options.clock.nowMs();
    let nextAtMs = Infinity;
    for (const client of this.clients) {
      if (!client.isDirty || client.leaseUntilMs <= now) continue;
      if (client.nextPushAtMs <= now) this.push(client, now);
      else nextAtMs = Math.min(nextAtMs, client.nextPushAtMs);
    }
    if (nextAtMs < (this.wake?.atMs ?? Infinity)) {
      this.wake?.cancel();
      const cancel = this.options.clock.after(nextAtMs - now, () => {
        this.wake = null;
        this.pump();
      });
      this.wake = { atMs: nextAtMs, cancel };
    }
    if (this.leased === 0) this.rest();
  }

  /** Nobody listens: no timer, no subscription, so that an idle kernel is idle. */
  private rest(): void {
    this.wake?.cancel();
    this.wake = null;
    this.unsubscribe?.();
    this.unsubscribe = null;
  }

  private push(client: Client, now: number): void {
    client.isDirty = false;
    client.nextPushAtMs = now + client.intervalMs;
    let state: PanelState;
    try {
      state = boundPanelState(this.options.source.state());
    } catch (error) {
      this.options.onError('panel: state', error);
      return;
    }
    const head = { stream: client.stream, seq: client.seq, atMs: this.options.clock.wallMs() };
    if (client.sent === null) {
      client.comm.send({ type: 'snapshot', ...head, state });
    } else {
      const patch = diffPanelState(client.sent, state);
      if (patch === undefined) return;
      client.comm.send({ type: 'delta', ...head, patch });
    }
    client.seq++;
    client.sent = state;
  }

  private runCommand(client: Client, command: PanelCmd): void {
    let reply = this.replies.get(command.id);
    if (reply === undefined) {
      if (client.commandsInFlight >= LIMITS.commandsInFlight) {
        const text = `${LIMITS.commandsInFlight} commands are waiting; try again when one is done`;
        const error = { code: 'limit', text };
        client.comm.send({ type: 'result', id: command.id, ok: false, error });
        return;
      }
      client.commandsInFlight++;
      reply = { result: this.execute(command), isSettled: false };
      this.remember(command.id, reply);
      const first = reply;
      void reply.result.then(() => {
        first.isSettled = true;
        client.commandsInFlight--;
      });
    }
    // `execute` never rejects; a comm closed meanwhile drops what is sent.
    void reply.result.then((result) => client.comm.send({ ...result }));
  }

  private remember(id: string, reply: Reply): void {
    this.replies.set(id, reply);
    if (this.replies.size <= LIMITS.repliesKept) return;
    for (const [oldId, old] of this.replies) {
      if (!old.isSettled) continue;
      this.replies.delete(oldId);
      return;
    }
  }

  private async execute({ id, op, args }: PanelCmd): Promise<PanelResult> {
    let cancelTimeout = (): void => undefined;
    const waitedS = LIMITS.commandTimeoutMs / 1000;
    const timeout = new Promise<never>((_resolve, refuse) => {
      cancelTimeout = this.options.clock.after(LIMITS.commandTimeoutMs, () => {
        refuse(new ClusterError(`${op}: no answer from the engine in ${waitedS} s; try again`));
      });
    });
    try {
      const value = await Promise.race([this.options.source.command(op, args), timeout]);
      return { type: 'result', id, ok: true, value };
    } catch (error) {
      const { code, message } = toWireError(error);
      const text = message.slice(0, LIMITS.textChars);
      return { type: 'result', id, ok: false, error: { code, text } };
    } finally {
      cancelTimeout();
    }
  }

  /** Room for one more front end: one whose lease ran out gives way, one that listens does not. */
  private makeRoom(): boolean {
    if (this.clients.size < LIMITS.clients) return true;
    const now = this.options.clock.nowMs();
    for (const client of this.clients) {
      if (client.leaseUntilMs > now) continue;
      this.remove(client);
      client.comm.close({ reason: 'panel: silent for too long, and others wait' });
      return true;
    }
    return false;
  }

  private remove(client: Client): void {
    this.clients.delete(client);
    if (this.leased === 0) this.rest();
  }
}

/** What a kernel without a cluster shows: nothing runs, and commands say so. */
export const NO_CLUSTER: PanelSource = {
  state: () => EMPTY_PANEL_STATE,
  onChange: () => () => undefined,
  command: (op) =>
    Promise.reject(
      new ClusterError(`${op}: this kernel runs without a cluster: unset RAVENLAB_ENGINE=off`),
    ),
};

/** The clock of the real kernel; its timers do not hold the process open. */
export const SYSTEM_PANEL_CLOCK: PanelClock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs).unref();
    return () => clearTimeout(timer);
  },
};
