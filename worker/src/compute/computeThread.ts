/** @file Entry of the compute thread: takes messages from the network thread and gives the executor its batches. */
import { createHash } from 'node:crypto';
import { receiveMessageOnPort, parentPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import type { Hash32, TensorData } from '@ravenlab/protocol';
import { WORKER_LIMITS, toWireError } from '@ravenlab/protocol';
import { measureGflops } from './benchmark.js';
import type {
  ComputeBatch,
  ComputeSettings,
  FromCompute,
  ToCompute,
  UnitOutcome,
} from './computeMessages.js';
import { Executor } from './executor.js';
import { openBackend } from './openBackend.js';
import { SumMemories } from './wasm/sumLoops.js';

const US_PER_MS = 1000;
const MS_PER_S = 1000;
/** Results below this are copied together: many small transfers cost more than one copy. */
const PACK_BELOW_BYTES = 4096;

const nowUs = (): number => performance.now() * US_PER_MS;

/** All but what overtakes the queue: a tensor may be dropped and come again while a batch before both still runs. */
type Queued = Exclude<ToCompute, { kind: 'skip' | 'stop' | 'advance' | 'spent' }>;

class ComputeLoop {
  private readonly port: MessagePort;
  private readonly executor: Executor;
  private readonly busySince: Int32Array;
  private readonly digests: boolean;
  private readonly queue: Queued[] = [];
  /** Units not to run, by batch. */
  private readonly skipped = new Map<number, Set<number>>();
  private isStopping = false;
  private pending: UnitOutcome[] = [];
  private pendingBytes = 0;
  private lastFlushUs = 0;

  constructor(
    port: MessagePort,
    executor: Executor,
    { busySince, digests }: Pick<ComputeSettings, 'busySince' | 'digests'>,
  ) {
    this.port = port;
    this.executor = executor;
    this.busySince = new Int32Array(busySince);
    this.digests = digests;
  }

  /** Takes a message and runs all there is to run. Messages that come meanwhile are taken between units. */
  wake(message: ToCompute): void {
    this.take(message);
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      this.carryOut(next);
      this.drain();
    }
    if (!this.isStopping) return;
    this.executor.dispose();
    // With its port closed nothing keeps the thread.
    this.port.close();
  }

  private drain(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.port) as { message: ToCompute } | undefined;
      if (received === undefined) return;
      this.take(received.message);
    }
  }

  private take(message: ToCompute): void {
    switch (message.kind) {
      case 'stop':
        this.isStopping = true;
        this.queue.length = 0;
        return;
      case 'batch':
        this.skipped.set(message.batch, new Set());
        this.queue.push(message);
        return;
      case 'skip': {
        // Of a batch that is through: nothing to skip any more.
        const skipped = this.skipped.get(message.batch);
        for (const unit of message.units) skipped?.add(unit);
        return;
      }
      case 'advance':
        this.executor.announce(message.message);
        return;
      case 'spent':
        this.executor.takeBack(message.buffers);
        return;
      default:
        this.queue.push(message);
    }
  }

  private carryOut(message: Queued): void {
    switch (message.kind) {
      case 'batch':
        this.runBatch(message);
        return;
      case 'program':
        this.executor.define(message.hash, message.bytes);
        return;
      case 'tensor':
        this.executor.put(message.key, message.bytes);
        return;
      case 'forget':
        this.executor.forget(message.keys);
        return;
      case 'keep':
        this.executor.keep(message.execution, message.keys);
        return;
      case 'forgetSlots':
        this.executor.forgetSlots();
        return;
      case 'forgetProgram':
        this.executor.forgetProgram(message.hash);
        return;
    }
  }

  private runBatch(batch: ComputeBatch): void {
    const skipped = this.skipped.get(batch.batch);
    this.lastFlushUs = nowUs();
    this.markBusy();
    for (const outcomes of this.executor.run(batch, (unit) => skipped?.has(unit) === true)) {
      for (const outcome of outcomes) this.hold(outcome);
      if (this.isStopping) break;
      // What is made after it is made while it travels.
      const isDue =
        outcomes[0]?.isAdvancing === true || nowUs() - this.lastFlushUs >= WORKER_LIMITS.flushUs;
      if (isDue || this.pendingBytes >= WORKER_LIMITS.flushBytes) this.flush(batch.batch);
      this.drain();
      this.markBusy();
    }
    Atomics.store(this.busySince, 0, 0);
    this.flush(batch.batch);
    this.skipped.delete(batch.batch);
    if (!this.isStopping) this.executor.improve(batch);
  }

  private hold(outcome: UnitOutcome): void {
    const isHashed = this.digests && outcome.status === 'ok';
    this.pending.push(isHashed ? { ...outcome, digest: digestOf(outcome.outputs) } : outcome);
    for (const output of outcome.outputs) this.pendingBytes += output.byteLength;
  }

  private markBusy(): void {
    Atomics.store(this.busySince, 0, Math.floor(process.uptime() * MS_PER_S) + 1);
  }

  private flush(batch: number): void {
    this.lastFlushUs = nowUs();
    if (this.pending.length === 0) return;
    const { outcomes, transfer } = packed(this.pending);
    const message: FromCompute = { kind: 'results', batch, outcomes };
    this.port.postMessage(message, transfer);
    this.pending = [];
    this.pendingBytes = 0;
  }
}

function digestOf(outputs: readonly TensorData[]): Hash32 {
  const hash = createHash('sha256');
  for (const { buffer, byteOffset, byteLength } of outputs) {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return `0x${hash.digest('hex')}` as Hash32;
}

/** Outcomes with small outputs copied into one buffer, and the buffers to move. */
function packed(outcomes: readonly UnitOutcome[]): {
  readonly outcomes: readonly UnitOutcome[];
  readonly transfer: ArrayBuffer[];
} {
  const isSmall = (data: TensorData): boolean => data.byteLength < PACK_BELOW_BYTES;
  let bytes = 0;
  for (const { outputs } of outcomes) {
    for (const data of outputs) if (isSmall(data)) bytes += data.byteLength;
  }
  const arena = new Uint8Array(bytes);
  const buffers = new Set<ArrayBuffer>();
  let at = 0;
  const place = (data: TensorData): Uint8Array => {
    const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (!isSmall(data)) {
      buffers.add(view.buffer as ArrayBuffer);
      return view;
    }
    arena.set(view, at);
    at += view.byteLength;
    return arena.subarray(at - view.byteLength, at);
  };
  const moved = outcomes.map((outcome) => ({ ...outcome, outputs: outcome.outputs.map(place) }));
  if (bytes > 0) buffers.add(arena.buffer);
  return { outcomes: moved, transfer: [...buffers] };
}

async function main(port: MessagePort, settings: ComputeSettings): Promise<void> {
  const send = (message: FromCompute): void => port.postMessage(message);
  try {
    const backend = await openBackend(settings.backend, { threads: settings.threads });
    const { memoryBytes } = settings;
    const gflops = settings.gflops ?? measureGflops(backend, nowUs);
    const { deviceName, version } = backend;
    const executor = new Executor({ backend, nowUs, memories: SumMemories.load(), memoryBytes });
    const loop = new ComputeLoop(port, executor, settings);
    port.on('message', (message: ToCompute) => loop.wake(message));
    send({ kind: 'ready', deviceName, version, gflops });
  } catch (error) {
    send({ kind: 'unavailable', error: toWireError(error) });
  }
}

if (parentPort === null)
  throw new Error('computeThread is the entry of a thread, not of a process');
await main(parentPort, workerData as ComputeSettings);
