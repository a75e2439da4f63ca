/** @file The session of the package `ravenlab` in the user thread, and everything else that blocks on main. */

import { createHash } from 'node:crypto';
import type { MessagePort } from 'node:worker_threads';
import { receiveMessageOnPort } from 'node:worker_threads';
import { KERNEL_LIMITS, RavenError } from '@ravenlab/protocol';
import type { EngineReply, EngineRequest } from '@ravenlab/protocol';
import type { DisplayOptions, MimeBundle, Session } from '../../api/session.js';
import { CONTROL } from '../threadMessages.js';
import type { EngineAnswer, HostAnswer, UserThreadData } from '../threadMessages.js';
import type { CellScope, RunContext } from './cellScope.js';
import { toBundle } from './mimeBundle.js';
import type { OutputPort } from './outputPort.js';

/** An asynchronous request and, once it is in, its answer. */
interface Ticket {
  /** The run that asked. */
  readonly context: RunContext | null;
  readonly resolve: (reply: EngineReply) => void;
  readonly reject: (error: RavenError) => void;
  answer: EngineAnswer | null;
}

/** The one answer that this thread is blocked on. */
interface BlockingWait {
  readonly requestId: number;
  answer: HostAnswer | null;
}

/** One per user thread. */
export class ThreadSession implements Session {
  private readonly isInteractive: boolean;
  private readonly output: OutputPort;
  private readonly scope: CellScope;
  private readonly control: Int32Array;
  private readonly answerPort: MessagePort;
  private readonly openTickets = new Map<number, Ticket>();
  private readonly tickets = new WeakMap<Promise<EngineReply>, Ticket>();
  private blockingWait: BlockingWait | null = null;
  private nextRequestId = 1;

  constructor(data: UserThreadData, output: OutputPort, scope: CellScope) {
    this.isInteractive = data.isInteractive;
    this.control = data.control;
    this.answerPort = data.answerPort;
    this.output = output;
    this.scope = scope;
    this.answerPort.on('message', (answer: HostAnswer) => {
      scope.reset();
      this.accept(answer);
    });
  }

  /** A front end that takes no input is a batch runner. */
  get interactive(): boolean {
    return this.isInteractive && (this.scope.current?.allowStdin ?? true);
  }

  requestSync(request: EngineRequest): EngineReply {
    const answer = this.blockOn(this.send(request));
    if (answer.kind !== 'engine') throw new Error('the main thread answered another question');
    return unwrap(answer.answer);
  }

  request(request: EngineRequest): Promise<EngineReply> {
    if (this.openTickets.size >= KERNEL_LIMITS.openEngineRequests) {
      const message = `${KERNEL_LIMITS.openEngineRequests} engine requests are open; await some of them first`;
      return Promise.reject(new RavenError('limit', message));
    }
    const context = this.scope.current;
    let ticket: Ticket | undefined;
    const reply = new Promise<EngineReply>((resolve, reject) => {
      ticket = { context, resolve, reject, answer: null };
      this.send(request, ticket);
    });
    if (ticket) this.tickets.set(reply, ticket);
    return reply;
  }

  waitSync(reply: Promise<EngineReply>): EngineReply {
    const ticket = this.tickets.get(reply);
    if (!ticket)
      throw new TypeError('waitSync takes a promise that request() of this session made');
    this.liveContext();
    while (!ticket.answer) this.receive();
    return unwrap(ticket.answer);
  }

  /**
   * Settles what stopped cells have asked for; called before Stop is acknowledged. The main thread has
   * answered everything that reached it: what is still open was cut off on its way, and nobody may wait
   * for it.
   */
  settleStopped(): void {
    for (let answer = this.poll(); answer; answer = this.poll()) this.accept(answer);
    for (const [requestId, { context }] of this.openTickets) {
      if (!context || !this.scope.isStopped(context)) continue;
      this.accept({ kind: 'engine', requestId, answer: INTERRUPTED });
    }
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
    const answer = this.blockOn(requestId);
    // Stop ends the wait with an empty answer.
    this.liveContext();
    return answer.kind === 'input' ? answer.value : null;
  }

  /** The ticket is there before the request leaves: Stop may cut in between any two steps. */
  private send(request: EngineRequest, ticket: Ticket | null = null): number {
    const cellId = this.liveContext()?.cellId ?? 0;
    const requestId = this.nextRequestId++;
    if (ticket) this.openTickets.set(requestId, ticket);
    this.output.post({ kind: 'engine', requestId, cellId, request: compact(request) });
    return requestId;
  }

  /**
   * Code of a stopped cell may not reach the cluster any more. A cell that catches the error and calls
   * again is held here until it is terminated: here nothing of the package is half done.
   */
  private liveContext(): RunContext | null {
    const context = this.scope.current;
    if (!context || !this.scope.isStopped(context)) return context;
    const isStopping = Atomics.load(this.control, CONTROL.isStopping) === 1;
    if (isStopping && context.wasToldOfStop) Atomics.wait(PARKING, 0, 0);
    context.wasToldOfStop = true;
    throw new RavenError('interrupted', 'the cell was stopped', { retryable: true });
  }

  /** Blocks this thread; Stop ends the wait through termination or an `interrupted` answer. */
  private blockOn(requestId: number): HostAnswer {
    const wait: BlockingWait = { requestId, answer: null };
    this.blockingWait = wait;
    while (!wait.answer) this.receive();
    this.blockingWait = null;
    return wait.answer;
  }

  /** Takes in one answer, blocking until there is one. */
  private receive(): void {
    for (;;) {
      const signal = Atomics.load(this.control, CONTROL.answerSignal);
      const answer = this.poll();
      if (answer) return this.accept(answer);
      Atomics.wait(this.control, CONTROL.answerSignal, signal);
    }
  }

  private poll(): HostAnswer | null {
    const received = receiveMessageOnPort(this.answerPort) as { message: HostAnswer } | undefined;
    return received?.message ?? null;
  }

  /** Answers that nobody waits for any more (Stop has cut the wait off) are dropped. */
  private accept(answer: HostAnswer): void {
    if (this.blockingWait?.requestId === answer.requestId) this.blockingWait.answer = answer;
    const ticket = this.openTickets.get(answer.requestId);
    if (!ticket || answer.kind !== 'engine') return;
    // In this order: wherever Stop cuts in, the ticket is answered or still open.
    ticket.answer ??= answer.answer;
    if (ticket.answer.ok) ticket.resolve(ticket.answer.reply);
    else ticket.reject(toError(ticket.answer));
    this.openTickets.delete(answer.requestId);
  }
}

/** Never notified. */
const PARKING = new Int32Array(new SharedArrayBuffer(4));

const INTERRUPTED: EngineAnswer = {
  ok: false,
  error: { code: 'interrupted', message: 'the cell was stopped', fault: 'user', retryable: true },
  meta: {},
};

function unwrap(answer: EngineAnswer): EngineReply {
  if (answer.ok) return answer.reply;
  throw toError(answer);
}

function toError({ error, meta }: EngineAnswer & { ok: false }): RavenError {
  const { code, message, fault, retryable } = error;
  return new RavenError(code, message, { fault, retryable, meta });
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
