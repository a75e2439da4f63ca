/**
 * @file A small Jupyter front end for tests: starts the built kernel, speaks the protocol over ZeroMQ.
 * Frames and signatures are written here anew, so that a mistake of the kernel's own codec shows.
 */

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import * as zmq from 'zeromq';

type Json = Record<string, unknown>;

/** A message as a front end sees it. */
export interface ClientMessage {
  readonly channel: 'shell' | 'control' | 'stdin' | 'iopub';
  readonly type: string;
  readonly parentId: string | undefined;
  readonly content: Json;
  readonly metadata: Json;
  readonly buffers: readonly Buffer[];
  readonly atMs: number;
}

/** Everything that one execute request brought about, up to its idle. */
export interface Execution {
  readonly status: string;
  readonly reply: Json;
  /** IOPub messages without status and execute_input, in order. */
  readonly outputs: readonly ClientMessage[];
  readonly stdout: string;
  readonly stderr: string;
  /** `text/plain` of the result. */
  readonly result: string | undefined;
  /** `ename: evalue` and the traceback without colours. */
  readonly error: { ename: string; evalue: string; traceback: string } | undefined;
  readonly replyMs: number;
  readonly idleMs: number;
}

export interface ExecuteOptions {
  readonly silent?: boolean;
  readonly storeHistory?: boolean;
  readonly stopOnError?: boolean;
  readonly allowStdin?: boolean;
  readonly userExpressions?: Record<string, string>;
  readonly timeoutMs?: number;
}

