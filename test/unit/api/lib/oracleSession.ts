/**
 * @file A session whose engine is a few loops on the float64 oracle: the executable description of what an engine does
 * with an ExecutionPlan. No processes, no scheduling; steps are computed when their answer is read, in call order.
 */
import { createHash } from 'node:crypto';
import type {
  EngineReply,
  EngineRequest,
  ExecutionPlan,
  MicroShard,
  PlanInput,
  PlanOutput,
  Program,
  StateVersion,
  TensorData,
  TensorType,
} from '@ravenlab/protocol';
import {
  allocate,
  ClusterError,
  decodeProgram,
  LIMITS,
  RavenError,
  sizeOf,
  verifyProgram,
} from '@ravenlab/protocol';
import { runReference } from '../../../../kernel/src/core/reference/runReference.js';
import { installSession } from '../../../../kernel/src/api/session.js';
import type { DisplayOptions, MimeBundle, Session } from '../../../../kernel/src/api/session.js';
import { RunTable } from '../../../../kernel/src/engine/runs.js';
import { applyUpdates } from './oracleUpdates.js';
import type { Slots } from './oracleUpdates.js';

interface State {
  readonly type: TensorType;
  /** Values by the version that made them, oldest first. */
  readonly versions: { readonly version: number; readonly data: TensorData }[];
}

interface Ticket {
  readonly request: EngineRequest;
  outcome: EngineReply | RavenError | null;
}

export interface Shown {
  readonly bundle: MimeBundle;
  readonly options: DisplayOptions | undefined;
}

export class OracleSession implements Session {
  interactive = true;
  readonly shown: Shown[] = [];
  readonly written: { stream: string; text: string }[] = [];
  readonly executed: ExecutionPlan[] = [];
  readonly requests: EngineRequest[] = [];
  /** Answers to 'command' requests, by op. */
  readonly commands = new Map<string, (args: Readonly<Record<string, unknown>>) => unknown>();
  /** Replaces an answer after the request was carried out: Stop that comes too late for the engine. */
  intercept: ((request: EngineRequest) => RavenError | null) | null = null;
  /** Answers instead of carrying the request out. */
  refuse: ((request: EngineRequest) => RavenError | null) | null = null;
  clockMs = 1_000;
  version = 0;
  private runs = new RunTable();
  private readonly programs = new Map<string, Program>();
  private readonly states = new Map<number, State>();
  private readonly data = new Map<number, { type: TensorType; data: TensorData }>();
  private readonly slots: Slots = new Map();
  private readonly tickets: Ticket[] = [];
  private readonly byPromise = new WeakMap<Promise<EngineReply>, Ticket>();

  requestSync(request: EngineRequest): EngineReply {
    return this.finish(this.enqueue(request));
  }

  request(request: EngineRequest): Promise<EngineReply> {
    const ticket = this.enqueue(request);
    const reply = Promise.resolve().then(() => this.finish(ticket));
    this.byPromise.set(reply, ticket);
    return reply;
  }

  waitSync(reply: Promise<EngineReply>): EngineReply {
    const ticket = this.byPromise.get(reply);
    if (ticket === undefined) throw new TypeError('waitSync takes a promise that request() made');
    return this.finish(ticket);
  }

  display(bundle: MimeBundle, options?: DisplayOptions): void {
    this.shown.push({ bundle, options });
  }
  write(stream: 'stdout' | 'stderr', text: string): void {
    this.written.push({ stream, text });
  }
  sha256(bytes: Uint8Array): string {
    return createHash('sha256').update(bytes).digest('hex');
  }
  now(): number {
    return this.clockMs;
  }

  /** The engine ends; a new one knows nothing. Every request of this cell is told; `refuse = null` is the next cell. */
  crash(): void {
    this.version = 0;
    this.runs = new RunTable();
    for (const store of [this.programs, this.states, this.data, this.slots]) store.clear();
    const error = new ClusterError('The engine process ended', { meta: { engineLost: 1 } });
    this.refuse = () => error;
  }

  /** Everything written to a stream. */
  text(stream: 'stdout' | 'stderr'): string {
    return this.written.flatMap((entry) => (entry.stream === stream ? [entry.text] : [])).join('');
  }

  /** Executions that changed states. */
  get steps(): ExecutionPlan[] {
    return this.executed.filter((plan) => plan.updates.length > 0);
  }
  get programCount(): number {
    return this.programs.size;
  }
  has(stateId: number): boolean {
    return this.states.has(stateId);
  }
  get stateIds(): number[] {
    return [...this.states.keys()];
  }

  private enqueue(request: EngineRequest): Ticket {
    const ticket: Ticket = { request: structuredClone(request), outcome: null };
    this.requests.push(ticket.request);
    this.tickets.push(ticket);
    return ticket;
  }

