/**
 * @file The main thread's side of the user thread: starts it, runs cells in it, stops them, replaces it
 * when it dies. Knows nothing of Jupyter.
 */

import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { KERNEL_LIMITS, RavenError, toWireError } from '@ravenlab/protocol';
import type { EngineGateway } from './engineGateway.js';
import { INTERRUPTIBLE_EXEC_ARGV } from './interrupter.js';
import type { Interrupter } from './interrupter.js';
import { CONTROL } from './threadMessages.js';
import type {
  CapturedError,
  CellId,
  CellOutcome,
  CellRun,
  EngineAnswer,
  FromUser,
  HostAnswer,
  OutputItem,
  ToUser,
  UserThreadData,
} from './threadMessages.js';
import { transferablesOf } from './transferables.js';

/** A line of text that a cell asks for. */
export interface InputRequest {
  readonly requestId: number;
  readonly cellId: CellId;
  readonly prompt: string;
  readonly isPassword: boolean;
}

/** What the host tells its owner. */
export interface UserHostEvents {
  /** One piece of output; call {@link UserHost.releaseOutput} once it has left the process. */
  onOutput(cellId: CellId | null, item: OutputItem, sizeBytes: number): void;
  onInput(request: InputRequest): void;
  /** The thread was replaced: all variables are gone. */
  onVariablesLost(): void;
}

/** How a {@link UserHost} is set up; paths are absolute. */
export interface UserHostOptions {
  readonly notebookDir: string;
  readonly apiPath: string;
  readonly isInteractive: boolean;
  /** Heap of the user thread, MiB. */
  readonly heapMib: number;
  readonly gateway: EngineGateway;
  readonly interrupter: Interrupter;
  readonly events: UserHostEvents;
}

interface RunningCell {
  readonly cellId: CellId;
  readonly settle: (outcome: CellOutcome) => void;
  /** It has asked the engine for something, so it will ask again and can be stopped between two steps. */
  usesEngine: boolean;
}

interface PendingStop {
  readonly startedAtMs: number;
  readonly resolve: () => void;
  timer: NodeJS.Timeout | null;
  /** The thread's event loop has answered. */
  isAcknowledged: boolean;
  /** A termination that was asked for has not hit anything yet. */
  isTerminating: boolean;
}

/** A live thread and its channels. */
interface LiveThread {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly answerPort: MessagePort;
  readonly control: Int32Array;
}

const THREAD_URL = new URL('./user/userThread.js', import.meta.url);

/** Owner of the user thread. */
export class UserHost {
  private readonly options: UserHostOptions;
  private thread: LiveThread;
  private cell: RunningCell | null = null;
  private lastCellId: CellId = 0;
  private stopping: PendingStop | null = null;
  private isDisposed = false;
  /** Cell of every engine request that is not answered yet. */
  private readonly openRequests = new Map<number, CellId>();
  private openInput: InputRequest | null = null;

  constructor(options: UserHostOptions) {
    this.options = options;
    this.thread = this.startThread();
  }

  /** Runs one cell; resolves when it ended, was stopped, or took the thread down with it. */
  run(run: CellRun): Promise<CellOutcome> {
    if (this.cell) throw new Error('a cell is running already; the caller must queue');
    this.lastCellId = run.cellId;
    return new Promise((settle) => {
      this.cell = { cellId: run.cellId, settle, usesEngine: false };
      this.post({ kind: 'run', run });
    });
  }

  /**
   * Stops the running cell and keeps all variables. Without a running cell (or asked again while a stop
   * is under way) it ends what all earlier cells left running in the background.
   */
  async stop(): Promise<void> {
    const { control } = this.thread;
    if (this.cell) Atomics.store(control, CONTROL.stoppedCell, this.cell.cellId);
    if (!this.cell || this.stopping) {
      Atomics.store(control, CONTROL.stoppedThrough, this.lastCellId);
    }
    if (this.stopping) return;
    Atomics.store(control, CONTROL.isStopping, 1);
    const canEndItself = this.cancelRequests() || this.cell?.usesEngine === true;
    await new Promise<void>((resolve) => {
      const firstMs = canEndItself ? KERNEL_LIMITS.stopGraceMs : KERNEL_LIMITS.stopRetryMs;
      this.stopping = {
        ...{ startedAtMs: Date.now(), resolve, timer: null },
        ...{ isAcknowledged: false, isTerminating: false },
      };
      this.post({ kind: 'stop' });
      this.scheduleTermination(firstMs);
    });
  }

