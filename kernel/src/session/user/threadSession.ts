/** @file The session of the package `ravenlab` in the user thread, and everything else that blocks on main. */

import { createHash, randomUUID } from 'node:crypto';
import type { MessagePort } from 'node:worker_threads';
import { receiveMessageOnPort } from 'node:worker_threads';
import { fromWireError, KERNEL_LIMITS, RavenError } from '@ravenlab/protocol';
import type { EngineReply, EngineRequest } from '@ravenlab/protocol';
import type { DisplayOptions, MimeBundle, Session } from '../../api/session.js';
import { CONTROL } from '../threadMessages.js';
import type { EngineAnswer, SyncAnswer, UserThreadData } from '../threadMessages.js';
import type { CellScope, RunContext } from './cellScope.js';
import { toBundle } from './mimeBundle.js';
import type { OutputPort } from './outputPort.js';

interface Waiter {
  readonly resolve: (reply: EngineReply) => void;
  readonly reject: (error: RavenError) => void;
}

/** One per user thread. */
export class ThreadSession implements Session {
  readonly interactive: boolean;
  private readonly output: OutputPort;
  private readonly scope: CellScope;
  private readonly control: Int32Array;
  private readonly syncPort: MessagePort;
  private readonly waiters = new Map<number, Waiter>();
  private nextRequestId = 1;

  constructor(data: UserThreadData, output: OutputPort, scope: CellScope) {
    this.interactive = data.isInteractive;
    this.control = data.control;
    this.syncPort = data.syncPort;
    this.output = output;
    this.scope = scope;
  }

  requestSync(request: EngineRequest): EngineReply {
    const requestId = this.send(request, true);
    const answer = this.waitFor(
      (message) => message.kind === 'engine' && message.requestId === requestId,
    );
    if (answer.kind !== 'engine') throw new Error('the main thread answered another question');
    return unwrap(answer.answer);
  }

  request(request: EngineRequest): Promise<EngineReply> {
    return new Promise((resolve, reject) => {
      if (this.waiters.size >= KERNEL_LIMITS.openEngineRequests) {
        const limit = KERNEL_LIMITS.openEngineRequests;
        throw new RavenError('limit', `${limit} engine requests are open; await some of them first`);
      }
      const requestId = this.send(request, false);
      this.waiters.set(requestId, { resolve, reject });
    });
  }

  /** The answer to an asynchronous request has come. */
  settle(requestId: number, answer: EngineAnswer): void {
    const waiter = this.waiters.get(requestId);
    this.waiters.delete(requestId);
    if (!waiter) return;
    if (answer.ok) waiter.resolve(answer.reply);
    else waiter.reject(fromWireError(answer.error));
  }

  display(bundle: MimeBundle, options: DisplayOptions = {}): void {
    this.output.emit({
      kind: 'display',
      bundle: { data: toBundle(bundle), metadata: {} },
      displayId: options.displayId ?? null,
      isUpdate: options.update ?? false,
    });
  }

  write(stream: 'stdout' | 'stderr', text: string): void {
    this.output.write(stream, text);
  }

  sha256(bytes: Uint8Array): string {
    return createHash('sha256').update(bytes).digest('hex');
  }

  now(): number {
    return Date.now();
  }

  /**
   * Asks the front end for a line of text and blocks until it comes.
   * @throws Error if the front end does not allow input.
   */
  input(prompt: string, isPassword: boolean): string | null {
    const context = this.liveContext();
    if (!context?.allowStdin) {
      throw new Error('this front end does not take input: run the cell in a notebook or console');
    }
    const requestId = this.nextRequestId++;
    const { cellId } = context;
    this.output.post({ kind: 'input', requestId, cellId, prompt, isPassword });
    const answer = this.waitFor(
      (message) => message.kind === 'input' && message.requestId === requestId,
    );
    return answer.kind === 'input' ? answer.value : null;
  }

  /** A display id that no other display has. */
  newDisplayId(): string {
    return randomUUID();
  }

  private send(request: EngineRequest, isSync: boolean): number {
    const cellId = this.liveContext()?.cellId ?? 0;
    const requestId = this.nextRequestId++;
    this.output.post({ kind: 'engine', requestId, cellId, isSync, request: compact(request) });
    return requestId;
  }

  /** Code of a stopped cell may not reach the cluster any more. */
  private liveContext(): RunContext | null {
    const context = this.scope.current;
    if (context && this.scope.isStopped(context)) {
      throw new RavenError('interrupted', 'the cell was stopped', { retryable: true });
    }
    return context;
  }

  /** Blocks this thread; Stop ends the wait through termination or an `interrupted` answer. */
  private waitFor(isWanted: (message: SyncAnswer) => boolean): SyncAnswer {
    for (;;) {
      const signal = Atomics.load(this.control, CONTROL.syncSignal);
      const received = receiveMessageOnPort(this.syncPort) as { message: SyncAnswer } | undefined;
      // Answers to waits that Stop has cut off may come first.
      if (received && isWanted(received.message)) return received.message;
      if (!received) Atomics.wait(this.control, CONTROL.syncSignal, signal);
    }
  }
}

function unwrap(answer: EngineAnswer): EngineReply {
  if (answer.ok) return answer.reply;
  throw fromWireError(answer.error);
}

/** Cloning a view clones the buffer behind it; a small view of a large buffer is copied out first. */
function compact<T>(value: T): T {
  if (ArrayBuffer.isView(value)) {
    const isWhole = value.byteLength === value.buffer.byteLength;
    if (isWhole || value.buffer instanceof SharedArrayBuffer) return value;
    return (value as unknown as Uint8Array).slice() as T;
  }
  if (Array.isArray(value)) {
    const isFlat = value.every((item) => typeof item !== 'object');
    return isFlat ? value : (value.map((item: unknown) => compact(item)) as T);
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, compact(item as unknown)]),
  ) as T;
}
