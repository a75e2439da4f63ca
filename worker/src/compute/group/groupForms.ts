/**
 * @file Which groups of units run as one program, and when that program is made: after the units have run one by one a few
 * times and an answer has left, never before a step. A form is tried first on units whose sum is known; one that is not
 * quicker, or whose bits differ, is not used. A machine that does other things too may hide which is quicker: it is then tried
 * again later. What a group is worth to the engine is not its business.
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

interface Entry {
  readonly hash: ProgramHash;
  /** Batches that had such a group. */
  batches: number;
  /** Times that nothing was clear. */
  undecided: number;
  /** 'never': not possible here, or not quicker. */
  fused: FusedUnits | null | 'never';
}

/** 'never': not possible here, or slower. 'unclear': neither seems quicker now. */
type Verdict = FusedUnits | 'never' | 'unclear';

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

  /** Makes and tries a form for the groups of a batch when they have come often enough; at most one at a time. */
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
      fused: null,
    };
    this.touch(key, entry);
    if (entry.fused !== null || ++entry.batches < batchesBefore(entry)) return;
    const trial = prepare();
    const form: GroupForm = {
      units,
      perUnit: batch.inputs.map(isPerUnit),
      summed: sums.map((sum) => sum !== 'first'),
    };
    const group = groupProgram(trial.program, form, foldRules);
    entry.fused = 'never';
    if (group === null || bytesOf(group) > this.runBytes) return;
    const verdict = this.tried(trial, group, units);
    const isOpen = verdict === 'unclear' && ++entry.undecided < WORKER_LIMITS.groupVerdicts;
    if (verdict !== 'unclear') entry.fused = verdict;
    else if (isOpen) entry.fused = null;
    this.makeRoom();
  }

  release(): void {
    for (const { fused } of this.entries.values()) if (isReady(fused)) fused.release();
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

  private tried(trial: Trial, group: GroupProgram, units: number): Verdict {
    const { groupUs, groupTrialsMin, groupTrialsMax, groupClearLoss } = WORKER_LIMITS;
    let aloneUs = Infinity;
    let togetherUs = Infinity;
    const [known, firstUs] = this.timed(() => trial.alone(units));
    // Long units use the machine well already, and between units messages are taken.
    if (firstUs > groupUs) return 'never';
    const fused = new FusedUnits(group, units, this.backend.compile(group.program));
    let verdict: Verdict = 'unclear';
    try {
      for (let i = 1; i <= groupTrialsMax && verdict === 'unclear'; i++) {
        const [sums, fusedUs] = this.timed(() => trial.together(fused));
        const [, unitsUs] = this.timed(() => trial.alone(units));
        togetherUs = Math.min(togetherUs, fusedUs);
        aloneUs = Math.min(aloneUs, unitsUs);
        const isSame = sums.every((sum, index) => haveSameBits(sum, known[index]));
        // Only where the backend's rules are wrong, or do not know this machine.
        if (!isSame) verdict = 'never';
        else if (i < groupTrialsMin) continue;
        else if (togetherUs < aloneUs) verdict = fused;
        else if (togetherUs > aloneUs * groupClearLoss) verdict = 'never';
      }
    } finally {
      if (verdict !== fused) fused.dispose();
    }
    return verdict;
  }

  private timed<T>(work: () => T): readonly [result: T, us: number] {
    const startUs = this.nowUs();
    const result = work();
    return [result, this.nowUs() - startUs];
  }

  private touch(key: string, entry: Entry): void {
    this.entries.delete(key);
    this.entries.set(key, entry);
    for (const [oldest, { fused }] of this.entries) {
      if (this.entries.size <= WORKER_LIMITS.groupForms) break;
      if (isReady(fused)) fused.dispose();
      this.entries.delete(oldest);
    }
  }

  /** Of executables there are fewer than of what is known of forms. */
  private makeRoom(): void {
    const ready = [...this.entries.values()].filter(({ fused }) => isReady(fused));
    const excess = Math.max(0, ready.length - WORKER_LIMITS.groupExecutables);
    for (const entry of ready.slice(0, excess)) {
      this.end(entry);
      entry.fused = null;
      entry.batches = 0;
    }
  }

  private end(entry: Entry): void {
    if (isReady(entry.fused)) entry.fused.dispose();
    entry.fused = 'never';
  }
}

function isReady(fused: Entry['fused']): fused is FusedUnits {
  return fused !== null && fused !== 'never';
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