  /** Gives the cell the line of text it waits for; ignored if it waits for none. */
  answerInput(value: string): void {
    if (!this.openInput) return;
    const { requestId } = this.openInput;
    this.openInput = null;
    this.answer({ kind: 'input', requestId, value });
  }

  /** Output of this size has left the process: the cell may write that much more. */
  releaseOutput(sizeBytes: number): void {
    const { control } = this.thread;
    Atomics.sub(control, CONTROL.outputInFlight, sizeBytes);
    Atomics.notify(control, CONTROL.outputInFlight);
  }

  /** Ends the thread for good. */
  async dispose(): Promise<void> {
    this.isDisposed = true;
    if (this.stopping) this.endStop(this.stopping);
    await this.thread.worker.terminate();
  }

  private startThread(): LiveThread {
    const channel = new MessageChannel();
    const answers = new MessageChannel();
    const control = new Int32Array(new SharedArrayBuffer(CONTROL.words * 4));
    // Cells of an earlier thread must not count as stopped or running here.
    const workerData: UserThreadData = {
      port: channel.port2,
      answerPort: answers.port2,
      control,
      notebookDir: this.options.notebookDir,
      apiPath: this.options.apiPath,
      isInteractive: this.options.isInteractive,
    };
    const worker = new Worker(THREAD_URL, {
      workerData,
      transferList: [channel.port2, answers.port2],
      execArgv: INTERRUPTIBLE_EXEC_ARGV,
      resourceLimits: { maxOldGenerationSizeMb: this.options.heapMib },
      name: 'cells',
    });
    const thread = { worker, port: channel.port1, answerPort: answers.port1, control };
    let death: Error | null = null;
    thread.port.on('message', (message: FromUser) => this.receive(message));
    worker.on('error', (error: Error) => (death = error));
    worker.on('exit', (exitCode) => this.onThreadExit(thread, death, exitCode));
    return thread;
  }

  private receive(message: FromUser): void {
    switch (message.kind) {
      case 'ready':
        return;
      case 'output':
        this.options.events.onOutput(message.cellId, message.item, message.sizeBytes);
        return;
      case 'done':
        if (this.cell?.cellId === message.cellId) this.settle(message.outcome);
        return;
      case 'stopped':
        this.onStopped();
        return;
      case 'engine':
        void this.forward(message);
        return;
      case 'input':
        this.openInput = message;
        this.options.events.onInput(message);
        return;
    }
  }

  private async forward({
    requestId,
    cellId,
    request,
  }: FromUser & { kind: 'engine' }): Promise<void> {
    this.openRequests.set(requestId, cellId);
    if (this.cell?.cellId === cellId) this.cell.usesEngine = true;
    let answer: EngineAnswer;
    try {
      const reply = await this.options.gateway.request(request, cellId);
      answer = { ok: true, reply };
    } catch (error) {
      const meta = error instanceof RavenError ? error.meta : {};
      answer = { ok: false, error: toWireError(error), meta };
    }
    // Stop may have answered in the meantime.
    if (this.openRequests.delete(requestId)) this.answer({ kind: 'engine', requestId, answer });
  }

  private answer(answer: HostAnswer): void {
    const { answerPort, control } = this.thread;
    const transfer = answer.kind === 'engine' ? transferablesOf(answer.answer) : [];
    try {
      answerPort.postMessage(answer, transfer);
    } catch {
      // Memory that a native library owns cannot move; a copy can.
      answerPort.postMessage(answer);
    }
    Atomics.add(control, CONTROL.answerSignal, 1);
    Atomics.notify(control, CONTROL.answerSignal);
  }

  /** Answers everything that cells to be stopped wait for; true if there was anything. */
  private cancelRequests(): boolean {
    const isWanted = (cellId: CellId): boolean => !this.cell || this.cell.cellId === cellId;
    const requests = [...this.openRequests].filter(([, cellId]) => isWanted(cellId));
    const error = toWireError(new RavenError('interrupted', 'the cell was stopped'));
    for (const [requestId, cellId] of requests) {
      this.openRequests.delete(requestId);
      this.answer({ kind: 'engine', requestId, answer: { ok: false, error, meta: {} } });
      this.options.gateway.cancelEpoch(cellId);
    }
    if (this.cell) this.options.gateway.cancelEpoch(this.cell.cellId);
    const input = this.openInput;
    this.openInput = null;
    if (input) this.answer({ kind: 'input', requestId: input.requestId, value: null });
    return requests.length > 0 || input !== null;
  }