export interface StartOptions {
  /** Directory of the notebook; default: a new empty one. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const ROOT = resolve(import.meta.dirname, '../../..');
const MAIN = join(ROOT, 'kernel/dist/main.js');
const DELIMITER = '<IDS|MSG>';
const DEFAULT_TIMEOUT_MS = 30_000;
/** Colour codes in tracebacks. */
const ANSI = /\u001b\[[0-9;]*m/g;

type Listener = (message: ClientMessage) => void;

/** A kernel process and a front end connected to it. */
export class JupyterClient {
  readonly process: ChildProcess;
  readonly cwd: string;
  /** What the process wrote to its own stderr: warnings of the kernel, never output of cells. */
  kernelLog = '';
  /** Answers input_request; null leaves it unanswered. */
  onInput: ((prompt: string) => string) | null = null;
  readonly iopub: ClientMessage[] = [];
  private readonly key: string;
  private readonly sockets: Record<'shell' | 'control' | 'stdin', zmq.Dealer>;
  private readonly subscriber: zmq.Subscriber;
  private readonly heartbeat: zmq.Request;
  private readonly listeners = new Set<Listener>();
  private readonly sessionId = randomUUID();
  private readonly scratchDir: string;
  private isClosed = false;

  private constructor(options: StartOptions, ports: readonly number[]) {
    this.scratchDir = mkdtempSync(join(tmpdir(), 'ravenlab-kernel-test-'));
    this.cwd = options.cwd ?? this.scratchDir;

    this.key = randomUUID();
    const [shell, iopub, stdin, control, hb] = ports;
    const connectionPath = join(this.scratchDir, 'connection.json');
    const connection = {
      ...{ transport: 'tcp', ip: '127.0.0.1', signature_scheme: 'hmac-sha256', key: this.key },
      ...{ shell_port: shell, iopub_port: iopub, stdin_port: stdin },
      ...{ control_port: control, hb_port: hb },
    };
    writeFileSync(connectionPath, JSON.stringify(connection), { mode: 0o600 });
    this.process = spawn(process.execPath, [MAIN, connectionPath], {
      cwd: this.cwd,
      env: {
        ...process.env,
        JUPYTER_DATA_DIR: join(this.scratchDir, 'data'),
        JPY_PARENT_PID: String(process.pid),
        ...options.env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on('data', (data: Buffer) => (this.kernelLog += data.toString()));
    }
    zmq.context.blocky = false;
    const routingId = randomUUID();
    const dealer = (port: number | undefined): zmq.Dealer => {
      const socket = new zmq.Dealer({ routingId, linger: 0, sendHighWaterMark: 0 });
      socket.connect(`tcp://127.0.0.1:${port}`);
      return socket;
    };
    this.sockets = { shell: dealer(shell), control: dealer(control), stdin: dealer(stdin) };
    this.subscriber = new zmq.Subscriber({ linger: 0, receiveHighWaterMark: 0 });
    this.subscriber.connect(`tcp://127.0.0.1:${iopub}`);
    this.subscriber.subscribe();
    this.heartbeat = new zmq.Request({ linger: 0 });
    this.heartbeat.connect(`tcp://127.0.0.1:${hb}`);
    for (const channel of ['shell', 'control', 'stdin'] as const) {
      void this.listen(channel, this.sockets[channel]);
    }
    void this.listen('iopub', this.subscriber);
  }

  /** Starts a kernel and waits until it answers. */
  static async start(options: StartOptions = {}): Promise<JupyterClient> {
    const client = new JupyterClient(options, await freePorts(5));
    await client.waitFor((message) => message.type === 'iopub_welcome', 'iopub_welcome');
    await client.request('shell', 'kernel_info_request', {});
    return client;
  }

  /** Sends a request; returns its id. */
  send(
    channel: 'shell' | 'control' | 'stdin',
    type: string,
    content: Json,
    { buffers = [], parent = {} }: { buffers?: readonly Uint8Array[]; parent?: Json } = {},
  ): string {
    const header = {
      ...{ msg_id: randomUUID(), session: this.sessionId, username: 'test', msg_type: type },
      ...{ version: '5.3', date: new Date().toISOString() },
    };
    const parts = [header, parent, {}, content].map((part) => JSON.stringify(part));
    const hmac = createHmac('sha256', this.key);
    for (const part of parts) hmac.update(part);
    const frames = [DELIMITER, hmac.digest('hex'), ...parts, ...buffers];
    void this.sockets[channel].send(frames);
    return header.msg_id;
  }

  /** Sends frames as they are: for messages that are malformed on purpose. */
  sendRaw(channel: 'shell' | 'control' | 'stdin', frames: readonly (string | Uint8Array)[]): void {
    void this.sockets[channel].send([...frames]);
  }

  /** Sends a request and waits for its reply. */
  async request(channel: 'shell' | 'control', type: string, content: Json): Promise<Json> {
    const id = this.send(channel, type, content);
    const reply = await this.waitFor(
      (message) => message.channel === channel && message.parentId === id,
      `the reply to ${type}`,
    );
    return reply.content;
  }

  /** Runs a cell and waits for its reply and its idle. */
  async execute(code: string, options: ExecuteOptions = {}): Promise<Execution> {
    return this.startExecute(code, options).done;
  }

  /** Sends an execute request; `done` settles with its idle. */
  startExecute(
    code: string,
    options: ExecuteOptions = {},
  ): { id: string; done: Promise<Execution> } {
    const startedAtMs = performance.now();
    const id = this.send('shell', 'execute_request', {
      code,
      silent: options.silent ?? false,
      store_history: options.storeHistory ?? true,
      stop_on_error: options.stopOnError ?? true,
      allow_stdin: options.allowStdin ?? false,
      user_expressions: options.userExpressions ?? {},
    });
    const messages: ClientMessage[] = [];
    let reply: ClientMessage | undefined;
    const done = this.waitFor(
      (message) => {
        if (message.parentId !== id) return false;
        if (message.channel === 'shell') reply = message;
        if (message.channel === 'iopub') messages.push(message);
        const isIdle = messages.at(-1)?.content['execution_state'] === 'idle';
        return isIdle && reply !== undefined;
      },
      `idle of ${JSON.stringify(code.slice(0, 60))}`,
      options.timeoutMs,
    ).then(() => summarise(reply, messages, startedAtMs));
    // A test that fails earlier never looks at it.
    done.catch(() => undefined);
    return { id, done };
  }

  /** Presses Stop; resolves with the time until the reply, ms. */
  async interrupt(): Promise<number> {
    const startedAtMs = performance.now();
    await this.request('control', 'interrupt_request', {});
    return performance.now() - startedAtMs;
  }

  /** One heartbeat round trip, ms. */
  async beat(): Promise<number> {
    const startedAtMs = performance.now();
    await this.heartbeat.send('ping');
    await this.heartbeat.receive();
    return performance.now() - startedAtMs;
  }

  /** Waits for a message that the predicate accepts; it sees every message once, in order. */
  waitFor(
    isWanted: (message: ClientMessage) => boolean,
    what: string,
    timeoutMs = DEFAULT_TIMEOUT_MS,
  ): Promise<ClientMessage> {
    return new Promise((resolve_, reject) => {
      const listener = (message: ClientMessage): void => {
        if (!isWanted(message)) return;
        finish();
        resolve_(message);
      };
      const fail = (reason: string): void => {
        finish();
        reject(new Error(`no ${what}: ${reason}; kernel log:\n${this.kernelLog}`));
      };
      const timer = setTimeout(() => fail(`${timeoutMs} ms are over`), timeoutMs);
      const onExit = (code: number | null): void => fail(`the kernel exited with ${code}`);
      const finish = (): void => {
        clearTimeout(timer);
        this.listeners.delete(listener);
        this.process.off('exit', onExit);
      };
      this.process.once('exit', onExit);
      this.listeners.add(listener);
    });
  }

  /** Resolves with the exit code when the process has ended. */
  exited(timeoutMs = 5_000): Promise<number | null> {
    if (this.process.exitCode !== null) return Promise.resolve(this.process.exitCode);
    return new Promise((resolve_, reject) => {
      const timer = setTimeout(() => reject(new Error('the kernel did not exit')), timeoutMs);
      this.process.once('exit', (code) => {
        clearTimeout(timer);
        resolve_(code);
      });
    });
  }

  /** Shuts the kernel down and frees everything; kills it if it does not go. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.send('control', 'shutdown_request', { restart: false });
      await this.exited().catch(() => this.process.kill('SIGKILL'));
    }
    this.isClosed = true;
    for (const socket of [...Object.values(this.sockets), this.subscriber, this.heartbeat]) {
      socket.close();
    }
    rmSync(this.scratchDir, { recursive: true, force: true });
  }

  private async listen(
    channel: ClientMessage['channel'],
    socket: zmq.Dealer | zmq.Subscriber,
  ): Promise<void> {
    while (!this.isClosed) {
      const frames = await (socket.receive() as Promise<Buffer[]>).catch(() => null);
      if (!frames) return;
      const message = this.parse(channel, frames);
      if (channel === 'iopub') this.iopub.push(message);
      if (message.type === 'input_request' && this.onInput) {
        const value = this.onInput(String(message.content['prompt']));
        this.send('stdin', 'input_reply', { value });
      }
      for (const listener of [...this.listeners]) listener(message);
    }
  }

  private parse(channel: ClientMessage['channel'], frames: readonly Buffer[]): ClientMessage {
    const at = frames.findIndex((frame) => frame.toString() === DELIMITER);
    const [signature, ...rest] = frames.slice(at + 1);
    const parts = rest.slice(0, 4);
    const hmac = createHmac('sha256', this.key);
    for (const part of parts) hmac.update(part);
    if (hmac.digest('hex') !== signature?.toString()) throw new Error('bad signature from kernel');
    const [header, parent, metadata, content] = parts.map(
      (part) => JSON.parse(String(part)) as Json,
    );
    return {
      channel,
      type: String(header?.['msg_type']),
      parentId: parent?.['msg_id'] as string | undefined,
      content: content ?? {},
      metadata: metadata ?? {},
      buffers: rest.slice(4),
      atMs: performance.now(),
    };
  }
}

function summarise(
  reply: ClientMessage | undefined,
  messages: readonly ClientMessage[],
  startedAtMs: number,
): Execution {
  const streamText = (name: string): string =>
    messages
      .filter((one) => one.type === 'stream' && one.content['name'] === name)
      .map((one) => one.content['text'])
      .join('');
  const error = messages.find((one) => one.type === 'error')?.content;
  const result = messages.find((one) => one.type === 'execute_result')?.content['data'];
  return {
    status: String(reply?.content['status']),
    reply: reply?.content ?? {},
    outputs: messages.filter((one) => one.type !== 'status' && one.type !== 'execute_input'),
    stdout: streamText('stdout'),
    stderr: streamText('stderr'),
    result: (result as Record<string, string> | undefined)?.['text/plain'],
    error: error && {
      ename: String(error['ename']),
      evalue: String(error['evalue']),
      traceback: (error['traceback'] as string[]).join('\n').replace(ANSI, ''),
    },
    replyMs: (reply?.atMs ?? NaN) - startedAtMs,
    idleMs: (messages.at(-1)?.atMs ?? NaN) - startedAtMs,
  };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}
