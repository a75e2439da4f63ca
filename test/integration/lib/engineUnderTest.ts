/** @file A real engine process with real workers for a test, and a perceptron to train on it. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type {
  Aggregate,
  EngineReply,
  EngineRequest,
  PanelState,
  UpdateRule,
  WireFormat,
} from '@ravenlab/protocol';
import { EngineClient } from '../../../kernel/src/engine/client.js';
import type { Notice } from '../../../kernel/src/engine/kernelWire.js';
import type { MlpShape } from './mlpPlan.js';
import { W1, W2, float32, mlpPrograms, mlpStep, noise } from './mlpPlan.js';

const ROOT = resolve(__dirname, '../../..');
export const ENGINE_ENTRY = join(ROOT, 'kernel/dist/engine/main.js');
export const CLIENT_MODULE = join(ROOT, 'kernel/dist/engine/client.js');
const WORKER_CLI = join(ROOT, 'worker/dist/cli.js');
/** The worker, with its results bent on their way out of the compute thread. */
const CHEATER = join(ROOT, 'test/drill/cheater.mjs');

for (const file of [ENGINE_ENTRY, WORKER_CLI]) {
  if (!existsSync(file)) throw new Error(`${file} is missing: run npm run build`);
}

export interface EngineStatus {
  readonly panel: PanelState;
  readonly counters: Readonly<Record<string, number>>;
  readonly sessions: readonly {
    readonly workerId: string;
    readonly programsSent: number;
    readonly blobBytesSent: number;
  }[];
  readonly enginePid: number;
  readonly caught: readonly string[];
  readonly audits: Readonly<Record<string, number>>;
  readonly endpoint: string;
  readonly localPids: readonly number[];
  readonly heapBytes: number;
}

