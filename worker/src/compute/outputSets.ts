/**
 * @file Memory for the outputs of one program's units while they are added up: sets of arrays that runs write into and sums
 * are made in, over and over. Fresh megabytes cost more than the sum itself.
 */
import type { NarrowFormat, SumForm, TensorData, TensorType } from '@ravenlab/protocol';
import {
  ROUND_LOOPS,
  WORKER_LIMITS,
  byteSizeOf,
  narrowRow,
  sizeOf,
  viewAs,
  wireBytes,
} from '@ravenlab/protocol';
import { isFinite32 } from './finite.js';
import { addInto, roundInto } from './merge.js';
import { SpareBuffers } from './spareBuffers.js';
import type { SumMemories, SumMemory } from './wasm/sumLoops.js';

const ALIGN_BYTES = 16;
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGN_BYTES) * ALIGN_BYTES;

type OutputSet = readonly TensorData[];

export class OutputSets {
  private readonly types: readonly TensorType[];
  private readonly memories: SumMemories | null;
  private readonly spares: SpareBuffers;
  /** From the first set on; null where there is none: sets are then what earlier runs returned. */
  private memory: SumMemory | null = null;
  private isOpen = false;
  private free: OutputSet[] = [];
  /** Arrays whose last addition said that they are finite, and that nothing has been written into since. */
  private readonly finite = new Set<TensorData>();

  /** @param spares for the copies that leave */
  constructor(
    types: readonly TensorType[],
    memories: SumMemories | null,
    spares = new SpareBuffers(),
  ) {
    this.types = types;
    this.memories = memories;
    this.spares = spares;
  }

  /** Arrays to write a run's outputs into, the most recently used first; undefined: the run makes its own. */
  take(): OutputSet | undefined {
    if (!this.isOpen) this.open();
    this.finite.clear();
    return this.free.pop();
  }

  /** Takes arrays back that nobody reads any more. */
  give(outputs: OutputSet): void {
    const isWelcome =
      this.memory === null ? this.free.length < WORKER_LIMITS.outputSets : this.isInMemory(outputs);
    if (isWelcome) this.free.push(outputs);
  }

  /** target += addend: by the loops where both are in their memory. */
  readonly add = (target: TensorData, addend: TensorData): void => {
    const { memory } = this;
    const isOurs = target.buffer === memory?.buffer && addend.buffer === memory.buffer;
    if (!isOurs || target.constructor !== addend.constructor) addInto(target, addend);
    else if (target instanceof Float32Array) {
      const isFinite = memory.loops.addF32(target.byteOffset, addend.byteOffset, target.length);
      if (isFinite === 1) this.finite.add(target);
      else this.finite.delete(target);
    } else if (target instanceof Int32Array)
      memory.loops.addI32(target.byteOffset, addend.byteOffset, target.length);
    else addInto(target, addend);
  };

  /** Rounds to what a format holds: by the loops where it is in their memory. */
  readonly round = (target: TensorData, format: NarrowFormat): void => {
    const { memory } = this;
    const isOurs = memory !== null && target.buffer === memory.buffer;
    this.finite.delete(target);
    if (isOurs && target instanceof Float32Array)
      memory.loops[ROUND_LOOPS[format]](target.byteOffset, target.length);
    else roundInto(target, format);
  };

  /** Index of the first float32 output that holds NaN or infinity; -1 when all are finite. */
  firstNonFinite(outputs: OutputSet): number {
    return outputs.findIndex((data) => data instanceof Float32Array && !this.isFinite(data));
  }

  /**
   * The outputs as arrays that the caller may transfer, narrow ones as bytes; a set of this memory is copied and taken back.
   * @param sums how each output travels
   */
  detach(outputs: OutputSet, sums: readonly SumForm[]): OutputSet {
    const rows = sums.map(narrowRow);
    const isOurs = this.isInMemory(outputs);
    if (!isOurs && rows.every((row) => row === null)) return outputs;
    const sizes = outputs.map(({ byteLength }, i) => wireBytes(byteLength, sums[i] ?? 'first'));
    const buffer = this.spares.take(sizes.reduce((sum, size) => sum + aligned(size), 0));
    let at = 0;
    const copies = outputs.map((output, index) => {
      const row = rows[index] ?? null;
      const start = at;
      at += aligned(sizes[index] ?? 0);
      if (row === null || !(output instanceof Float32Array)) return copyTo(buffer, start, output);
      const bytes = new Uint8Array(buffer, start, sizes[index]);
      row.encode(output, bytes);
      return bytes;
    });
    if (isOurs) this.free.push(outputs);
    return copies;
  }

  /** Room that `moveTo` takes. */
  get sizeBytes(): number {
    return this.setBytes * WORKER_LIMITS.outputSets;
  }

  /** Writes outputs there from now on; those of before are nobody's. @param start a multiple of 16 */
  moveTo(memory: SumMemory, start: number): void {
    this.isOpen = true;
    this.memory = memory;
    this.free = [];
    const bytes = this.setBytes;
    for (let set = WORKER_LIMITS.outputSets - 1; set >= 0; set--) {
      this.free.push(this.setAt(memory.buffer, start + set * bytes));
    }
  }

  private get setBytes(): number {
    return this.types.reduce((sum, type) => sum + aligned(byteSizeOf(type)), 0);
  }

  private open(): void {
    this.isOpen = true;
    const memory = this.memories?.create(this.sizeBytes) ?? null;
    if (memory !== null) this.moveTo(memory, 0);
  }

  private setAt(buffer: ArrayBuffer, start: number): TensorData[] {
    let at = start;
    return this.types.map((type) => {
      const view = viewAs(type.dtype, buffer, at, sizeOf(type.shape));
      at += aligned(byteSizeOf(type));
      return view;
    });
  }

  private isInMemory(outputs: OutputSet): boolean {
    return this.memory !== null && outputs[0]?.buffer === this.memory.buffer;
  }

  private isFinite(data: Float32Array): boolean {
    const { memory } = this;
    if (this.finite.has(data)) return true;
    if (data.buffer !== memory?.buffer) return isFinite32(data);
    return memory.loops.allFinite(data.byteOffset, data.length) === 1;
  }
}

function copyTo(buffer: ArrayBuffer, start: number, data: TensorData): TensorData {
  const copy = new Uint8Array(buffer, start, data.byteLength);
  copy.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  if (data instanceof Float32Array) return new Float32Array(buffer, start, data.length);
  return data instanceof Int32Array ? new Int32Array(buffer, start, data.length) : copy;
}
