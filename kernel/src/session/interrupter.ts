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
  private nextMessageId = 1;

  constructor() {
    this.session.connect();
    this.session.on('NodeWorker.attachedToWorker', ({ params }) => {
      this.sessions.set(Number(params.workerInfo.workerId), params.sessionId);
    });
    this.session.on('NodeWorker.detachedFromWorker', ({ params }) => {
      for (const [threadId, sessionId] of this.sessions) {
        if (sessionId === params.sessionId) this.sessions.delete(threadId);
      }
    });
    this.session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  }

  /** Asks the thread to drop its current call stack. Nothing happens if it runs nothing or is gone. */
  terminate(threadId: number): void {
    const sessionId = this.sessions.get(threadId);
    if (sessionId === undefined) return;
    const message = JSON.stringify({
      id: this.nextMessageId++,
      method: 'Runtime.terminateExecution',
    });
    this.session.post('NodeWorker.sendMessageToWorker', { sessionId, message });
  }

  /** Ends the inspector session; no thread can be interrupted afterwards. */
  dispose(): void {
    this.session.disconnect();
  }
}
