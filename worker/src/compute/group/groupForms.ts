/**
 * @file Which groups of units run as one program, and when that program is made: after the units have run one by one a few
 * times and an answer has left, never before a step. A form is tried first on units whose sum is known, once after each of
 * several batches, because a machine that does other things too is slow for moments; one whose bits differ is never used, one that is
 * not quicker is tried again a few times, ever later. What a group is worth to the engine is not its business.
 */
import type { Program, ProgramHash, SumForm, TensorData } from '@ravenlab/protocol';
import { WORKER_LIMITS, allocate, byteSizeOf, narrowRow, sizeOf } from '@ravenlab/protocol';
import { peakBytes } from '../../core/peakBytes.js';
import type { InputSource } from '../assemble.js';
import type { Backend, Executable } from '../backend.js';
import type { ComputeBatch } from '../computeMessages.js';
import type { GroupForm, GroupProgram } from './groupProgram.js';
import { groupProgram } from './groupProgram.js';

/** Units of a batch, consecutive ones. */
export interface UnitRange {
  readonly first: number;
  readonly sources: readonly InputSource[];
  readonly shards: Int32Array;
}

/** A program for a number of units, ready to run. */
export class FusedUnits {
  readonly units: number;
  private readonly group: GroupProgram;
  private readonly executable: Executable;
  /** By input; undefined: taken as its source gives it. */
  private readonly held: readonly (TensorData | undefined)[];

  constructor(group: GroupProgram, units: number, executable: Executable) {
    this.units = units;
    this.group = group;
    this.executable = executable;
    this.held = group.inputs.map(({ unit }, input) => {
      const type = group.program.inputs[input];
      return unit === 'shared' || type === undefined
        ? undefined
        : allocate(type.dtype, sizeOf(type.shape));
    });
  }

  /** The sums of the units' outputs. @throws RavenError when the backend fails. */
  run(range: UnitRange, into?: readonly TensorData[]): TensorData[] {
    const inputs = this.group.inputs.map(({ index, unit }, input) => {
      const give = (own: number): TensorData => {
        const source = range.sources[index];
        if (source === undefined) throw new Error(`input ${String(index)} has no source`);
        return source(range.first + own, range.shards[range.first + own] ?? 0);
      };
      const held = this.held[input];
      if (held === undefined) return give(0);
      if (unit !== 'all') held.set(give(Number(unit)));
      else
        for (let own = 0, at = 0; own < this.units; own++, at += held.length / this.units)
          held.set(give(own), at);
      return held;
    });
    return this.executable.run(inputs, into);
  }

  release(): void {
    this.executable.release();
  }

  dispose(): void {
    this.executable.dispose();
  }
}

/** A form that is being tried. */
interface Trying {
  readonly fused: FusedUnits;
  /** Shortest times so far. */
  aloneUs: number;
  togetherUs: number;
  pairs: number;
}

interface Entry {
  readonly hash: ProgramHash;
  /** Batches that had such a group. */
  batches: number;
  /** Times that nothing was clear. */
  undecided: number;
  trying: Trying | null;
  /** 'never': not possible here, or not quicker. */
  fused: FusedUnits | null | 'never';
}

/** 'use': it is quicker. 'never': its bits differ. 'unclear': it does not seem quicker now. */
type Verdict = 'use' | 'never' | 'unclear' | 'open';

/** A batch that has been answered, and what it takes to run its first units once more. */
export interface Trial {
  readonly batch: ComputeBatch;
  readonly program: Program;
  readonly sources: readonly InputSource[];
  /** Sum of so many units from the first of the batch on, one by one. */
  readonly alone: (units: number) => readonly TensorData[];
  readonly together: (fused: FusedUnits) => readonly TensorData[];
}

export interface GroupOptions {
  readonly backend: Backend;
  /** Monotonic clock, µs. */
  readonly nowUs: () => number;
  /** What the worker may take, bytes. */
  readonly memoryBytes: number;
}