  /** Carries out everything up to `ticket`, in call order. */
  private finish(ticket: Ticket): EngineReply {
    while (ticket.outcome === null) {
      const next = this.tickets.shift();
      if (next === undefined) throw new Error('oracle session: a ticket is not in the queue');
      try {
        const refusal = this.refuse?.(next.request) ?? null;
        if (refusal !== null) throw refusal;
        const reply = this.answer(next.request);
        next.outcome = this.intercept?.(next.request) ?? reply;
      } catch (error) {
        if (!(error instanceof RavenError)) throw error;
        next.outcome = error;
      }
    }
    if (ticket.outcome instanceof RavenError) throw ticket.outcome;
    return ticket.outcome;
  }

  private answer(request: EngineRequest): EngineReply {
    switch (request.kind) {
      case 'attach':
        return this.runs.attach(this.version as StateVersion, (id) => this.states.has(id));
      case 'openRun':
        this.runs.open(request);
        return { kind: 'ok' };
      case 'mark':
        this.runs.mark(request);
        return { kind: 'ok' };
      case 'adopt':
        this.runs.adopt(request);
        return { kind: 'ok' };
      case 'defineProgram':
        return this.define(request.hash, request.bytes);
      case 'createState': {
        const { stateId, type, data } = request;
        requireFilled(type, data);
        this.runs.sawId(stateId);
        this.states.set(stateId, { type, versions: [{ version: this.version, data }] });
        return { kind: 'ok' };
      }
      case 'readStates': {
        const values = request.stateIds.map((id) => this.stateAt(id, request.version).slice());
        return { kind: 'states', values, version: this.version as never };
      }
      case 'dropStates':
        for (const id of request.stateIds) this.states.delete(id);
        return { kind: 'ok' };
      case 'createData':
        requireFilled(request.type, request.data);
        this.runs.sawId(request.dataId);
        this.data.set(request.dataId, { type: request.type, data: request.data });
        return { kind: 'ok' };
      case 'dropData':
        for (const id of request.dataIds) this.data.delete(id);
        return { kind: 'ok' };
      case 'readSlots': {
        const slotsOf = (id: number): Float32Array[] =>
          (this.slots.get(`${String(request.optimizerId)}:${String(id)}`) ?? []).map((slot) =>
            slot.slice(),
          );
        return { kind: 'slots', values: request.stateIds.map((id) => slotsOf(id)) };
      }
      case 'writeSlots':
        this.slots.set(`${String(request.optimizerId)}:${String(request.stateId)}`, [
          ...request.slots,
        ]);
        return { kind: 'ok' };
      case 'execute':
        return this.execute(request.plan);
      case 'command': {
        const command = this.commands.get(request.op);
        if (command === undefined) throw new ClusterError(`no command '${request.op}'`);
        return { kind: 'result', value: command(request.args) };
      }
    }
  }

  private define(hash: string, bytes: Uint8Array): EngineReply {
    if (this.sha256(bytes) !== hash) throw new RavenError('protocol', 'hash does not fit');
    const decoded = decodeProgram(bytes);
    if (!decoded.ok) throw new RavenError('protocol', 'a program that does not decode');
    verifyProgram(decoded.value);
    this.programs.set(hash, decoded.value);
    return { kind: 'ok' };
  }

  private stateAt(stateId: number, version: number): TensorData {
    if (version > this.version || version <= this.version - LIMITS.retainedVersions) {
      throw new ClusterError(
        `weights ${String(version)} are not kept; the newest are ${String(this.version)}`,
      );
    }
    const state = this.states.get(stateId);
    const entry = state?.versions.filter((candidate) => candidate.version <= version).at(-1);
    if (entry === undefined)
      throw new ClusterError(`no state ${String(stateId)} at ${String(version)}`);
    return entry.data;
  }

  private execute(plan: ExecutionPlan): EngineReply {
    this.executed.push(plan);
    this.runs.started(plan);
    const inheritance = plan.step === null ? null : this.runs.takeInheritance();
    for (const id of inheritance === null ? [] : [...this.states.keys()]) {
      const isOwn = id >= (inheritance?.firstOwnId ?? 0) || inheritance?.adopted.has(id) === true;
      if (!isOwn) this.states.delete(id);
    }
    const results = plan.shards.map((shard, index) => this.runUnit(plan, shard, index));
    if (plan.updates.length > 0) requireFinite(plan, results);
    const outputs = plan.outputs.map((output, index) =>
      combine(
        output,
        results.map((unit) => unit[index] ?? new Float32Array()),
      ),
    );
    if (plan.updates.length > 0) {
      this.version++;
      this.runs.committed(plan, this.version as StateVersion);
      applyUpdates(plan, outputs, this.slots, {
        read: (id) => this.states.get(id)?.versions.at(-1)?.data ?? new Float32Array(),
        write: (id, data) => this.states.get(id)?.versions.push({ version: this.version, data }),
      });
    }
    return {
      kind: 'executed',
      outputs: plan.outputs.map((output, index) =>
        output.deliver ? (outputs[index] ?? null) : null,
      ),
      version: this.version as never,
      units: plan.shards.length,
      workers: 1,
    };
  }