  /**
   * Terminates again and again until the thread's event loop answers: its code may start anew at once.
   * Every attempt brings a new message along, because a termination also drops the handler of a message.
   */
  private scheduleTermination(delayMs: number): void {
    const stop = this.stopping;
    if (!stop) return;
    stop.timer = setTimeout(() => {
      if (Date.now() - stop.startedAtMs > KERNEL_LIMITS.stopGiveUpMs) {
        void this.thread.worker.terminate();
        return;
      }
      if (!stop.isAcknowledged && !stop.isTerminating) {
        stop.isTerminating = true;
        this.options.interrupter.terminate(this.thread.worker.threadId, () => {
          stop.isTerminating = false;
          this.finishStop(stop);
        });
      }
      this.post({ kind: 'stop' });
      this.scheduleTermination(Math.min(delayMs * 2, KERNEL_LIMITS.stopRetryMaxMs));
    }, delayMs);
  }

  private onStopped(): void {
    const stop = this.stopping;
    if (!stop) return;
    stop.isAcknowledged = true;
    // A termination that came too late would hit the next cell: this message takes the blow.
    if (stop.isTerminating) this.post({ kind: 'stop' });
    this.finishStop(stop);
  }

  private finishStop(stop: PendingStop): void {
    if (this.stopping !== stop || !stop.isAcknowledged || stop.isTerminating) return;
    this.endStop(stop);
    if (this.cell) this.settle({ status: 'error', error: interruptError() });
  }

  private endStop(stop: PendingStop): void {
    if (stop.timer) clearTimeout(stop.timer);
    this.stopping = null;
    Atomics.store(this.thread.control, CONTROL.isStopping, 0);
    stop.resolve();
  }

  private settle(outcome: CellOutcome): void {
    const cell = this.cell;
    this.cell = null;
    const isInterrupt = outcome.status === 'error' && outcome.error.isInterrupt;
    cell?.settle(isInterrupt ? { status: 'error', error: interruptError() } : outcome);
  }

  private onThreadExit(thread: LiveThread, death: Error | null, exitCode: number): void {
    if (this.isDisposed) return;
    // What the thread said before it died.
    for (
      let last = receiveMessageOnPort(thread.port);
      last;
      last = receiveMessageOnPort(thread.port)
    ) {
      this.receive(last.message as FromUser);
    }
    thread.port.close();
    thread.answerPort.close();
    const hasGivenUp = this.stopping !== null;
    if (this.stopping) this.endStop(this.stopping);
    for (const cellId of new Set(this.openRequests.values())) {
      this.options.gateway.cancelEpoch(cellId);
    }
    this.openRequests.clear();
    this.openInput = null;
    this.thread = this.startThread();
    this.options.events.onVariablesLost();
    const error = deathError(death, { exitCode, hasGivenUp, heapMib: this.options.heapMib });
    if (this.cell) this.settle({ status: 'error', error });
    else this.options.events.onOutput(null, { kind: 'lateError', error }, 0);
  }

  private post(message: ToUser): void {
    this.thread.port.postMessage(message);
  }
}

function interruptError(): CapturedError {
  const message = 'the cell was stopped; variables keep their values';
  return { name: 'KeyboardInterrupt', message, stack: '', cause: null, isInterrupt: true };
}

interface DeathCircumstances {
  readonly exitCode: number;
  readonly hasGivenUp: boolean;
  readonly heapMib: number;
}

function deathError(death: Error | null, about: DeathCircumstances): CapturedError {
  const lost = 'The variables of this notebook are lost; the kernel and the cluster go on.';
  const isOutOfMemory = death && 'code' in death && death.code === 'ERR_WORKER_OUT_OF_MEMORY';
  const [name, reason] = isOutOfMemory
    ? [
        'OutOfMemoryError',
        `the notebook's variables need more than ${about.heapMib} MiB of heap (set RAVENLAB_HEAP_MIB).`,
      ]
    : about.hasGivenUp
      ? ['KeyboardInterrupt', 'the cell did not end in time, so its thread was replaced.']
      : death
        ? ['FatalError', `the thread of the cells ended: ${death.message}.`]
        : ['ExitError', `the cell ended its thread with process.exit(${about.exitCode}).`];
  return { name, message: `${reason} ${lost}`, stack: '', cause: null, isInterrupt: false };
}