export class GroupForms {
  private readonly backend: Backend;
  private readonly nowUs: () => number;
  private readonly runBytes: number;
  /** Least recently used first. */
  private readonly entries = new Map<string, Entry>();

  constructor({ backend, nowUs, memoryBytes }: GroupOptions) {
    this.backend = backend;
    this.nowUs = nowUs;
    this.runBytes = Math.min(
      WORKER_LIMITS.groupBytes,
      memoryBytes / WORKER_LIMITS.groupMemoryParts,
    );
  }

  /** What runs the units of a group of this size, some or all at once; null: one by one. */
  find(batch: ComputeBatch, size: number): FusedUnits | null {
    const units = unitsAtOnce(size);
    const key = keyOf(batch, units);
    const entry = this.entries.get(key);
    if (entry === undefined || entry.fused === null || entry.fused === 'never') return null;
    this.touch(key, entry);
    return entry.fused;
  }

  /** Units of the form run one by one from now on. */
  refuse(batch: ComputeBatch, { units }: FusedUnits): void {
    const entry = this.entries.get(keyOf(batch, units));
    if (entry !== undefined) this.end(entry);
  }

  /** Makes a form for the groups of a batch when they have come often enough, and tries it once. */
  improve(batch: ComputeBatch, prepare: () => Trial): void {
    const { foldRules } = this.backend;
    const { sums = [] } = batch.merge ?? {};
    // Narrow sums are rounded after every addition; those of a program are not.
    if (foldRules === undefined || batch.merge === null || sums.some(isNarrow)) return;
    // Of the first group: its units are those that a trial runs again.
    const units = unitsAtOnce(batch.merge.groups[0] ?? 1);
    if (units < 2) return;
    const key = keyOf(batch, units);
    const entry = this.entries.get(key) ?? {
      hash: batch.hash,
      batches: 0,
      undecided: 0,
      trying: null,
      fused: null,
    };
    this.touch(key, entry);
    if (entry.fused !== null) return;
    if (entry.trying === null && ++entry.batches < batchesBefore(entry)) return;
    const trial = prepare();
    const form: GroupForm = {
      units,
      perUnit: batch.inputs.map(isPerUnit),
      summed: sums.map((sum) => sum !== 'first'),
    };
    try {
      entry.trying ??= this.begin(trial, groupProgram(trial.program, form, foldRules), units);
      if (entry.trying === null) this.end(entry);
      else this.conclude(entry, entry.trying, this.tried(trial, entry.trying));
    } catch (error) {
      this.end(entry);
      throw error;
    }
    this.makeRoom();
  }

  release(): void {
    for (const entry of this.entries.values()) madeFor(entry)?.release();
  }

  forgetProgram(hash: ProgramHash): void {
    for (const [key, entry] of this.entries) {
      if (entry.hash !== hash) continue;
      this.end(entry);
      this.entries.delete(key);
    }
  }

  dispose(): void {
    for (const entry of this.entries.values()) this.end(entry);
    this.entries.clear();
  }

  /** Null where it is not possible, or not worth it. */
  private begin(trial: Trial, group: GroupProgram | null, units: number): Trying | null {
    if (group === null || bytesOf(group) > this.runBytes) return null;
    const [, firstUs] = this.timed(() => trial.alone(units));
    // Long units use the machine well already, and between units messages are taken.
    if (firstUs > WORKER_LIMITS.groupUs) return null;
    const fused = new FusedUnits(group, units, this.backend.compile(group.program));
    return { fused, aloneUs: Infinity, togetherUs: Infinity, pairs: 0 };
  }

