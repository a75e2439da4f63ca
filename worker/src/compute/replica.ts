/**
 * @file The weights that this worker updates itself, with the slots of their optimizers: what ADVANCE announces is made from
 * the sum of an execution, by the loops and rules of the engine, and counts from KEEP on. Which versions exist, and when they
 * go, is not its business.
 */
import type {
  AdvanceMessage,
  AdvanceUpdate,
  ExecutionId,
  StateId,
  TensorData,
  UpdateJob,
} from '@ravenlab/protocol';
import { WORKER_LIMITS, applyUpdates, slotCount } from '@ravenlab/protocol';
import type { BlobKey } from '../core/state.js';
import { stateKey } from '../core/state.js';
import type { TensorTable } from './assemble.js';
import type { OutputSets } from './outputSets.js';
import type { SumMemories, SumMemory } from './wasm/sumLoops.js';

const ALIGN_BYTES = 16;
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGN_BYTES) * ALIGN_BYTES;

/** Room for one version of a state. */
interface Version {
  readonly ptr: number;
  /** Null: free. */
  key: BlobKey | null;
}

interface Slots {
  readonly blocks: readonly number[];
  /** The execution whose update left them as they are; null while that is not settled. */
  keptBy: ExecutionId | null;
}

/** One state's place in the memory. */
interface Copy {
  readonly sizeBytes: number;
  readonly versions: readonly Version[];
  readonly gradient: number;
  /** By optimizer. */
  readonly slots: Map<number, Slots>;
}

interface Arena {
  readonly memory: SumMemory;
  readonly copies: Map<StateId, Copy>;
}

interface Part {
  readonly update: AdvanceUpdate;
  readonly copy: Copy;
  readonly value: TensorData;
  readonly slots: Slots | null;
  readonly source: Version;
  readonly target: Version;
}

interface Making {
  readonly execution: ExecutionId;
  readonly parts: readonly Part[];
}

export class Replica {
  private readonly memories: SumMemories;
  private readonly tensors: TensorTable;
  private arena: Arena | null = null;
  private readonly announced = new Map<ExecutionId, AdvanceMessage>();
  private making: Making | null = null;

  constructor(memories: SumMemories, tensors: TensorTable) {
    this.memories = memories;
    this.tensors = tensors;
  }

  announce(message: AdvanceMessage): void {
    this.announced.set(message.execution, message);
    for (const oldest of this.announced.keys()) {
      if (this.announced.size <= WORKER_LIMITS.advances) break;
      this.announced.delete(oldest);
    }
  }

  /**
   * Takes the sum of an execution that was announced.
   * @param outputs finite; they must stay as they are until the update is made.
   * @param sets what they are of; moves to the memory of the weights, so that later ones need not be copied there.
   * @returns what makes the update, to be called once; null when there is none to make, or it cannot be made here.
   */
  begin(
    execution: ExecutionId,
    outputs: readonly TensorData[],
    sets: OutputSets | null = null,
  ): (() => void) | null {
    const message = this.announced.get(execution);
    if (message === undefined) return null;
    this.announced.delete(execution);
    // What was made last and never kept does not count.
    this.making = null;
    const isHere = message.updates.every(({ state, slots }) =>
      [state, ...slots].every((ref) => this.tensors.has(stateKey(ref))),
    );
    if (!isHere) return null;
    const arena = this.arenaFor(message, sets);
    if (arena === null) return null;
    const parts: Part[] = [];
    for (const update of message.updates) {
      const part = this.partOf(arena, update, outputs);
      if (part === null) return null;
      parts.push(part);
    }
    const updates = parts.map((part) => this.prepare(arena.memory, part));
    this.making = { execution, parts };
    const { memory } = arena;
    return () => {
      applyUpdates(memory.loops, memory, { clips: message.clips, updates, isFinite: true });
    };
  }

  /** What was made for this execution counts. */
  keep(execution: ExecutionId, keys: readonly BlobKey[]): void {
    const { making, arena } = this;
    if (making?.execution !== execution || arena === null) return;
    this.making = null;
    for (const [index, { copy, slots, target }] of making.parts.entries()) {
      const key = keys[index];
      if (key === undefined) continue;
      target.key = key;
      if (slots !== null) slots.keptBy = execution;
      this.tensors.set(key, new Uint8Array(arena.memory.buffer, target.ptr, copy.sizeBytes));
    }
  }

  /** The room of these is free; arrays that still view it must not be used any more. */
  forget(keys: readonly BlobKey[]): void {
    if (this.arena === null) return;
    const gone = new Set(keys);
    for (const { versions } of this.arena.copies.values()) {
      for (const version of versions) {
        if (version.key !== null && gone.has(version.key)) version.key = null;
      }
    }
  }

  /** Another connection knows nothing of them. */
  forgetSlots(): void {
    this.announced.clear();
    this.making = null;
    this.arena = null;
  }

