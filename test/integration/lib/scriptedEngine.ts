/** @file A ROUTER that says what a test tells it to: the engine's side of the dialogue, without an engine. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as zmq from 'zeromq';
import type {
  DoneUnit,
  EngineId,
  EngineToWorker,
  ExecutionId,
  HelloMessage,
  LeaseId,
  Program,
  ProgramHash,
  RunInput,
  RunMerge,
  StateId,
  StateVersion,
  WorkerToEngine,
} from '@ravenlab/protocol';
import {
  LIMITS,
  decodeWorkerMessage,
  encodeEngineMessage,
  encodeInvite,
  encodeProgram,
} from '@ravenlab/protocol';

const WORKER = join(__dirname, '..', '..', '..', 'worker', 'dist', 'cli.js');
const PATIENCE_MS = 20_000;
/** Trying out which backend is the fastest takes longer than what these tests compute. */
const CPU = ['--backend', 'onnx-cpu'];

type Kind = WorkerToEngine['kind'];
type Message<K extends Kind> = Extract<WorkerToEngine, { kind: K }>;

/** Fails with what was expected instead of waiting for ever. */
export async function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`no ${what} within ${String(PATIENCE_MS)} ms`));
    }, PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export interface EngineOptions {
  /** With keys the port is tcp with CURVE, else ipc. */
  readonly isRemote?: boolean;
  /** Keys that ZAP admits; all when left out. */
  readonly admits?: (publicKeyHex: string) => boolean;
}

export class ScriptedEngine {
  readonly home = mkdtempSync(join(tmpdir(), 'ravenlab-worker-'));
  readonly engineId = 'ab'.repeat(8) as EngineId;
  endpoint = '';
  readonly keys = zmq.curveKeyPair();
  private router: zmq.Router | undefined;
  private zap: zmq.Router | undefined;
  private peer: Buffer | undefined;
  private readonly inbox: WorkerToEngine[] = [];
  private wake: (() => void) | undefined;
  private readonly children: ChildProcess[] = [];
  private nextLease = 1;

  static async start(options: EngineOptions = {}): Promise<ScriptedEngine> {
    const engine = new ScriptedEngine();
    const isRemote = options.isRemote === true;
    if (isRemote) await engine.guard(options.admits ?? (() => true));
    await engine.bind(
      isRemote ? 'tcp://127.0.0.1:*' : `ipc://${join(engine.home, 'w.sock')}`,
      isRemote,
    );
    return engine;
  }

  /** Binds again after `unbind`, at the same place. */
  async bind(endpoint = this.endpoint, isRemote = this.endpoint.startsWith('tcp')): Promise<void> {
    const router = new zmq.Router({
      mandatory: true,
      sendTimeout: 0,
      sendHighWaterMark: 0,
      receiveHighWaterMark: 0,
      linger: 0,
      maxMessageSize: LIMITS.socketFrameBytes,
      ...(isRemote
        ? {
            curveServer: true,
            curvePublicKey: this.keys.publicKey,
            curveSecretKey: this.keys.secretKey,
            zapDomain: 'test',
          }
        : {}),
    });
    await router.bind(endpoint);
    this.endpoint = router.lastEndpoint ?? endpoint;
    this.router = router;
    void this.receive(router);
  }

  unbind(): void {
    this.router?.close();
    this.router = undefined;
    this.inbox.length = 0;
  }

  /** Starts a worker process as an engine does. */
  spawnLocal(...args: string[]): ChildProcess {
    return this.spawn(['run', '--connect', this.endpoint, '--threads', '1', ...args], {
      RAVENLAB_WORKER_TOKEN: 'secret',
    });
  }

  /** Starts a worker process as a person does. */
  spawnJoin(token = 'secret', ...args: string[]): ChildProcess {
    return this.spawn(['join', this.invite(token), '--threads', '1', ...CPU, ...args], {});
  }

  /** ... who knows the engine by another name, and starts it with these options. */
  spawnJoinAs(host: string, ...args: string[]): ChildProcess {
    return this.spawn(['join', this.invite('secret', host), '--threads', '1', ...args], {});
  }

  private invite(token: string, host?: string): string {
    const { hostname, port } = new URL(this.endpoint);
    const serverKey = this.keys.publicKey;
    return encodeInvite({ host: host ?? hostname, port: Number(port), serverKey, token });
  }