  /** Runs the units both ways. */
  private tried(trial: Trial, trying: Trying): Verdict {
    const { groupTrialsMin, groupTrialsGood, groupTrialsMax, groupClearLoss } = WORKER_LIMITS;
    const { fused } = trying;
    const [sums, togetherUs] = this.timed(() => trial.together(fused));
    const [known, aloneUs] = this.timed(() => trial.alone(fused.units));
    // Only where the backend's rules are wrong, or do not know this machine.
    if (!sums.every((sum, index) => haveSameBits(sum, known[index]))) return 'never';
    trying.togetherUs = Math.min(trying.togetherUs, togetherUs);
    trying.aloneUs = Math.min(trying.aloneUs, aloneUs);
    trying.pairs++;
    const ratio = trying.togetherUs / trying.aloneUs;
    if (trying.pairs >= groupTrialsMin && ratio > groupClearLoss) return 'unclear';
    if (trying.pairs >= groupTrialsGood && ratio < 1) return 'use';
    return trying.pairs < groupTrialsMax ? 'open' : 'unclear';
  }

  private conclude(entry: Entry, { fused }: Trying, verdict: Verdict): void {
    if (verdict === 'open') return;
    if (verdict === 'use') {
      entry.trying = null;
      entry.fused = fused;
      return;
    }
    this.end(entry);
    const isOpen = verdict === 'unclear' && ++entry.undecided < WORKER_LIMITS.groupVerdicts;
    if (isOpen) entry.fused = null;
  }

  private timed<T>(work: () => T): readonly [result: T, us: number] {
    const startUs = this.nowUs();
    const result = work();
    return [result, this.nowUs() - startUs];
  }

  private touch(key: string, entry: Entry): void {
    this.entries.delete(key);
    this.entries.set(key, entry);
    for (const [oldest, other] of this.entries) {
      if (this.entries.size <= WORKER_LIMITS.groupForms) break;
      this.end(other);
      this.entries.delete(oldest);
    }
  }

  /** Of executables there are fewer than of what is known of forms. */
  private makeRoom(): void {
    const made = [...this.entries.values()].filter((entry) => madeFor(entry) !== null);
    const excess = Math.max(0, made.length - WORKER_LIMITS.groupExecutables);
    for (const entry of made.slice(0, excess)) {
      this.end(entry);
      entry.fused = null;
      entry.batches = 0;
    }
  }

  private end(entry: Entry): void {
    madeFor(entry)?.dispose();
    entry.trying = null;
    entry.fused = 'never';
  }
}

/** Its program, in use or tried. */
function madeFor({ fused, trying }: Entry): FusedUnits | null {
  return (fused === 'never' ? null : fused) ?? trying?.fused ?? null;
}

/** How many batches come before a form is tried, or tried again. */
function batchesBefore({ undecided }: Entry): number {
  return WORKER_LIMITS.groupAfterBatches * WORKER_LIMITS.groupVerdictsApart ** undecided;
}

/** Larger groups are added up from subtrees. */
function unitsAtOnce(size: number): number {
  return Math.min(size, WORKER_LIMITS.groupUnits);
}

function isPerUnit(input: ComputeBatch['inputs'][number]): boolean {
  if (input.kind === 'key') return true;
  return (input.kind === 'rows' || input.kind === 'inline') && input.perUnit;
}

/** What a form depends on; sources of inputs may change from step to step. */
function keyOf({ hash, inputs, merge }: ComputeBatch, units: number): string {
  const own = inputs.map((input) => Number(isPerUnit(input))).join('');
  return `${hash} ${String(units)} ${own} ${merge?.sums.join() ?? ''}`;
}

function isNarrow(sum: SumForm): boolean {
  return narrowRow(sum) !== null;
}

function bytesOf({ program, inputs }: GroupProgram): number {
  return inputs.reduce((sum, { unit }, index) => {
    const type = program.inputs[index];
    return unit === 'shared' || type === undefined ? sum : sum + byteSizeOf(type);
  }, peakBytes(program));
}

function haveSameBits(a: TensorData, b: TensorData | undefined): boolean {
  if (a.byteLength !== b?.byteLength) return false;
  return Buffer.compare(asBytes(a), asBytes(b)) === 0;
}

function asBytes({ buffer, byteOffset, byteLength }: TensorData): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
