/**
 * @file The network thread's handle on what computes: starts it, feeds it, replaces it when it dies or hangs. What it is
 * (a thread, or a process that holds no keys) is chosen here and nowhere else.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { WireError } from '@ravenlab/protocol';
import { LIMITS, RavenError, WORKER_LIMITS, fromWireError } from '@ravenlab/protocol';
import type { ComputeHost, HostEnd, HostEvents, OpenHost } from './computeHost.js';
import type {
  ComputeOptions,
  ComputeReady,
  ComputeResults,
  FromCompute,
  ToCompute,
} from './computeMessages.js';
import { openProcess } from './sandbox/processHost.js';
import { openThread } from './threadHost.js';

const MS_PER_S = 1000;

export interface ComputeEvents {
  results(message: ComputeResults): void;
  /** It died; all it held is gone. A new one is starting, and takes what is posted meanwhile. */
  crashed(error: WireError): void;
  /** It died again and again: this machine cannot compute. */
  hopeless(error: RavenError): void;
}

interface IsolationRow {
  readonly open: OpenHost;
  readonly noun: string;
  /** Deaths in a row without a unit done; then the worker ends and says why. */
  readonly deaths: number;
  /** Pause before it starts again: doubles from the first to the second; ms. */
  readonly restartMinMs: number;
  readonly restartMaxMs: number;
}

/**
 * A thread dies of mistakes of ours, which do not go away. A process may also die of a stranger's program or for want of memory,
 * which are reasons to wait and not to leave.
 */
const ISOLATIONS: Readonly<Record<ComputeOptions['isolation'], IsolationRow>> = {
  thread: {
    open: openThread,
    noun: 'thread',
    deaths: WORKER_LIMITS.computeRestarts,
    restartMinMs: 0,
    restartMaxMs: 0,
  },
  process: {
    open: openProcess,
    noun: 'process',
    deaths: WORKER_LIMITS.sandboxRestarts,
    restartMinMs: WORKER_LIMITS.sandboxRestartMinMs,
    restartMaxMs: WORKER_LIMITS.sandboxRestartMaxMs,
  },
};

interface Posted {
  readonly message: ToCompute;
  readonly transfer: readonly ArrayBuffer[];
}

export class ComputeClient {
  private readonly options: ComputeOptions;
  private readonly events: ComputeEvents;
  private readonly row: IsolationRow;
  private host: ComputeHost | undefined;
  /** Every host that has not ended, those given up included. */
  private readonly alive = new Set<ComputeHost>();
  /** For the next host; bounded as what the lease machine lets the worker hold is. */
  private waiting: Posted[] = [];
  private restartTimer: NodeJS.Timeout | undefined;
  private deaths = 0;
  private isClosed = false;

  constructor(options: ComputeOptions, events: ComputeEvents) {
    this.options = options;
    this.events = events;
    this.row = ISOLATIONS[options.isolation];
  }

  /** Starts computing. @throws RavenError when the backend does not start. */
  start(): Promise<ComputeReady> {
    return new Promise((resolve, reject) => {
      this.open({
        message: (message) => {
          if (message.kind === 'ready') resolve(message);
          else if (message.kind === 'unavailable') reject(fromWireError(message.error));
        },
        ended: ({ reason }) => {
          const message = `the compute ${this.row.noun} ended before it was ready: ${reason}`;
          reject(new RavenError('internal', message, { fault: 'local' }));
        },
      });
    });
  }

  /** How long the unit that runs now has been running, ms; 0 when idle. */
  get busyMs(): number {
    return this.host?.busyMs ?? 0;
  }

  post(message: ToCompute, transfer: readonly ArrayBuffer[] = []): void {
    if (this.host !== undefined) this.host.post(message, transfer);
    else if (!this.isClosed) this.waiting.push({ message, transfer });
  }

  /** Replaces what hangs, or runs a unit for longer than `wallMs`. Call about once a second. */
  watch(wallMs: number): void {
    const { host } = this;
    if (host === undefined) return;
    const silence = host.beat();
    const isLate = host.busyMs > wallMs;
    if (!isLate && silence === null) return;
    const tooLong = `a unit ran for more than ${String(Math.round(wallMs / MS_PER_S))} s`;
    const reason = isLate ? tooLong : (silence ?? '');
    host.abandon();
    this.replace({ code: 'internal', reason });
  }

  /** Memory of results that nobody reads any more; a process has its own. */
  giveBack({ outcomes }: ComputeResults): void {
    if (this.options.isolation !== 'thread') return;
    const outputs = outcomes.flatMap((outcome) => outcome.outputs);
    const large = outputs.filter(({ byteLength }) => byteLength >= LIMITS.packBelowBytes);
    const buffers = [...new Set(large.map(({ buffer }) => buffer as ArrayBuffer))];
    if (buffers.length > 0) this.post({ kind: 'spent', buffers }, buffers);
  }

  /**
   * Ends what computes, after the units that run now.
   * @returns false when one is still in a unit after WORKER_LIMITS.exitMs.
   */
  async close(): Promise<boolean> {
    this.isClosed = true;
    this.waiting = [];
    clearTimeout(this.restartTimer);
    for (const host of this.alive) host.stop();
    const gone = Promise.all([...this.alive].map((host) => host.gone)).then(() => true);
    const late = delay(WORKER_LIMITS.exitMs, false, { ref: false });
    if (await Promise.race([gone, late])) return true;
    for (const host of this.alive) host.abandon();
    return Promise.race([gone, delay(WORKER_LIMITS.abandonMs, false, { ref: false })]);
  }

  /** @param first hears what the host says until it is ready, and whether it ends before that */
  private open(first: HostEvents): void {
    let isReady = false;
    const host = this.row.open(this.options, {
      message: (message: FromCompute) => {
        if (host !== this.host) return;
        if (message.kind !== 'results') {
          isReady ||= message.kind === 'ready';
          first.message(message);
          return;
        }
        this.deaths = 0;
        this.events.results(message);
      },
      ended: (end) => {
        this.alive.delete(host);
        if (host !== this.host) return;
        if (!isReady) first.ended(end);
        else this.replace(end);
      },
    });
    this.host = host;
    this.alive.add(host);
    for (const { message, transfer } of this.waiting.splice(0)) host.post(message, transfer);
  }

  private replace({ code, reason }: HostEnd): void {
    this.host = undefined;
    if (this.isClosed) return;
    const { noun, deaths, restartMinMs, restartMaxMs } = this.row;
    this.deaths++;
    if (this.deaths >= deaths) {
      const message = `the compute ${noun} died ${String(this.deaths)} times in a row: ${reason}`;
      this.events.hopeless(new RavenError('internal', message, { fault: 'local' }));
      return;
    }
    const pauseMs = Math.min(restartMaxMs, restartMinMs * 2 ** (this.deaths - 1));
    if (pauseMs === 0) this.openAgain();
    else this.restartTimer = setTimeout(() => this.openAgain(), pauseMs);
    const message = `the compute ${noun} of the worker was replaced: ${reason}`;
    this.events.crashed({ code, message, fault: 'local', retryable: true });
  }

  private openAgain(): void {
    this.open({
      message: (message) => {
        if (message.kind === 'unavailable') this.events.hopeless(fromWireError(message.error));
      },
      ended: (end) => this.replace(end),
    });
  }
}