  private spawn(args: readonly string[], environment: NodeJS.ProcessEnv): ChildProcess {
    const child = spawn(process.execPath, [WORKER, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, RAVENLAB_HOME: this.home, ...environment },
    });
    this.children.push(child);
    return child;
  }

  /** The next message of this kind; CREDIT and PONG that come between are passed over, others fail. */
  next<K extends Kind>(kind: K): Promise<Message<K>> {
    return this.either(kind);
  }

  /** The next message of one of these kinds. */
  async either<K extends Kind>(...kinds: K[]): Promise<Message<K>> {
    const isWanted = (message: WorkerToEngine): message is Message<K> =>
      kinds.some((kind) => kind === message.kind);
    for (;;) {
      const message = await soon(this.take(), `${kinds.join(' or ')} from the worker`);
      if (isWanted(message)) return message;
      if (message.kind === 'credit' || message.kind === 'pong') continue;
      throw new Error(`expected ${kinds.join(' or ')}, got ${JSON.stringify(message)}`);
    }
  }

  /** Results of so many units, however many messages they come in. */
  async results(count: number): Promise<DoneUnit[]> {
    const units: DoneUnit[] = [];
    while (units.length < count) units.push(...(await this.next('done')).units);
    return units;
  }

  /** HELLO answered by WELCOME. */
  async welcome(): Promise<HelloMessage> {
    const hello = await this.next('hello');
    await this.greet(hello);
    return hello;
  }

  /** WELCOME. */
  async greet(hello: HelloMessage): Promise<void> {
    await this.send({
      kind: 'welcome',
      engineId: this.engineId,
      workerId: hello.workerId,
      shortId: 'w-test',
      heartbeatMs: LIMITS.heartbeatMs,
      timeoutMs: LIMITS.heartbeatTimeoutMs,
      creditWindowBytes: LIMITS.creditWindowBytes,
      chunkBytes: LIMITS.frameBytes,
      price: '1/GFLOP',
    });
  }

  async send(message: EngineToWorker): Promise<void> {
    await this.sendFrames(encodeEngineMessage(message));
  }

  async sendFrames(frames: readonly Uint8Array[]): Promise<void> {
    if (this.router === undefined || this.peer === undefined) throw new Error('no worker yet');
    await this.router.send([this.peer, ...frames]);
  }

  async define(index: number, program: Program): Promise<void> {
    const bytes = encodeProgram(program);
    const hash = createHash('sha256').update(bytes).digest('hex') as ProgramHash;
    await this.send({ kind: 'program', index, hash, bytes: [bytes] });
  }

  async putState(id: number, version: number, data: Float32Array): Promise<void> {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    let offsetBytes = 0;
    do {
      const piece = bytes.subarray(offsetBytes, offsetBytes + LIMITS.frameBytes);
      await this.send({
        kind: 'blob',
        chunks: [
          {
            kind: 'state',
            stateId: id as StateId,
            version: version as StateVersion,
            offsetBytes,
            totalBytes: bytes.length,
            bytes: [piece],
          },
        ],
      });
      offsetBytes += piece.length;
    } while (offsetBytes < bytes.length);
  }

  /** Sends a RUN and returns its leases. */
  async run(options: {
    program: number;
    inputs: readonly RunInput[];
    units?: number;
    execution?: number;
    merge?: RunMerge;
  }): Promise<LeaseId[]> {
    const { program, inputs, units = 1, execution = 1 } = options;
    const leases = Array.from({ length: units }, () => this.nextLease++ as LeaseId);
    await this.send({
      kind: 'run',
      execution: execution as ExecutionId,
      program,
      leaseMs: 5_000,
      merge: options.merge ?? null,
      inputs,
      units: leases.map((lease, shard) => ({ lease, shard })),
    });
    return leases;
  }

  /** Ends everything that this test started. */
  async stop(): Promise<void> {
    for (const child of this.children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    this.unbind();
    this.zap?.close();
    rmSync(this.home, { recursive: true, force: true });
  }

  private async guard(admits: (publicKeyHex: string) => boolean): Promise<void> {
    const zap = new zmq.Router({ linger: 0 });
    // The name is the process's; libzmq gives that of the test before back a moment after close().
    for (let isBound = false; !isBound;) {
      isBound = await zap.bind('inproc://zeromq.zap.01').then(
        () => true,
        () => new Promise<false>((resolve) => setTimeout(resolve, 10, false)),
      );
    }
    this.zap = zap;
    const serve = async (): Promise<void> => {
      for await (const [path, delimiter, version, id, , , , , key] of zap) {
        const code = admits(key?.toString('hex') ?? '') ? '200' : '400';
        await zap.send([path!, delimiter!, version!, id!, code, '', '', '']);
      }
    };
    void serve().catch(() => undefined);
  }

  private async receive(router: zmq.Router): Promise<void> {
    try {
      for await (const [peer, ...frames] of router) {
        this.peer = peer;
        const decoded = decodeWorkerMessage(frames);
        if (!decoded.ok) throw decoded.error;
        this.inbox.push(decoded.value);
        this.wake?.();
      }
    } catch (error) {
      // A socket that the test closed ends its iterator in this way.
      if (router === this.router) throw error;
    }
  }

  private async take(): Promise<WorkerToEngine> {
    for (;;) {
      const message = this.inbox.shift();
      if (message !== undefined) return message;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}

/** Exit code and all that a process said. */
export async function ended(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = '';
  child.stdout?.on('data', (text: Buffer) => (output += text.toString()));
  child.stderr?.on('data', (text: Buffer) => (output += text.toString()));
  if (child.exitCode === null && child.signalCode === null) {
    await soon(once(child, 'close'), 'end of the worker process');
  }
  return { code: child.exitCode, output };
}
