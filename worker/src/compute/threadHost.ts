/**
 * @file The compute thread as a host. Asked to end, never terminated: ONNX Runtime's binding aborts the whole process when
 * its thread is stopped in a run.
 */
import { Worker } from 'node:worker_threads';
import type { ComputeHost, HostEvents } from './computeHost.js';
import type { ComputeOptions, ComputeSettings, FromCompute, ToCompute } from './computeMessages.js';

const MS_PER_S = 1000;

/** Starts a thread of this process. */
export function openThread(options: ComputeOptions, events: HostEvents): ThreadHost {
  return new ThreadHost(options, events);
}

export class ThreadHost implements ComputeHost {
  readonly gone: Promise<void>;
  private readonly busySince = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  private readonly thread: Worker;

  constructor(
    { backend, threads, digests, gflops, memoryBytes }: ComputeOptions,
    events: HostEvents,
  ) {
    const workerData: ComputeSettings = {
      ...{ backend, threads, digests, gflops, memoryBytes },
      busySince: this.busySince.buffer,
    };
    const thread = new Worker(new URL('./computeThread.js', import.meta.url), { workerData });
    this.thread = thread;
    let reason: string | null = null;
    thread.on('message', (message: FromCompute) => events.message(message));
    thread.on('error', (error) => {
      reason = error.message;
    });
    this.gone = new Promise((resolve) => {
      thread.on('exit', (code) => {
        resolve();
        events.ended({ code: 'internal', reason: reason ?? `code ${String(code)}` });
      });
    });
  }

  get busyMs(): number {
    const since = Atomics.load(this.busySince, 0);
    return since === 0 ? 0 : Math.max(0, Math.floor(process.uptime() * MS_PER_S) + 1 - since);
  }

  post(message: ToCompute, transfer: readonly ArrayBuffer[]): void {
    this.thread.postMessage(message, transfer);
  }

  beat(): null {
    return null;
  }

  stop(): void {
    this.post({ kind: 'stop' }, []);
  }

  abandon(): void {
    this.stop();
  }
}