export interface TestEngine {
  readonly client: EngineClient;
  readonly notices: Notice[];
  readonly home: string;
  status(): Promise<EngineStatus>;
  command(op: string, args?: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Ends the engine; `keepHome` leaves its data for the next one. */
  stop(options?: { readonly keepHome?: boolean }): Promise<void>;
}

export interface TestEngineOptions {
  readonly workers: number;
  readonly home?: string;
  readonly engineId?: string;
  readonly keys?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export async function startTestEngine(options: TestEngineOptions): Promise<TestEngine> {
  const home = options.home ?? mkdtempSync(join(tmpdir(), 'ravenlab-test-'));
  const notices: Notice[] = [];
  const client = new EngineClient({
    entry: ENGINE_ENTRY,
    ...(options.keys === undefined ? {} : { keys: options.keys }),
    env: {
      ...process.env,
      RAVENLAB_HOME: home,
      RAVENLAB_LOCAL_WORKERS: String(options.workers),
      ...options.env,
      ...(options.engineId === undefined ? {} : { RAVENLAB_ENGINE_ID: options.engineId }),
    },
    onNotice: (notice) => notices.push(notice),
  });
  const command = async (op: string, args: Readonly<Record<string, unknown>> = {}) => {
    const reply = await client.request({ kind: 'command', op, args });
    if (reply.kind !== 'result') throw new Error(`${op} answered with ${reply.kind}`);
    return reply.value;
  };
  const engine: TestEngine = {
    client,
    notices,
    home,
    command,
    status: async () => (await command('status')) as EngineStatus,
    stop: async ({ keepHome = false } = {}) => {
      await client.close();
      if (!keepHome) rmSync(home, { recursive: true, force: true });
    },
  };
  await engine.status();
  return engine;
}

/** Polls until `probe` gives something. @throws Error after `timeoutMs`. */
export async function until<T>(
  what: string,
  probe: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== null && value !== undefined && value !== false) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${String(timeoutMs)} ms`);
    await new Promise((wake) => setTimeout(wake, 20));
  }
}

export function waitForWorkers(engine: TestEngine, count: number): Promise<EngineStatus> {
  return until(`${String(count)} workers`, async () => {
    const status = await engine.status();
    return status.panel.cluster.workerCount >= count && status;
  });
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** A worker process that joins by invite, as a person would start it. @param lie it sends wrong results, in this way */
export function joinByInvite(command: string, home: string, lie?: string): ChildProcess {
  const invite = command.split(' ').pop() ?? '';
  const program = lie === undefined ? WORKER_CLI : CHEATER;
  return spawn(process.execPath, [program, 'join', invite, '--threads', '1', '--no-pay'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, RAVENLAB_HOME: home, ...(lie === undefined ? {} : { LIE: lie }) },
  });
}

const SHAPE: MlpShape = { features: 40, hidden: 64, classes: 5 };
const ROWS = 2_000;
const SHARD_ROWS = 32;

export interface TrainingSize {
  readonly shape: MlpShape;
  readonly batch: number;
}

/** Seven micro-shards, the last one smaller. */
const SMALL: TrainingSize = { shape: SHAPE, batch: 200 };
/** Four equal micro-shards, and updates that are not made on the I/O loop. */
export const LARGE: TrainingSize = {
  shape: { features: 256, hidden: 128, classes: 10 },
  batch: 128,
};
const ADAM: UpdateRule = {
  name: 'adam',
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
};

/** Trains a perceptron on made-up data, step by step. */
export class Training {
  readonly losses: number[] = [];
  private readonly engine: TestEngine;
  private readonly wire: WireFormat;
  private readonly aggregate: Aggregate;
  private readonly size: TrainingSize;
  private readonly programs: ReturnType<typeof mlpPrograms>;

  /** @param wire what gradients travel as; @param aggregate how those of micro-shards become one */
  constructor(
    engine: TestEngine,
    wire: WireFormat = 'float32',
    size = SMALL,
    aggregate: Aggregate = 'sum',
  ) {
    this.engine = engine;
    this.wire = wire;
    this.aggregate = aggregate;
    this.size = size;
    this.programs = mlpPrograms(size.shape, size.batch, SHARD_ROWS);
  }

  get version(): number {
    return this.losses.length;
  }

  async prepare(x: Float32Array = noise(ROWS * this.size.shape.features, 3)): Promise<void> {
    const { features, hidden, classes } = this.size.shape;
    for (const program of [this.programs.full, this.programs.rest]) {
      if (program === null) continue;
      await this.ask({ kind: 'defineProgram', hash: program.hash, bytes: program.bytes });
    }
    const state = (stateId: typeof W1, rows: number, columns: number) =>
      this.ask({
        kind: 'createState',
        stateId,
        type: float32(rows, columns),
        data: noise(rows * columns, stateId),
      });
    await state(W1, features, hidden);
    await state(W2, hidden, classes);
    const y = noise(ROWS * classes, 4);
    await this.ask({
      kind: 'createData',
      dataId: 1 as never,
      type: float32(ROWS, features),
      data: x,
    });
    await this.ask({
      kind: 'createData',
      dataId: 2 as never,
      type: float32(ROWS, classes),
      data: y,
    });
  }

  /** Steps as a loop makes them: the next one is asked for while the last one is on its way. */
  async loop(steps: number, epoch = 0): Promise<readonly number[]> {
    const { client } = this.engine;
    const first = this.version;
    let before: Promise<EngineReply> | null = null;
    for (let i = 0; i < steps; i++) {
      const next = client.request(this.request(first + i), epoch);
      // It is awaited in its turn; until then a failure is nobody's.
      next.catch(() => undefined);
      if (before !== null) this.losses.push(lossOf(await before));
      before = next;
    }
    if (before !== null) this.losses.push(lossOf(await before));
    return this.losses;
  }

  /** What a step that was asked for by `request` answered. */
  note(reply: EngineReply): void {
    this.losses.push(lossOf(reply));
  }

  /** Other values for the inputs of all rows. */
  async replaceRows(data: Float32Array): Promise<void> {
    const dataId = 1 as never;
    await this.ask({ kind: 'dropData', dataIds: [dataId] });
    const type = float32(ROWS, this.size.shape.features);
    await this.ask({ kind: 'createData', dataId, type, data });
  }

  /** One step; its loss. */
  async step(epoch = 0): Promise<number> {
    const reply = await this.engine.client.request(this.request(), epoch);
    const loss = lossOf(reply);
    this.losses.push(loss);
    return loss;
  }

  async run(steps: number): Promise<readonly number[]> {
    for (let i = 0; i < steps; i++) await this.step();
    return this.losses;
  }

  request(version = this.version): EngineRequest {
    const indices = Int32Array.from(
      { length: this.size.batch },
      (_, i) => (version * this.size.batch + i) % ROWS,
    );
    const plan = mlpStep({
      shape: this.size.shape,
      version,
      indices,
      shardRows: SHARD_ROWS,
      programs: this.programs,
      rule: ADAM,
      dataIds: { x: 1, y: 2 },
    });
    return { kind: 'execute', plan: { ...plan, wire: this.wire, aggregate: this.aggregate } };
  }

  /** Weights now, as bytes for exact comparison. */
  async weights(): Promise<Buffer> {
    const reply = await this.ask({
      kind: 'readStates',
      stateIds: [W1, W2],
      version: this.version as never,
    });
    if (reply.kind !== 'states') throw new Error(`weights answered with ${reply.kind}`);
    return Buffer.concat(
      reply.values.map((value) => Buffer.from(value.buffer, value.byteOffset, value.byteLength)),
    );
  }

  private ask(request: EngineRequest): Promise<EngineReply> {
    return this.engine.client.request(request);
  }
}

function lossOf(reply: EngineReply): number {
  if (reply.kind !== 'executed') throw new Error(`a step answered with ${reply.kind}`);
  return reply.outputs[0]?.[0] ?? NaN;
}
