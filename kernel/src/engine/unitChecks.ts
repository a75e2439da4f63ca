/**
 * @file Answers of strangers held against inputs that the engine has, or computed anew from them: small checks at once, all else on a
 * thread of their own. What is checked and how is `core/verify/checkUnit.ts`; what follows is the auditor's.
 */
import { Worker } from 'node:worker_threads';
import type { Program, TensorData, TensorType } from '@ravenlab/protocol';
import {
  ENGINE_LIMITS,
  RavenError,
  byteSizeOf,
  copyChunks,
  sizeOf,
  totalBytes,
  viewAs,
} from '@ravenlab/protocol';
import type { Resource } from '../core/cluster/state.js';
import type { Answer } from '../core/verify/auditBook.js';
import type {
  CheckVerdict,
  ClaimedOutput,
  ShardInputs,
  UnitCheck,
} from '../core/verify/checkUnit.js';
import { checkUnit } from '../core/verify/checkUnit.js';
import type { Part } from '../core/verify/compare.js';
import type { Proof } from '../core/verify/provable.js';
import { proofOf } from '../core/verify/provable.js';
import type { DisputedUnits } from '../core/verify/recompute.js';
import { recompute } from '../core/verify/recompute.js';
import { isCompared } from './auditedPlan.js';
import type { DataTensor } from './dataStore.js';
import type { SharedHeap } from './heap.js';
import type { BoundPlan } from './planView.js';
import type { Resources } from './resources.js';
import { secretRandom } from './secretRandom.js';
import { rowBytes } from './states.js';

type Job =
  | { readonly kind: 'check'; readonly check: UnitCheck }
  | { readonly kind: 'recompute'; readonly units: DisputedUnits };

type JobResult =
  | { readonly kind: 'check'; readonly verdict: CheckVerdict }
  | { readonly kind: 'recompute'; readonly parts: readonly Part[] | null };

export interface CheckThreadRequest {
  readonly id: number;
  readonly job: Job;
}

export interface CheckThreadReply {
  readonly id: number;
  readonly result: JobResult;
}

/** @param random uniform in [0, 1), unknown to who answered. */
export function carryOut(job: Job, random: () => number): JobResult {
  return job.kind === 'check'
    ? { kind: 'check', verdict: checkUnit(job.check, random) }
    : { kind: 'recompute', parts: recompute(job.units) };
}

/** Backends whose float32 is held against the bound by test/conformance/verify.test.ts wherever the suite runs. */
const HELD_TO_THE_BOUND: ReadonlySet<string> = new Set(['onnx-cpu', 'onnx-wasm', 'tfjs-cpu']);

/**
 * Whether a wrong product is proof against a worker of this class. The others may compute with less than float32, as their
 * owners set them up: what looks wrong there is repeated first.
 */
export function isProof(bitClass: string): boolean {
  return HELD_TO_THE_BOUND.has(bitClass.split(' ', 1)[0] ?? '');
}

export interface UnitChecksOptions {
  readonly heap: SharedHeap;
  readonly resources: Pick<Resources, 'get'>;
  /** The thread ended by itself. */
  readonly onCrash: (error: Error) => void;
}

/** A check that can be made: `run` calls back at once, or later. */
export interface PreparedCheck {
  readonly flops: number;
  readonly isInline: boolean;
  readonly run: (onDone: (verdict: CheckVerdict) => void) => void;
}

interface Waiting {
  readonly onDone: (result: JobResult) => void;
  readonly sizeBytes: number;
}

export class UnitChecks {
  private readonly options: UnitChecksOptions;
  private readonly proofs = new WeakMap<Program, { readonly proof: Proof | null }>();
  private readonly waiting = new Map<number, Waiting>();
  private thread: Worker | null = null;
  private waitingBytes = 0;
  private nextId = 1;
  private isClosed = false;

  constructor(options: UnitChecksOptions) {
    this.options = options;
  }

