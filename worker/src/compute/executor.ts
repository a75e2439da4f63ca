/** @file Runs batches of units on a backend, one by one or a group at once. Threads, ports and leases are not its business. */
import type {
  AdvanceMessage,
  ExecutionId,
  Program,
  ProgramHash,
  SumForm,
  TensorData,
} from '@ravenlab/protocol';
import {
  RavenError,
  WORKER_LIMITS,
  allocate,
  decodeProgram,
  sizeOf,
  toWireError,
  valueType,
} from '@ravenlab/protocol';
import type { BlobKey } from '../core/state.js';
import { TensorTable, inputSource } from './assemble.js';
import type { InputSource } from './assemble.js';
import type { Backend, Executable } from './backend.js';
import type { ComputeBatch, UnitOutcome } from './computeMessages.js';
import { firstNonFinite } from './finite.js';
import type { FusedUnits, Trial } from './group/groupForms.js';
import { GroupForms } from './group/groupForms.js';
import { GroupSum } from './merge.js';
import { OutputSets } from './outputSets.js';
import { Replica } from './replica.js';
import { SpareBuffers } from './spareBuffers.js';
import type { SumMemories } from './wasm/sumLoops.js';

interface Prepared {
  readonly program: Program;
  readonly executable: Executable;
  readonly isFloat: readonly boolean[];
  /** Arrays that inputs are assembled into, by input index. */
  readonly scratch: (TensorData | undefined)[];
  /** Where the outputs of merged groups are added up. */
  readonly sets: OutputSets;
}

export interface ExecutorOptions {
  readonly backend: Backend;
  /** Monotonic clock, µs. */
  readonly nowUs: () => number;
  /** For sums in SIMD loops; null: in JavaScript. */
  readonly memories?: SumMemories | null;
  /** What the worker's owner lets it take, bytes. */
  readonly memoryBytes?: number;
}

const NOTHING: readonly TensorData[] = [];
/** No output is looked at. */
const NO_CHECK: readonly boolean[] = [];

export class Executor {
  private readonly backend: Backend;
  private readonly nowUs: () => number;
  private readonly memories: SumMemories | null;
  private readonly sources = new Map<ProgramHash, Uint8Array>();
  /** Least recently used first. */
  private readonly prepared = new Map<ProgramHash, Prepared>();
  private readonly tensors = new TensorTable();
  private readonly spares = new SpareBuffers();
  private readonly forms: GroupForms;
  private readonly replica: Replica | null;

  constructor({ backend, nowUs, memories = null, memoryBytes = Infinity }: ExecutorOptions) {
    this.backend = backend;
    this.nowUs = nowUs;
    this.memories = memories;
    this.forms = new GroupForms({ backend, nowUs, memoryBytes });
    this.replica = memories === null ? null : new Replica(memories, this.tensors);
  }

  define(hash: ProgramHash, bytes: Uint8Array): void {
    this.sources.set(hash, bytes);
  }

  put(key: BlobKey, bytes: Uint8Array): void {
    this.tensors.set(key, bytes);
  }

  /** Memory of answers that have left. */
  takeBack(buffers: readonly ArrayBuffer[]): void {
    this.spares.give(buffers);
  }

  /** The update to make after an execution. */
  announce(message: AdvanceMessage): void {
    this.replica?.announce(message);
  }

  /** What was made for this execution is held under these names. */
  keep(execution: ExecutionId, keys: readonly BlobKey[]): void {
    this.replica?.keep(execution, keys);
  }

  forgetSlots(): void {
    this.replica?.forgetSlots();
  }

  forget(keys: readonly BlobKey[]): void {
    for (const key of keys) this.tensors.delete(key);
    this.replica?.forget(keys);
    // Backends may keep the weights of their last run; what is dropped must really go.
    for (const { executable } of this.prepared.values()) executable.release();
    this.forms.release();
  }

