/**
 * @file The engine's process from outside: started or found again, introduced to, talked to, its end noticed. It is no child in
 * the usual sense: it outlives the kernel that started it.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EngineId, FrameSocketHandlers } from '@ravenlab/protocol';
import { ClusterError, ENGINE_LIMITS, FrameSocket, withLargePages } from '@ravenlab/protocol';
import { engineFolder } from './engineId.js';
import type { ToEngine, ToKernel } from './kernelWire.js';
import { KERNEL_SOCKET, decodeKernelMessage, encodeKernelMessage } from './kernelWire.js';

type Welcome = Extract<ToKernel, { kind: 'welcome' }>;

export interface TalkOptions {
  /** Who speaks; see ToEngine's hello. */
  readonly hello: Extract<ToEngine, { kind: 'hello' }>;
  readonly onMessage: (message: ToKernel) => void;
  /** Called once, when the process is gone. */
  readonly onExit: (reason: string) => void;
}

export interface StartOptions extends TalkOptions {
  readonly entry?: string;
  readonly engineId: EngineId;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface EngineProcess {
  readonly pid: number;
  readonly welcome: Welcome;
  send(message: ToEngine): void;
  /** Asks it to end, insists after ENGINE_LIMITS.exitMs; resolves when it is gone. */
  close(): Promise<void>;
  /** Leaves it alone: it waits for another kernel. */
  detach(): void;
}

/** The engine works for another kernel, which is alive. */
export class EngineBusyError extends ClusterError {}

const ENTRY = fileURLToPath(new URL('./main.js', import.meta.url));
const LOG_FILE = 'engine.log';
/** The log begins anew above this; bytes. */
const LOG_BYTES = 1 << 20;
const LAST_WORDS = 800;
/** A process whose socket has closed is about to end; ms. */
const LAST_BREATH_MS = 300;
const POLL_MS = 20;

/**
 * Starts an engine and introduces the kernel to it.
 * Rejects with ClusterError and the engine's last words when it does not get ready.
 */
export async function startEngine(options: StartOptions): Promise<EngineProcess> {
  const { engineId, env } = options;
  const log = openLog(join(engineFolder(engineId, env), LOG_FILE));
  const child = spawn(process.execPath, [options.entry ?? ENTRY], {
    // Its own session: neither Ctrl-C in a terminal nor the kernel's end is its end.
    detached: true,
    stdio: ['ignore', 'pipe', log.fd],
    // Its workers on this machine inherit them.
    env: { ...withLargePages(env), RAVENLAB_ENGINE_ID: engineId },
  });
  closeSync(log.fd);
  const endpoint = await readEndpoint(child, log.lastWords);
  // Nothing that the engine prints later may wait for this process, nor keep it.
  child.stdout?.destroy();
  child.unref();
  const exit = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      const how = signal === null ? `exit code ${String(code)}` : `signal ${signal}`;
      const words = log.lastWords();
      resolve(words === '' ? how : `${how}: ${words}`);
    });
  });
  try {
    return await introduced(endpoint, child.pid ?? -1, exit, options);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}

/**
 * Introduces the kernel to an engine that runs.
 * Rejects with EngineBusyError when it works for another one, with ClusterError when nobody is there.
 */
export function joinEngine(
  endpoint: string,
  pid: number,
  options: TalkOptions,
): Promise<EngineProcess> {
  return introduced(endpoint, pid, null, options);
}

async function introduced(
  endpoint: string,
  pid: number,
  exit: Promise<string> | null,
  options: TalkOptions,
): Promise<EngineProcess> {
  const link = new EngineLink(await connected(endpoint), pid, exit, options);
  await link.introduce(options.hello);
  return link;
}

/** One connection to one process. */
class EngineLink implements EngineProcess {
  readonly pid: number;
  private readonly options: TalkOptions;
  private readonly connection: FrameSocket;
  private readonly exited: Promise<void>;
  private greeting: Welcome | null = null;
  private onGreeted: ((answer: ToKernel | null) => void) | null = null;
  /** Nothing is to be told any more: it was let go, or it ends because it was asked to. */
  private isLeft = false;
  private isEnding = false;