  /** @returns null when nothing of the answer can be checked, or too much waits already. */
  prepare(bound: BoundPlan, answer: Answer, parts: () => readonly Part[]): PreparedCheck | null {
    const { plan, programs } = bound;
    const shards = plan.shards.slice(answer.shard, answer.shard + answer.count);
    const number = shards[0]?.program ?? -1;
    const known = programs[number];
    if (known === undefined || shards.some(({ program }) => program !== number)) return null;
    const proof = this.proofOf(known.program);
    if (proof === null) return null;
    const answers = answersOf(bound, answer, known.outputTypes, parts());
    if (proof.outputs.every(({ output }) => answers[output] === null)) return null;
    const inputs: ShardInputs[] = [];
    for (let shard = answer.shard; shard < answer.shard + answer.count; shard++) {
      const own = this.inputsOf(bound, known.program, proof, shard);
      if (own === null) return null;
      inputs.push(own);
    }
    const check = { program: known.program, proof, shards: inputs, answers };
    const flops = proof.flops * answer.count;
    if (flops <= ENGINE_LIMITS.inlineCheckFlops) {
      const run: PreparedCheck['run'] = (onDone) => {
        onDone(checkUnit(check, secretRandom()));
      };
      return { flops, isInline: true, run };
    }
    const sizeBytes = bytesIn(check);
    if (this.isClosed || this.waitingBytes + sizeBytes > ENGINE_LIMITS.checkBytes) return null;
    const run: PreparedCheck['run'] = (onDone) => {
      const told = (result: JobResult): void => {
        if (result.kind === 'check') onDone(result.verdict);
      };
      this.post({ kind: 'check', check }, { onDone: told, sizeBytes });
    };
    return { flops, isInline: false, run };
  }

  /**
   * Computes an answer anew, in float64; calls back later, with null when that could not be done.
   * @returns whether it will: not what is too large, or was made from what the engine has not got.
   */
  recompute(
    bound: BoundPlan,
    answer: Answer,
    onDone: (parts: readonly Part[] | null) => void,
  ): boolean {
    const units = this.disputed(bound, answer);
    if (units === null) return false;
    const sizeBytes = bytesOf(units.shards.flat());
    if (this.isClosed || this.waitingBytes + sizeBytes > ENGINE_LIMITS.checkBytes) return false;
    const told = (result: JobResult): void => {
      if (result.kind === 'recompute') onDone(result.parts);
    };
    this.post({ kind: 'recompute', units }, { onDone: told, sizeBytes });
    return true;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.waiting.clear();
    await this.thread?.terminate();
  }

  private disputed(bound: BoundPlan, { shard, count }: Answer): DisputedUnits | null {
    const { plan, programs, spec, sums } = bound;
    const number = plan.shards[shard]?.program ?? -1;
    const known = programs[number];
    const flops = count * (spec.programs[number]?.flops ?? Infinity);
    if (known === undefined || flops > ENGINE_LIMITS.judgeFlops) return null;
    const { program } = known;
    const shards: TensorData[][] = [];
    for (let each = shard; each < shard + count; each++) {
      if (plan.shards[each]?.program !== number) return null;
      const values = program.inputs.map((type, index) => this.valuesOf(bound, index, type, each));
      const whole = values.filter((value) => value !== null);
      if (whole.length < values.length) return null;
      shards.push(whole);
    }
    const outputs = plan.outputs.flatMap((output, index) =>
      isCompared(output, shard) ? [{ output: index, isSum: sums[index] !== 'first' }] : [],
    );
    return { program, shards, outputs };
  }

  private proofOf(program: Program): Proof | null {
    let entry = this.proofs.get(program);
    if (entry === undefined) {
      entry = { proof: proofOf(program) };
      this.proofs.set(program, entry);
    }
    return entry.proof;
  }

  /** The values that the proof reads of one micro-shard; null when the engine has not got them. */
  private inputsOf(
    bound: BoundPlan,
    program: Program,
    { inputs }: Proof,
    shard: number,
  ): ShardInputs | null {
    const values: (TensorData | null)[] = program.inputs.map(() => null);
    for (const input of inputs) {
      const type = program.inputs[input];
      const own = type === undefined ? null : this.valuesOf(bound, input, type, shard);
      if (own === null) return null;
      values[input] = own;
    }
    return values;
  }