  forgetProgram(hash: ProgramHash): void {
    this.sources.delete(hash);
    this.forms.forgetProgram(hash);
    this.prepared.get(hash)?.executable.dispose();
    this.prepared.delete(hash);
  }

  /**
   * Runs a batch unit by unit; after each unit yields the outcomes that are known by then.
   * @param isSkipped asked before each unit; nobody waits for those any more.
   */
  *run(
    batch: ComputeBatch,
    isSkipped: (unit: number) => boolean,
  ): Generator<readonly UnitOutcome[], void> {
    const { runUnit, runFused, sets } = this.start(batch);
    const { merge, shards } = batch;
    if (merge === null || sets === null) {
      const isLone = shards.length === 1;
      for (let unit = 0; unit < shards.length; unit++) {
        const outcome = isSkipped(unit) ? cancelled(unit) : runUnit(unit, true);
        if (isLone) yield* this.advancing(batch, outcome, outcome.outputs, null);
        else yield [outcome];
      }
      return;
    }
    const advancing =
      merge.groups.length === 1
        ? (outcome: UnitOutcome, whole: readonly TensorData[]) =>
            this.advancing(batch, outcome, whole, sets)
        : unchanged;
    const sum = new GroupSum(merge.sums, (outputs) => sets.give(outputs), sets.add, sets.round);
    let first = 0;
    for (const size of merge.groups) {
      const fused = this.forms.find(batch, size);
      const { sums } = merge;
      const parts = { sum, sums, runUnit, runFused, fused, sets, isSkipped, advancing };
      yield* runGroup({ first, size, ...parts });
      first += size;
    }
  }

  /** Makes the next batch like this one quicker where that takes preparation; to be called when its answers have left. */
  improve(batch: ComputeBatch): void {
    try {
      this.forms.improve(batch, () => this.trial(batch));
    } catch {
      // What cannot run says so when its units run.
    }
  }

  private trial(batch: ComputeBatch): Trial {
    const { program, sets } = this.prepare(batch.hash);
    const { runUnit, runFused, sources } = this.start(batch);
    const sums = batch.merge?.sums ?? [];
    const give = (outputs: readonly TensorData[]): void => sets.give(outputs);
    const group = { sets, runUnit, runFused };
    return {
      batch,
      program,
      sources,
      alone: (units) => {
        const sum = new GroupSum(sums, give, sets.add);
        for (let unit = 0; unit < units; unit++) sum.add(outputsOf(runIntoSet(group, unit, null)));
        return sets.detach(sum.take(), sums);
      },
      together: (fused) => sets.detach(outputsOf(runIntoSet(group, 0, fused)), sums),
    };
  }

  /** The answer of a whole execution, and after it the update that was announced. @param whole the sum, in memory of `sets`. */
  private *advancing(
    { execution }: ComputeBatch,
    outcome: UnitOutcome,
    whole: readonly TensorData[],
    sets: OutputSets | null,
  ): Generator<readonly UnitOutcome[], void> {
    const update = outcome.status === 'ok' ? this.replica?.begin(execution, whole, sets) : null;
    yield [update ? { ...outcome, isAdvancing: true } : outcome];
    update?.();
  }

  dispose(): void {
    this.forms.dispose();
    for (const { executable } of this.prepared.values()) executable.dispose();
    this.prepared.clear();
    this.backend.dispose();
  }

  /** How to run one unit of the batch; when it cannot be prepared, how every unit fails. */
  private start(batch: ComputeBatch): BatchRunner {
    try {
      const prepared = this.prepare(batch.hash);
      const sources = this.bind(prepared, batch);
      const { executable, isFloat, sets } = prepared;
      const { shards } = batch;
      return {
        sets,
        sources,
        runUnit: (unit, isChecked, into) => {
          const run = (): TensorData[] => {
            const shard = shards[unit] ?? 0;
            return executable.run(
              sources.map((source) => source(unit, shard)),
              into,
            );
          };
          return this.runUnit(unit, run, isChecked ? isFloat : NO_CHECK);
        },
        runFused: (first, fused, into) => {
          const run = (): TensorData[] => fused.run({ first, sources, shards }, into);
          const outcome = this.runUnit(first, run, NO_CHECK);
          if (outcome.status === 'failed') this.forms.refuse(batch, fused);
          return outcome;
        },
      };
    } catch (error) {
      const fail = (unit: number): UnitOutcome => failed(unit, 0, error);
      return { sets: null, sources: [], runUnit: fail, runFused: fail };
    }
  }