  private runUnit(plan: ExecutionPlan, shard: MicroShard, index: number): TensorData[] {
    const program = this.programs.get(plan.programs[shard.program] ?? '');
    if (program === undefined) throw new ClusterError('a program that was never defined');
    const inputs = plan.inputs.map((input) => this.inputOf(input, shard, index));
    // Workers compute in float32: results are rounded, so that a test sees what a user sees.
    return runReference(program, inputs).map((values, output) => {
      const id = program.outputs[output] ?? 0;
      const type = program.inputs[id] ?? program.nodes[id - program.inputs.length]?.type;
      const data = allocate(type?.dtype ?? 'float32', values.length);
      data.set(values);
      return data;
    });
  }

  private inputOf(input: PlanInput, shard: MicroShard, index: number): TensorData {
    switch (input.kind) {
      case 'state':
        return this.stateAt(input.stateId, input.version);
      case 'data':
        return this.dataOf(input.dataId).data;
      case 'rows': {
        const { type, data } = this.dataOf(input.dataId);
        const { offset, size } = shard;
        const rows = input.sharded ? input.indices.subarray(offset, offset + size) : input.indices;
        const stride = sizeOf(type.shape.slice(1));
        const out = allocate(type.dtype, stride * rows.length);
        rows.forEach((row, i) =>
          out.set(data.subarray(row * stride, (row + 1) * stride), i * stride),
        );
        return out;
      }
      case 'inline':
        return input.shardAxis < 0 ? input.data : sliceAxis(input, shard);
      case 'key':
        return Int32Array.of(input.seedLow, input.seedHigh, input.step, index);
    }
  }

  private dataOf(dataId: number): { type: TensorType; data: TensorData } {
    const entry = this.data.get(dataId);
    if (entry === undefined) throw new ClusterError(`no data ${String(dataId)}`);
    return entry;
  }
}

function requireFilled(type: TensorType, data: TensorData): void {
  if (data.length !== sizeOf(type.shape))
    throw new RavenError('protocol', 'data does not fill its type');
}

function sliceAxis(input: Extract<PlanInput, { kind: 'inline' }>, shard: MicroShard): TensorData {
  const { type, data, shardAxis } = input;
  const outer = sizeOf(type.shape.slice(0, shardAxis));
  const extent = type.shape[shardAxis] ?? 1;
  const inner = sizeOf(type.shape.slice(shardAxis + 1));
  const out = allocate(type.dtype, outer * shard.size * inner);
  for (let o = 0; o < outer; o++) {
    const from = (o * extent + shard.offset) * inner;
    out.set(data.subarray(from, from + shard.size * inner), o * shard.size * inner);
  }
  return out;
}

function requireFinite(plan: ExecutionPlan, results: readonly TensorData[][]): void {
  results.forEach((unit, shard) => {
    unit.forEach((values, output) => {
      if (values instanceof Float32Array && !values.every(Number.isFinite)) {
        throw new RavenError(
          'numeric',
          `output ${String(output)} of micro-shard ${String(shard)} is not finite`,
          {
            meta: { shard, output, outputs: plan.outputs.length },
          },
        );
      }
    });
  });
}

/** Fixed binary tree: split at the largest power of two below n. */
function treeSum(parts: readonly TensorData[]): TensorData {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const middle = 2 ** Math.ceil(Math.log2(parts.length) - 1);
  const left = treeSum(parts.slice(0, middle));
  const right = treeSum(parts.slice(middle));
  return left.map((value, i) => value + (right[i] ?? 0));
}

function combine(output: PlanOutput, parts: readonly TensorData[]): TensorData {
  switch (output.combine) {
    case 'first':
      return parts[0] ?? allocate(output.type.dtype, 0);
    case 'sum':
      return treeSum(parts);
    case 'concat': {
      const { shape, dtype } = output.type;
      const outer = sizeOf(shape.slice(0, output.axis));
      const out = allocate(dtype, sizeOf(shape));
      let offset = 0;
      for (let o = 0; o < outer; o++) {
        for (const part of parts) {
          const length = part.length / outer;
          out.set(part.subarray(o * length, (o + 1) * length), offset);
          offset += length;
        }
      }
      return out;
    }
  }
}

/** A restarted kernel on the same engine: the API remembers nothing, the engine everything. */
export function restartKernel(engine: OracleSession): void {
  // Another object is another session; what it does, the engine does.
  installSession(new Proxy(engine, {}));
}

/** Installs a fresh session for one test. */
export function freshSession(): OracleSession {
  const session = new OracleSession();
  installSession(session);
  return session;
}
