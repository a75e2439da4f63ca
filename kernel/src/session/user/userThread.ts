/**
 * @file Entry of the user thread: nothing runs here but cells and what they import.
 *
 * Everything is driven by messages, not by promises of the runtime: terminating a cell drops whatever
 * microtasks are queued at that moment.
 */

import { createRequire } from 'node:module';
import { workerData } from 'node:worker_threads';
import { installSession } from '../../api/session.js';
import { RUNTIME_NAME } from '../transform/moduleSyntax.js';
import type { CellRun, ToUser, UserThreadData } from '../threadMessages.js';
import { runCell } from './cellRunner.js';
import { CellScope } from './cellScope.js';
import { captureError } from './errorCapture.js';
import { ModuleLoader } from './moduleLoader.js';
import { installGlobals, installStreams, installTslab, JupyterApi } from './notebookGlobals.js';
import { OutputPort } from './outputPort.js';
import { ThreadSession } from './threadSession.js';

/** An error that a library throws keeps the line of the cell that called it: V8's ten frames may end inside of the library. */
const STACK_FRAMES = 64;

start(workerData as UserThreadData);

function start(data: UserThreadData): void {
  Error.stackTraceLimit = STACK_FRAMES;
  const scope = new CellScope(data.control);
  const output = new OutputPort(data.port, data.control, scope);
  const session = new ThreadSession(data, output, scope);
  const modules = new ModuleLoader(data);

  const runtime = Object.freeze({
    here: scope.here,
    settle: scope.settle,
    resume: scope.resume,
    iterate: scope.iterate,
    import: modules.import,
    dynamicImport: modules.dynamicImport,
    meta: modules.meta,
  });
  Object.defineProperty(globalThis, RUNTIME_NAME, { value: runtime });

  const nextTurn = setImmediate;
  silenceLoaderWarning();
  installStreams(output);
  scope.installCallbacks();
  installGlobals(new JupyterApi(output, session), modules);
  installTslab(createRequire(import.meta.url), output);
  installSession(session);

  const reportLate = (error: unknown): void => {
    output.emit({ kind: 'lateError', error: captureError(error) });
  };
  process.on('uncaughtException', reportLate);
  process.on('unhandledRejection', reportLate);

  const handlers: { [K in ToUser['kind']]: (message: ToUser & { kind: K }) => void } = {
    run: ({ run }) => execute(run, scope, output),
    stop: () => {
      scope.noteStop();
      session.settleStopped();
      // One turn later the cell's `finally` blocks have run and its outcome is on the way.
      nextTurn(() => {
        scope.endStop();
        output.post({ kind: 'stopped' });
      });
    },
  };
  data.port.on('message', (message: ToUser) => {
    scope.reset();
    (handlers[message.kind] as (message: ToUser) => void)(message);
  });
  output.post({ kind: 'ready' });
}

function execute(run: CellRun, scope: CellScope, output: OutputPort): void {
  const { cellId } = run;
  runCell(run, scope, (outcome) => output.post({ kind: 'done', cellId, outcome }));
}

/** Cells use Node's own loader for import(); that it is experimental is not the notebook's business. */
function silenceLoaderWarning(): void {
  const emitWarning = process.emitWarning.bind(process);
  const filtered = (warning: string | Error, ...rest: unknown[]): void => {
    if (String(warning).includes('USE_MAIN_CONTEXT_DEFAULT_LOADER')) return;
    (emitWarning as (...args: unknown[]) => void)(warning, ...rest);
  };
  process.emitWarning = filtered;
}