  private valuesOf(
    bound: BoundPlan,
    index: number,
    type: TensorType,
    shard: number,
  ): TensorData | null {
    const input = bound.inputs[index];
    switch (input?.kind) {
      case 'state': {
        const { revision } = input;
        // Its worker has made it already, the engine has not.
        return revision.isPromised
          ? null
          : valuesFrom(type, [this.options.heap.bytes(revision.block)]);
      }
      case 'inline':
        return valuesFrom(type, input.values[input.sharded ? shard : 0] ?? []);
      case 'data':
        return valuesFrom(type, this.blocksOf(input.tensor.blocks).flat());
      case 'rows': {
        const { offset = 0, size = 0 } = bound.plan.shards[shard] ?? {};
        const { tensor, indices, sharded } = input;
        const rows = sharded ? indices.subarray(offset, offset + size) : indices;
        return valuesFrom(type, this.rowsOf(tensor, rows));
      }
      default:
        return null;
    }
  }

  private blocksOf(blocks: readonly Resource[]): (readonly Uint8Array[])[] {
    return blocks.map(({ id }) => {
      const body = this.options.resources.get(id);
      return body?.kind === 'block' ? body.chunks : [];
    });
  }

  /** Rows in the order in which they are named, as pieces of the blocks' frames. */
  private rowsOf({ type, blockRows, blocks }: DataTensor, rows: Int32Array): Uint8Array[] {
    const sizeBytes = rowBytes(type);
    const frames = this.blocksOf(blocks);
    const pieces: Uint8Array[] = [];
    for (const row of rows) {
      const block = frames[Math.floor(row / blockRows)] ?? [];
      pieces.push(...cut(block, (row % blockRows) * sizeBytes, sizeBytes));
    }
    return pieces;
  }

  private post(job: Job, waiting: Waiting): void {
    if (this.isClosed) return;
    const id = this.nextId++;
    this.waiting.set(id, waiting);
    this.waitingBytes += waiting.sizeBytes;
    const request: CheckThreadRequest = { id, job };
    this.thread ??= this.spawn();
    this.thread.postMessage(request);
  }

  private spawn(): Worker {
    const thread = new Worker(new URL('./checkThread.js', import.meta.url));
    thread.on('message', ({ id, result }: CheckThreadReply) => {
      const waiting = this.waiting.get(id);
      if (waiting === undefined) return;
      this.waiting.delete(id);
      this.waitingBytes -= waiting.sizeBytes;
      waiting.onDone(result);
    });
    thread.on('error', (error) => {
      const cause = error instanceof Error ? error : new Error(String(error));
      const message = `the thread that checks results crashed: ${cause.message}`;
      this.options.onCrash(new RavenError('internal', message, { fault: 'local', cause }));
    });
    return thread;
  }
}

/** What was answered, by output; null for what is rounded on its way or not compared. */
function answersOf(
  { plan, sums }: BoundPlan,
  { shard }: Answer,
  types: readonly TensorType[],
  parts: readonly Part[],
): (ClaimedOutput | null)[] {
  let part = 0;
  return plan.outputs.map((output, index) => {
    if (!isCompared(output, shard)) return null;
    const bytes = parts[part++]?.bytes;
    const type = types[index];
    const form = sums[index];
    if (bytes === undefined || type === undefined) return null;
    if (form !== 'first' && form !== 'float32') return null;
    const data = valuesFrom(type, [bytes]);
    return data === null ? null : { data, isSum: form === 'float32' };
  });
}

/** A copy of the values; null when the bytes are not those of the type. */
function valuesFrom(type: TensorType, frames: readonly Uint8Array[]): TensorData | null {
  const sizeBytes = byteSizeOf(type);
  if (totalBytes(frames) !== sizeBytes) return null;
  const copy = new Uint8Array(sizeBytes);
  copyChunks(frames, copy);
  return viewAs(type.dtype, copy.buffer, 0, sizeOf(type.shape));
}

/** Bytes `from` … `from + length` of frames that lie end to end. */
function cut(frames: readonly Uint8Array[], from: number, length: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const frame of frames) {
    const start = Math.max(0, from - at);
    const end = Math.min(frame.byteLength, from + length - at);
    if (start < end) pieces.push(frame.subarray(start, end));
    at += frame.byteLength;
  }
  return pieces;
}

function bytesIn({ shards, answers }: UnitCheck): number {
  return bytesOf([...shards.flat(), ...answers.map((answer) => answer?.data ?? null)]);
}

function bytesOf(values: readonly (ArrayLike<number> | null)[]): number {
  return values.reduce((sum, each) => sum + 4 * (each?.length ?? 0), 0);
}