  /** @param exit tells how the process ended; null when it is not our child and nobody does. */
  constructor(socket: Socket, pid: number, exit: Promise<string> | null, options: TalkOptions) {
    this.pid = pid;
    this.options = options;
    let onClosed: (reason: string) => void = () => undefined;
    const closed = new Promise<string>((resolve) => (onClosed = resolve));
    const handlers: FrameSocketHandlers = {
      onMessage: (frames) => {
        this.take(decodeKernelMessage(frames) as ToKernel);
      },
      onClose: (error) => {
        this.onGreeted?.(null);
        // One that was left alone, or is another kernel's, lives on.
        if (this.isLeft || this.greeting === null) return;
        // An engine that cannot be heard is no engine, and it must not keep its folder.
        void endOf(pid, this.isEnding ? ENGINE_LIMITS.exitMs : LAST_BREATH_MS).then(() => {
          onClosed(error === null ? 'it ended' : error.message);
        });
      },
    };
    this.connection = new FrameSocket(socket, handlers, KERNEL_SOCKET);
    // The exit of a child says more than the end of its socket, and comes a moment later or earlier.
    const silent = exit === null ? closed : closed.then(() => within(exit, LAST_BREATH_MS));
    const reason = exit === null ? silent : Promise.race([exit, silent]);
    this.exited = reason.then((how) => {
      this.connection.close();
      if (!this.isEnding && !this.isLeft && this.greeting !== null)
        options.onExit(how ?? 'it ended');
    });
  }

  get welcome(): Welcome {
    if (this.greeting === null) throw new ClusterError('the engine has not answered yet');
    return this.greeting;
  }

  /** Rejects when the engine does not want this kernel, or ends. */
  async introduce(hello: TalkOptions['hello']): Promise<void> {
    const answer = await new Promise<ToKernel | null>((resolve) => {
      this.onGreeted = resolve;
      this.send(hello);
    });
    this.onGreeted = null;
    if (answer?.kind === 'welcome') return;
    this.isLeft = true;
    this.connection.close();
    if (answer?.kind === 'busy') {
      throw new EngineBusyError('the engine works for another kernel, which is alive');
    }
    throw new ClusterError('the engine ended before it answered');
  }

  send(message: ToEngine): void {
    this.connection.send(encodeKernelMessage(message));
  }

  async close(): Promise<void> {
    this.isEnding = true;
    this.send({ kind: 'close' });
    const timer = setTimeout(() => {
      kill(this.pid);
    }, ENGINE_LIMITS.exitMs);
    await this.exited;
    clearTimeout(timer);
  }

  detach(): void {
    this.isLeft = true;
    this.connection.close();
  }

  private take(message: ToKernel): void {
    if (this.greeting !== null) {
      this.options.onMessage(message);
      return;
    }
    if (message.kind === 'welcome') this.greeting = message;
    this.onGreeted?.(message);
  }
}

/** Resolves when the process is gone; it is killed when that takes longer than `patienceMs`. */
async function endOf(pid: number, patienceMs: number): Promise<void> {
  const end = performance.now() + patienceMs;
  while (isAlive(pid)) {
    if (performance.now() > end) kill(pid);
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone.
  }
}

function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      resolve(null);
    }, timeoutMs);
    void promise.then((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

interface Log {
  readonly fd: number;
  /** What was written since; '' for nothing. */
  readonly lastWords: () => string;
}

function openLog(file: string): Log {
  const before = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  const isLong = before > LOG_BYTES;
  const fd = openSync(file, isLong ? 'w' : 'a', 0o600);
  const from = isLong ? 0 : before;
  const lastWords = (): string => {
    try {
      const text = readFileSync(file).subarray(from).toString('utf8');
      return text.trim().slice(-LAST_WORDS);
    } catch {
      return '';
    }
  };
  return { fd, lastWords };
}

/** Rejects with ClusterError when nobody listens there. */
function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const onError = (error: Error): void => {
      reject(new ClusterError(`the engine does not answer at ${path}: ${error.message}`));
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      resolve(socket);
    });
  });
}

/** The first line that it prints. */
function readEndpoint(child: ChildProcess, lastWords: () => string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      refuse(`it was not ready after ${String(ENGINE_LIMITS.engineStartMs)} ms`);
    }, ENGINE_LIMITS.engineStartMs);
    const refuse = (why: string) => {
      clearTimeout(timer);
      reject(new ClusterError(`the engine could not be started: ${why}\n${lastWords()}`));
    };
    child.once('error', (error) => {
      refuse(error.message);
    });
    child.once('close', (code) => {
      refuse(`it ended with code ${String(code)}`);
    });
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      const end = text.indexOf('\n');
      if (end < 0) return;
      clearTimeout(timer);
      const { endpoint } = JSON.parse(text.slice(0, end)) as { readonly endpoint: string };
      resolve(endpoint);
    });
  });
}