  private runUnit(unit: number, run: () => TensorData[], isFloat: readonly boolean[]): UnitOutcome {
    const startUs = this.nowUs();
    const elapsed = (): number => Math.round(this.nowUs() - startUs);
    try {
      const outputs = run();
      const output = firstNonFinite(outputs, isFloat);
      const computeUs = elapsed();
      return output < 0
        ? { unit, status: 'ok', computeUs, outputs, output: -1, error: null }
        : { unit, status: 'nonFinite', computeUs, outputs: NOTHING, output, error: null };
    } catch (error) {
      return failed(unit, elapsed(), error);
    }
  }

  /** Whether a run of the program would begin at once. */
  isPrepared(hash: ProgramHash): boolean {
    return this.prepared.has(hash);
  }

  /** Compiles a program unless it is; the one used least recently may go for it. @throws RavenError when it cannot be. */
  prepare(hash: ProgramHash): Prepared {
    const known = this.prepared.get(hash);
    if (known !== undefined) {
      this.prepared.delete(hash);
      this.prepared.set(hash, known);
      return known;
    }
    const prepared = this.compile(hash);
    this.prepared.set(hash, prepared);
    for (const [oldest, { executable }] of this.prepared) {
      if (this.prepared.size <= WORKER_LIMITS.executables) break;
      executable.dispose();
      this.prepared.delete(oldest);
    }
    return prepared;
  }

  private compile(hash: ProgramHash): Prepared {
    const bytes = this.sources.get(hash);
    if (bytes === undefined) throw new RavenError('internal', `program ${hash} is not defined`);
    const decoded = decodeProgram(bytes);
    if (!decoded.ok) throw decoded.error;
    const program = decoded.value;
    const types = program.outputs.map((id) => valueType(program, id));
    return {
      program,
      executable: this.backend.compile(program),
      isFloat: types.map(({ dtype }) => dtype === 'float32'),
      scratch: [],
      sets: new OutputSets(types, this.memories, this.spares),
    };
  }

  private bind({ program, scratch }: Prepared, batch: ComputeBatch): InputSource[] {
    return program.inputs.map((type, index) => {
      const input = batch.inputs[index];
      if (input === undefined) throw new RavenError('internal', `input ${index} is missing`);
      return inputSource(
        input,
        type,
        this.tensors,
        () => (scratch[index] ??= allocate(type.dtype, sizeOf(type.shape))),
      );
    });
  }
}

/** How the units of one batch are run. */
interface BatchRunner {
  /**
   * @param isChecked looks for NaN and infinity in the outputs.
   * @param into arrays that the outputs may be written into.
   */
  readonly runUnit: (unit: number, isChecked: boolean, into?: readonly TensorData[]) => UnitOutcome;
  /** Units from this one on at once; the outcome is that of the first, with their sums. */
  readonly runFused: (
    first: number,
    fused: FusedUnits,
    into?: readonly TensorData[],
  ) => UnitOutcome;
  readonly sources: readonly InputSource[];
  /** Null when the batch cannot be prepared. */
  readonly sets: OutputSets | null;
}

interface Group extends Pick<BatchRunner, 'runUnit' | 'runFused'> {
  /** Position of the first unit. */
  readonly first: number;
  readonly size: number;
  readonly sum: GroupSum;
  readonly sums: readonly SumForm[];
  /** What runs several units at once, to the same bits; null: one by one. */
  readonly fused: FusedUnits | null;
  readonly sets: OutputSets;
  readonly isSkipped: (unit: number) => boolean;
  /** Yields the group's answer, and makes what is made after it. */
  readonly advancing: (
    outcome: UnitOutcome,
    whole: readonly TensorData[],
  ) => Generator<readonly UnitOutcome[], void>;
}

