/**
 * @file Small batches run where the messages arrive: the way to the compute thread and back wakes two threads, which takes
 * longer than the batch. Same executor, same bits. Never more than a share of the time, so that heartbeats go on. Decides
 * only where a batch runs; leases and sockets are not its business.
 */
import type { BackendName, ProgramHash } from '@ravenlab/protocol';
import { WORKER_LIMITS } from '@ravenlab/protocol';
import type { BlobKey, ProgramInfo } from '../core/state.js';
import type { Backend } from './backend.js';
import type { ComputeBatch, UnitOutcome } from './computeMessages.js';
import { Executor } from './executor.js';
import { openBackend } from './openBackend.js';

const US_PER_MS = 1000;
/** Backends that a process can well open twice: a device has no use for two users, and TensorFlow.js is no faster at small work. */
const LIGHT: ReadonlySet<BackendName> = new Set(['onnx-cpu']);

export interface QuickOptions {
  /** The backend of the compute thread once more, with one thread; opened when a program is worth it. */
  readonly open: () => Promise<Backend>;
  /** Monotonic clock, µs. */
  readonly nowUs: () => number;
  /** Calls back when what has arrived has had its turn: setImmediate. */
  readonly later: (callback: () => void) => void;
}

interface Candidate {
  readonly info: ProgramInfo;
  readonly bytes: Uint8Array;
  /** Batches that came since it was compiled here last, or at all. */
  misses: number;
}

export class QuickRuns {
  private readonly options: QuickOptions;
  private readonly candidates = new Map<ProgramHash, Candidate>();
  private readonly tensors = new Map<BlobKey, Uint8Array>();
  private heldBytes = 0;
  /** Null until a program is worth it. */
  private executor: Executor | null = null;
  private isOpening = false;
  private isClosed = false;
  private windowStartUs = 0;
  private busyUs = 0;

  constructor(options: QuickOptions) {
    this.options = options;
  }

  define(info: ProgramInfo, bytes: Uint8Array): void {
    if (info.quickUnits === 0) return;
    this.candidates.set(info.hash, { info, bytes, misses: 0 });
    this.executor?.define(info.hash, bytes);
  }

  /** Keeps a copy of a small tensor; batches that need another one run on the compute thread. */
  put(key: BlobKey, bytes: Uint8Array): void {
    const { quickTensorBytes, quickHeldBytes } = WORKER_LIMITS;
    const { byteLength } = bytes;
    if (byteLength > quickTensorBytes || this.heldBytes + byteLength > quickHeldBytes) return;
    const copy = bytes.slice();
    this.tensors.set(key, copy);
    this.heldBytes += byteLength;
    this.executor?.put(key, copy);
  }

  forget(keys: readonly BlobKey[]): void {
    const held = keys.filter((key) => this.tensors.has(key));
    for (const key of held) {
      this.heldBytes -= this.tensors.get(key)?.byteLength ?? 0;
      this.tensors.delete(key);
    }
    if (held.length > 0) this.executor?.forget(held);
  }

  forgetAll(): void {
    this.forget([...this.tensors.keys()]);
  }

  forgetProgram(hash: ProgramHash): void {
    this.candidates.delete(hash);
    this.executor?.forgetProgram(hash);
  }

  /**
   * Runs a batch now.
   * @param needs The tensors that its units read.
   * @returns Null when it is one for the compute thread.
   */
  run(batch: ComputeBatch, needs: () => readonly BlobKey[]): readonly UnitOutcome[] | null {
    const candidate = this.candidates.get(batch.hash);
    if (candidate === undefined || batch.shards.length > candidate.info.quickUnits) return null;
    if (!needs().every((key) => this.tensors.has(key))) return null;
    const { executor } = this;
    if (executor?.isPrepared(batch.hash) !== true) {
      this.miss(candidate);
      return null;
    }
    return this.hasTime() ? this.timed(() => runAll(executor, batch)) : null;
  }

  close(): void {
    this.isClosed = true;
    this.executor?.dispose();
    this.executor = null;
  }

  // ---------------------------------------------------------------- getting ready

  /** A program that comes again and again is compiled, once the batch that just came is on its way. */
  private miss(candidate: Candidate): void {
    if (++candidate.misses < WORKER_LIMITS.quickAfterRuns) return;
    candidate.misses = 0;
    if (this.executor !== null) this.options.later(() => this.compile(candidate));
    else if (!this.isOpening) void this.open();
  }

  private async open(): Promise<void> {
    this.isOpening = true;
    let backend: Backend;
    try {
      backend = await this.options.open();
    } catch {
      // The compute thread has it open: everything can run there, so this stays as it is.
      return;
    }
    if (this.isClosed) {
      backend.dispose();
      return;
    }
    const executor = new Executor({ backend, nowUs: this.options.nowUs });
    for (const [hash, { bytes }] of this.candidates) executor.define(hash, bytes);
    for (const [key, bytes] of this.tensors) executor.put(key, bytes);
    this.executor = executor;
  }

  private compile({ info: { hash } }: Candidate): void {
    const { executor } = this;
    if (executor === null || !this.candidates.has(hash)) return;
    try {
      this.timed(() => executor.prepare(hash));
    } catch {
      // Its batches say why, on the compute thread.
      this.forgetProgram(hash);
    }
  }

  // ---------------------------------------------------------------- a share of the time

  private hasTime(): boolean {
    const nowUs = this.options.nowUs();
    if (nowUs - this.windowStartUs >= WORKER_LIMITS.quickWindowUs) {
      this.windowStartUs = nowUs;
      this.busyUs = 0;
    }
    return this.busyUs < WORKER_LIMITS.quickBusyUs;
  }

  private timed<T>(work: () => T): T {
    const startUs = this.options.nowUs();
    try {
      return work();
    } finally {
      this.busyUs += this.options.nowUs() - startUs;
    }
  }
}

/** Null for a backend whose work all belongs on the compute thread. */
export function quickRunsOf(backend: BackendName): QuickRuns | null {
  if (!LIGHT.has(backend)) return null;
  return new QuickRuns({
    open: () => openBackend(backend, { threads: 1 }),
    nowUs: () => performance.now() * US_PER_MS,
    later: setImmediate,
  });
}

function runAll(executor: Executor, batch: ComputeBatch): UnitOutcome[] {
  const outcomes: UnitOutcome[] = [];
  for (const some of executor.run(batch, () => false)) outcomes.push(...some);
  return outcomes;
}