  private partOf(
    { copies }: Arena,
    update: AdvanceUpdate,
    outputs: readonly TensorData[],
  ): Part | null {
    const copy = copies.get(update.state.stateId);
    const value = outputs[update.output];
    if (copy === undefined || value?.byteLength !== copy.sizeBytes) return null;
    const slots = copy.slots.get(update.optimizerId) ?? null;
    const hasSlots = slotCount(update.rule) > 0;
    const isGiven = update.slots.length > 0 || (update.slotsOf === 0 && update.stepsDone === 0);
    if (hasSlots && !isGiven && slots?.keptBy !== update.slotsOf) return null;
    const key = stateKey(update.state);
    const free = copy.versions.filter((version) => version.key === null);
    const source = copy.versions.find((version) => version.key === key) ?? free.pop();
    const target = free.pop();
    if (source === undefined || target === undefined) return null;
    return { update, copy, value, slots: hasSlots ? slots : null, source, target };
  }

  /** Puts everything where the loops expect it. */
  private prepare({ buffer }: SumMemory, part: Part): UpdateJob {
    const { update, copy, value, slots, source, target } = part;
    const { rule, stepsDone, clip, output } = update;
    const { sizeBytes, gradient } = copy;
    const key = stateKey(update.state);
    if (source.key === null) {
      new Uint8Array(buffer, source.ptr, sizeBytes).set(this.tensors.bytes(key));
      source.key = key;
    }
    const isHere = value.buffer === buffer;
    if (!isHere) {
      new Uint8Array(buffer, gradient, sizeBytes).set(
        new Uint8Array(value.buffer, value.byteOffset, sizeBytes),
      );
    }
    if (slots !== null) {
      slots.keptBy = null;
      for (const [index, ptr] of slots.blocks.entries()) {
        const place = new Uint8Array(buffer, ptr, sizeBytes);
        const sent = update.slots[index];
        if (sent !== undefined) place.set(this.tensors.bytes(stateKey(sent)));
        else if (update.slotsOf === 0) place.fill(0);
      }
    }
    return {
      ...{ rule, stepsDone, clip, output, sizeBytes },
      dst: target.ptr,
      state: source.ptr,
      value: isHere ? value.byteOffset : gradient,
      slots: slots?.blocks ?? [],
      elements: value.length,
      isFloat: value instanceof Float32Array,
    };
  }

  /** Memory with a place for all that is updated; null when the machine has no room for it. */
  private arenaFor({ updates }: AdvanceMessage, sets: OutputSets | null): Arena | null {
    const { arena } = this;
    const isAll = updates.every(({ state, rule, optimizerId }) => {
      const copy = arena?.copies.get(state.stateId);
      const blocks = copy?.slots.get(optimizerId)?.blocks.length ?? 0;
      return copy !== undefined && blocks === slotCount(rule);
    });
    if (isAll) return arena;
    this.arena = this.grown(updates, sets);
    return this.arena;
  }

  /** A new memory for these and for what is held of others, with the slots that are there. */
  private grown(updates: readonly AdvanceUpdate[], sets: OutputSets | null): Arena | null {
    const wanted = new Map<StateId, { sizeBytes: number; slots: Map<number, number> }>();
    for (const [stateId, { sizeBytes, versions, slots }] of this.arena?.copies ?? []) {
      if (versions.every(({ key }) => key === null)) continue;
      const counts = [...slots].map(([id, { blocks }]) => [id, blocks.length] as const);
      wanted.set(stateId, { sizeBytes, slots: new Map(counts) });
    }
    for (const { state, rule, optimizerId } of updates) {
      const sizeBytes = this.tensors.bytes(stateKey(state)).byteLength;
      const known = wanted.get(state.stateId);
      const slots = known?.sizeBytes === sizeBytes ? known.slots : new Map<number, number>();
      slots.set(optimizerId, slotCount(rule));
      wanted.set(state.stateId, { sizeBytes, slots });
    }
    let end = 0;
    const take = (bytes: number): number => {
      end += aligned(bytes);
      return end - aligned(bytes);
    };
    const copies = new Map<StateId, Copy>();
    for (const [stateId, { sizeBytes, slots }] of wanted) {
      const { replicaVersions } = WORKER_LIMITS;
      const versions = Array.from({ length: replicaVersions }, () => ({
        ptr: take(sizeBytes),
        key: null,
      }));
      const gradient = take(sizeBytes);
      const places = [...slots].map(([id, count]): [number, Slots] => [
        id,
        { blocks: Array.from({ length: count }, () => take(sizeBytes)), keptBy: null },
      ]);
      copies.set(stateId, { sizeBytes, versions, gradient, slots: new Map(places) });
    }
    const setsAt = take(sets?.sizeBytes ?? 0);
    const memory = this.memories.create(end);
    if (memory === null) return null;
    sets?.moveTo(memory, setsAt);
    const arena: Arena = { memory, copies };
    if (this.arena !== null) moveSlots(this.arena, arena);
    return arena;
  }
}

function moveSlots(from: Arena, to: Arena): void {
  for (const [stateId, { slots, sizeBytes }] of to.copies) {
    const old = from.copies.get(stateId);
    if (old?.sizeBytes !== sizeBytes) continue;
    for (const [optimizerId, place] of slots) {
      const known = old.slots.get(optimizerId);
      if (known?.blocks.length !== place.blocks.length) continue;
      place.keptBy = known.keptBy;
      for (const [index, ptr] of place.blocks.entries()) {
        const bytes = new Uint8Array(from.memory.buffer, known.blocks[index] ?? 0, sizeBytes);
        new Uint8Array(to.memory.buffer, ptr, sizeBytes).set(bytes);
      }
    }
  }
}