function* unchanged(outcome: UnitOutcome): Generator<readonly UnitOutcome[], void> {
  yield [outcome];
}

/** One outcome for all when all went well; else one each, and nothing runs after the first that did not. */
function* runGroup(group: Group): Generator<readonly UnitOutcome[], void> {
  const { first, size, sum, sums, fused, sets, advancing } = group;
  const units = fused?.units ?? 1;
  let computeUs = 0;
  for (let unit = first; unit < first + size; unit += units) {
    const outcome = skippedOf(group, unit, units) ?? runIntoSet(group, unit, fused);
    computeUs += outcome.computeUs;
    if (outcome.status !== 'ok') {
      sum.clear();
      // Together they may take more memory than there is; and only one by one they tell which of them fails.
      if (fused !== null && outcome.status === 'failed') yield* runGroup({ ...group, fused: null });
      else yield fallApart(group, outcome);
      return;
    }
    sum.add(outcome.outputs, units);
    yield [];
  }
  const whole = sum.take();
  const output = sets.firstNonFinite(whole);
  const outputs = sets.detach(whole, sums);
  if (output >= 0) {
    yield* blame(group, output);
    return;
  }
  // Nothing is written into a set before the next unit runs.
  yield* advancing({ unit: first, status: 'ok', computeUs, outputs, output, error: null }, whole);
}

/** Of these units the first that nobody waits for; undefined when there is none. */
function skippedOf({ isSkipped }: Group, first: number, units: number): UnitOutcome | undefined {
  for (let unit = first; unit < first + units; unit++) {
    if (isSkipped(unit)) return cancelled(unit);
  }
  return undefined;
}

/** @throws Error when the run failed. */
function outputsOf({ status, outputs }: UnitOutcome): readonly TensorData[] {
  if (status !== 'ok') throw new Error('a unit failed that had run before');
  return outputs;
}

/** NaN and infinity survive addition, so the sum is checked once instead of every unit. */
function runIntoSet(
  { sets, runUnit, runFused }: Pick<Group, 'sets' | 'runUnit' | 'runFused'>,
  unit: number,
  fused: FusedUnits | null,
): UnitOutcome {
  const set = sets.take();
  const outcome = fused === null ? runUnit(unit, false, set) : runFused(unit, fused, set);
  // A run that failed, or whose backend makes its own arrays, has no use for it.
  if (set !== undefined && outcome.outputs[0] !== set[0]) sets.give(set);
  return outcome;
}

/** Runs the units of a group once more, to name the one whose output is not finite; the first, when only their sum is not. */
function* blame(group: Group, output: number): Generator<readonly UnitOutcome[], void> {
  const { first, size, runUnit } = group;
  for (let unit = first; unit < first + size; unit++) {
    const outcome = runUnit(unit, true);
    if (outcome.status !== 'ok') {
      yield fallApart(group, outcome);
      return;
    }
    yield [];
  }
  yield fallApart(group, { ...cancelled(first), status: 'nonFinite', output });
}

/** An outcome each: this one, and nothing from the others. */
function fallApart({ first, size }: Group, outcome: UnitOutcome): UnitOutcome[] {
  const units = Array.from({ length: size }, (_, i) => first + i);
  return [outcome, ...units.filter((unit) => unit !== outcome.unit).map(cancelled)];
}

function cancelled(unit: number): UnitOutcome {
  return { unit, status: 'cancelled', computeUs: 0, outputs: NOTHING, output: -1, error: null };
}

function failed(unit: number, computeUs: number, error: unknown): UnitOutcome {
  return {
    unit,
    status: 'failed',
    computeUs,
    outputs: NOTHING,
    output: -1,
    error: toWireError(error),
  };
}
