/**
 * @file Ends whatever JavaScript a worker thread is running, through Node's inspector. The thread and its
 * variables live on.
 *
 * `Runtime.terminateExecution` reaches loops, regular expressions and Atomics.wait alike. The thread must
 * run with `--no-force-async-hooks-checks`: without it Node aborts the process when the terminated code
 * was inside an async context.
 */

import { Session } from 'node:inspector';

/** `execArgv` of a thread that may be interrupted. */
export const INTERRUPTIBLE_EXEC_ARGV = ['--no-force-async-hooks-checks', '--no-warnings'];

/** One per process; threads are told apart by their id. */
export class Interrupter {
  private readonly session = new Session();
  /** Inspector session of each live thread. */
  private readonly sessions = new Map<number, string>();
  private readonly pending = new Map<number, { threadId: number; onDone: () => void }>();
  private nextMessageId = 1;

  constructor() {
    this.session.connect();
    this.session.on('NodeWorker.attachedToWorker', ({ params }) => {
      this.sessions.set(Number(params.workerInfo.workerId), params.sessionId);
    });
    this.session.on('NodeWorker.detachedFromWorker', ({ params }) => {
      for (const [threadId, sessionId] of this.sessions) {
        if (sessionId === params.sessionId) this.forget(threadId);
      }
    });
    this.session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => {
      const { id } = JSON.parse(params.message) as { id?: number };
      if (id !== undefined) this.complete(id);
    });
    this.session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  }

  /**
   * Asks the thread to drop its current call stack; if it runs nothing, the next code that it runs is
   * dropped instead. `onDone` is called when the termination has taken place: until then it may hit
   * anything that the thread is given to do.
   */
  terminate(threadId: number, onDone: () => void): void {
    const sessionId = this.sessions.get(threadId);
    if (sessionId === undefined) return;
    const id = this.nextMessageId++;
    this.pending.set(id, { threadId, onDone });
    const message = JSON.stringify({ id, method: 'Runtime.terminateExecution' });
    this.session.post('NodeWorker.sendMessageToWorker', { sessionId, message });
  }

  /** Ends the inspector session; no thread can be interrupted afterwards. */
  dispose(): void {
    this.session.disconnect();
  }

  private complete(id: number): void {
    const request = this.pending.get(id);
    this.pending.delete(id);
    request?.onDone();
  }

  private forget(threadId: number): void {
    this.sessions.delete(threadId);
    for (const [id, request] of this.pending) {
      if (request.threadId === threadId) this.pending.delete(id);
    }
  }
}
