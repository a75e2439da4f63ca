/**
 * @file The network thread's handle on the compute thread: starts it, feeds it, replaces it when it dies or hangs. Threads
 * are asked to end, never terminated: ONNX Runtime's binding aborts the whole process when its thread is stopped in a run.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { WireError } from '@ravenlab/protocol';
import { RavenError, WORKER_LIMITS, fromWireError } from '@ravenlab/protocol';
import type {
  ComputeReady,
  ComputeResults,
  ComputeSettings,
  FromCompute,
  ToCompute,
} from './computeMessages.js';

const MS_PER_S = 1000;

export interface ComputeEvents {
  results(message: ComputeResults): void;
  /** The thread died; all it held is gone. A new one is starting. */
  crashed(error: WireError): void;
  /** It died again and again: this machine cannot compute. */
  hopeless(error: RavenError): void;
}

export interface ComputeOptions extends Omit<ComputeSettings, 'busySince'> {
  /** Instruction set of this machine: part of the promise of equal bits. */
  readonly instructions: string;
}

export class ComputeClient {
  private readonly options: ComputeOptions;
  private readonly events: ComputeEvents;
  private readonly busySince = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  private thread: Worker | undefined;
  /** Every thread that has not ended, those given up included. */
  private readonly alive = new Set<Worker>();
  private crashes = 0;
  private isClosed = false;

  constructor(options: ComputeOptions, events: ComputeEvents) {
    this.options = options;
    this.events = events;
  }

  /** Starts the thread. @throws RavenError when the backend does not start. */
  start(): Promise<ComputeReady> {
    return new Promise((resolve, reject) => {
      const thread = this.spawn((message) => {
        if (message.kind === 'ready') resolve(message);
        else if (message.kind === 'unavailable') reject(fromWireError(message.error));
      });
      thread.once('error', reject);
    });
  }

  /** How long the unit that runs now has been running, ms; 0 when idle. */
  get busyMs(): number {
    const since = Atomics.load(this.busySince, 0);
    return since === 0 ? 0 : Math.max(0, Math.floor(process.uptime() * MS_PER_S) + 1 - since);
  }

  post(message: ToCompute, transfer: readonly ArrayBuffer[] = []): void {
    this.thread?.postMessage(message, transfer);
  }

  /** Replaces a thread whose unit runs for longer than `wallMs`. Call now and then. */
  watch(wallMs: number): void {
    if (this.busyMs <= wallMs) return;
    this.replace(`a unit ran for more than ${Math.round(wallMs / MS_PER_S)} s`);
  }

  /**
   * Ends the threads after the units that run now.
   * @returns false when one is still in a unit after WORKER_LIMITS.exitMs.
   */
  async close(): Promise<boolean> {
    this.isClosed = true;
    for (const thread of this.alive) stop(thread);
    const ended = Promise.all([...this.alive].map((thread) => once(thread, 'exit')));
    const late = delay(WORKER_LIMITS.exitMs, false, { ref: false });
    return Promise.race([ended.then(() => true), late]);
  }

  private spawn(onMessage: (message: FromCompute) => void): Worker {
    const workerData: ComputeSettings = {
      ...this.options,
      busySince: this.busySince.buffer,
    };
    Atomics.store(this.busySince, 0, 0);
    const thread = new Worker(new URL('./computeThread.js', import.meta.url), { workerData });
    this.thread = thread;
    this.alive.add(thread);
    thread.on('message', (message: FromCompute) => {
      if (thread !== this.thread) return;
      onMessage(message);
      if (message.kind !== 'results') return;
      this.crashes = 0;
      this.events.results(message);
    });
    thread.on('error', (error) => {
      if (thread === this.thread) this.replace(error.message);
    });
    thread.on('exit', (code) => {
      this.alive.delete(thread);
      if (thread === this.thread) this.replace(`the compute thread ended with code ${code}`);
    });
    return thread;
  }

  private replace(reason: string): void {
    const dead = this.thread;
    this.thread = undefined;
    if (this.isClosed) return;
    if (dead !== undefined) stop(dead);
    this.crashes++;
    if (this.crashes >= WORKER_LIMITS.computeRestarts) {
      const message = `the compute thread died ${this.crashes} times in a row: ${reason}`;
      this.events.hopeless(new RavenError('internal', message, { fault: 'local' }));
      return;
    }
    this.spawn((message) => {
      if (message.kind === 'unavailable') this.events.hopeless(fromWireError(message.error));
    });
    const message = `the compute thread of the worker was replaced: ${reason}`;
    this.events.crashed({ code: 'internal', message, fault: 'local', retryable: true });
  }
}

function stop(thread: Worker): void {
  const message: ToCompute = { kind: 'stop' };
  thread.postMessage(message);
}
