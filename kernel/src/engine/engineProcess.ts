/** @file The engine's process from outside: spawn, wait until it listens, talk, notice its end. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FrameSocketHandlers } from '@ravenlab/protocol';
import { ClusterError, ENGINE_LIMITS, FrameSocket, RemoteProtocolError } from '@ravenlab/protocol';
import { SOCKET_FOLDER } from './engineId.js';
import type { ToEngine, ToKernel } from './kernelWire.js';
import { KERNEL_SOCKET, decodeKernelMessage, encodeKernelMessage } from './kernelWire.js';

export interface StartOptions {
  readonly entry?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onMessage: (message: ToKernel) => void;
  /** Called once, when the process is gone. */
  readonly onExit: (reason: string) => void;
}

export interface EngineProcess {
  readonly pid: number;
  send(message: ToEngine): void;
  /** Asks it to end, insists after ENGINE_LIMITS.exitMs; resolves when it is gone. */
  close(): Promise<void>;
}

const ENTRY = fileURLToPath(new URL('./main.js', import.meta.url));
const LAST_WORDS = 4_000;

/**
 * Starts an engine and connects to it.
 * Rejects with ClusterError and the engine's last words when it does not get ready.
 */
export async function startEngine(options: StartOptions): Promise<EngineProcess> {
  const child = spawn(process.execPath, [options.entry ?? ENTRY], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: options.env,
  });
  let lastWords = '';
  child.stderr.on('data', (text: Buffer) => {
    lastWords = (lastWords + text.toString('utf8')).slice(-LAST_WORDS);
  });
  child.stdin.on('error', () => {
    // It is gone; 'exit' tells.
  });
  const endpoint = await readEndpoint(child, () => lastWords);
  const handlers: FrameSocketHandlers = {
    onMessage: (frames) => {
      options.onMessage(decodeKernelMessage(frames) as ToKernel);
    },
    onClose: (error) => {
      if (error instanceof RemoteProtocolError) lastWords += `\nkernel socket: ${error.message}`;
      // An engine that cannot be heard is no engine: cells would wait for it.
      setTimeout(() => child.kill('SIGKILL'), ENGINE_LIMITS.exitMs).unref();
    },
  };
  const connection = new FrameSocket(await connected(endpoint, child), handlers, KERNEL_SOCKET);
  const exited = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      connection.close();
      removeSockets(endpoint);
      const how = signal === null ? `exit code ${String(code)}` : `signal ${signal}`;
      const words = lastWords.trim();
      options.onExit(words === '' ? how : `${how}: ${words.slice(-800)}`);
      resolve();
    });
  });
  return {
    pid: child.pid ?? -1,
    send: (message) => {
      connection.send(encodeKernelMessage(message));
    },
    close: async () => {
      const timer = setTimeout(() => child.kill('SIGKILL'), ENGINE_LIMITS.exitMs);
      child.stdin.end();
      await exited;
      clearTimeout(timer);
    },
  };
}

/** An engine that was killed leaves its socket folder behind. */
function removeSockets(endpoint: string): void {
  const folder = dirname(endpoint);
  if (basename(folder).startsWith(SOCKET_FOLDER)) rmSync(folder, { recursive: true, force: true });
}

/** Rejects with ClusterError when nobody listens there; the engine is ended then. */
function connected(path: string, child: ChildProcess): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const onError = (error: Error): void => {
      child.kill('SIGKILL');
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
      reject(new ClusterError(`the engine could not be started: ${why}\n${lastWords().trim()}`));
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
