/** @file A whole kernel put together: sockets, server, threads. What it is made of is decided here. */

import { randomUUID } from 'node:crypto';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import type { EngineGateway } from '../session/engineGateway.js';
import { Interrupter } from '../session/interrupter.js';
import type { CellId } from '../session/threadMessages.js';
import type { TypeService } from '../session/types/typeService.js';
import { UserHost } from '../session/userHost.js';
import { CommManager } from './comms.js';
import type { ConnectionInfo } from './connection.js';
import { Executor, status } from './executor.js';
import type { TypePolicy } from './executor.js';
import { History } from './history.js';
import { OutputRouter } from './outputRouter.js';
import type { RouterClock } from './outputRouter.js';
import { KernelServer } from './server.js';
import type { KernelParts } from './server.js';
import { KernelSockets } from './sockets.js';
import { MessageCodec } from './wire.js';
import type { IncomingMessage } from './wire.js';

/** How a kernel is set up; paths are absolute. */
export interface KernelOptions {
  readonly connection: ConnectionInfo;
  readonly version: string;
  readonly notebookDir: string;
  /** Entry of the package `ravenlab` that cells import. */
  readonly apiPath: string;
  /** Stack frames in these directories are left out of tracebacks. */
  readonly internalDirs: readonly string[];
  /** Null: history of this session only. */
  readonly historyPath: string | null;
  readonly isInteractive: boolean;
  readonly heapMib: number;
  readonly typePolicy: TypePolicy;
  readonly types: TypeService;
  readonly gateway: EngineGateway;
  readonly onShutdown: (options: { readonly restart: boolean }) => void;
  readonly onWarning: (context: string, detail: unknown) => void;
}

/** A running kernel. */
export interface Kernel {
  readonly comms: CommManager;
  /** Shows a line of text on stderr of the newest cell. */
  notify(text: string): void;
  interrupt(): Promise<void>;
  /** Ends cells, comms and sockets; what is queued for front ends still leaves. */
  close(): Promise<void>;
}

const CLOCK: RouterClock = {
  nowMs: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Starts a kernel; resolves when its sockets are bound. */
export async function startKernel(options: KernelOptions): Promise<Kernel> {
  const { onWarning } = options;
  let sockets: KernelSockets | null = null;
  const comms: CommManager = new CommManager({
    send: (message) => server.sendComm(message),
    onError: onWarning,
    maxOpenComms: KERNEL_LIMITS.openComms,
  });
  const history = new History({
    path: options.historyPath,
    session: Date.now(),
    onError: onWarning,
  });
  const server: KernelServer = new KernelServer({
    codec: createCodec(options.connection.key),
    send: (channel, frames) => sockets?.send(channel, frames),
    version: options.version,
    types: options.types,
    history,
    comms,
    onShutdown: options.onShutdown,
    onWarning,
  });
  const interrupter = new Interrupter();
  const hasBacklog = (): boolean => sockets?.hasShellBacklog ?? false;
  const parts = createParts(options, { server, history, interrupter, hasBacklog });
  server.attach(parts);
  sockets = await KernelSockets.bind(options.connection, {
    onMessage: (channel, frames) => server.receive(channel, frames),
    onSubscribe: (topic) => server.welcome(topic),
    onError: onWarning,
  });
  server.publish(null, status('starting'));
  sockets.listen();
  return {
    comms,
    notify: (text) => parts.router.stream(null, 'stderr', `${text}\n`, 0),
    interrupt: () => server.interrupt(),
    close: async () => {
      comms.closeAll();
      parts.router.flushAll();
      sockets.close();
      await parts.host.dispose();
      interrupter.dispose();
    },
  };
}

function createCodec(key: string): MessageCodec {
  return new MessageCodec({
    key,
    sessionId: randomUUID(),
    username: 'kernel',
    nowMs: () => Date.now(),
  });
}

interface PartsContext {
  readonly server: KernelServer;
  readonly history: History;
  readonly interrupter: Interrupter;
  readonly hasBacklog: () => boolean;
}

/** What runs cells and carries their output. */
function createParts(
  options: KernelOptions,
  { server, history, interrupter, hasBacklog }: PartsContext,
): KernelParts {
  const { types, notebookDir, apiPath, isInteractive, heapMib, gateway } = options;
  const host: UserHost = new UserHost({
    ...{ notebookDir, apiPath, isInteractive, heapMib, gateway, interrupter },
    events: {
      onOutput: server.onOutput,
      onInput: server.onInput,
      onVariablesLost: () => types.reset(),
    },
  });
  const router = new OutputRouter<CellId, IncomingMessage>({
    clock: CLOCK,
    publish: server.publish,
    onReleased: (sizeBytes) => host.releaseOutput(sizeBytes),
  });
  const executor = new Executor({
    ...{ host, types, history, router },
    typePolicy: options.typePolicy,
    internalDirs: options.internalDirs,
    publish: server.publish,
    reply: server.reply,
    drainSocket: () => drain(hasBacklog),
  });
  return { host, router, executor };
}

/** Turns the event loop until the socket has handed over what it holds; bounded by the queue's limit. */
async function drain(hasBacklog: () => boolean): Promise<void> {
  for (let turn = 0; turn < KERNEL_LIMITS.queuedCells; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (!hasBacklog()) return;
  }
}
