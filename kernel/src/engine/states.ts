/**
 * @file The states of a run: weights and running statistics as versions in shared memory, with the slots of their
 * optimizers. A version's bytes never change; an update writes a new block. Knows nothing of workers or messages.
 *
 * Versions count the commits of the whole engine. A state that a commit leaves alone keeps its block, so `W@v` of a state
 * is its newest revision that is not younger than v. On the wire a revision has its own number, unique for the state.
 */
import type {
  Shape,
  StateId,
  StateRef,
  StateVersion,
  TensorType,
  UpdateRule,
} from '@ravenlab/protocol';
import {
  ClusterError,
  DTYPE_BYTES,
  LIMITS,
  byteSizeOf,
  formatShape,
  sizeOf,
} from '@ravenlab/protocol';
import type { Resource, ResourceId } from '../core/cluster/state.js';
import type { Block, SharedHeap } from './heap.js';
import type { Resources } from './resources.js';
import { slotCount } from './updates.js';

export interface Revision {
  readonly stateId: StateId;
  readonly type: TensorType;
  /** Its number on the wire, unique for the state. */
  readonly wireVersion: StateVersion;
  /** Commit that made it; a fresh state answers for all earlier versions too. */
  readonly version: StateVersion;
  readonly resource: Resource;
  readonly block: Block;
  /** Executions that read it and sockets that send it. */
  pins: number;
  /** A newer revision exists. */
  isSuperseded: boolean;
  /** Out of retention: freed with the last pin. */
  isRetired: boolean;
}

interface Slots {
  readonly ruleName: UpdateRule['name'];
  readonly blocks: readonly Block[];
  stepsDone: number;
}

interface StateRecord {
  readonly type: TensorType;
  /** Oldest first; never empty. */
  revisions: Revision[];
  nextRevision: number;
  readonly slots: Map<number, Slots>;
}

/** A new revision that is being written and does not exist yet. */
export interface Draft {
  readonly stateId: StateId;
  readonly block: Block;
  readonly slots: Slots | null;
}

export class StateStore {
  private readonly records = new Map<StateId, StateRecord>();
  private readonly heap: SharedHeap;
  private readonly resources: Resources;
  /** Called with resources that no worker needs to hold any more. */
  private readonly onRetired: (resources: readonly ResourceId[]) => void;
  private committed = 0;

  constructor(
    heap: SharedHeap,
    resources: Resources,
    onRetired: (resources: readonly ResourceId[]) => void,
  ) {
    this.heap = heap;
    this.resources = resources;
    this.onRetired = onRetired;
  }

  /** Number of committed updates. */
  get version(): StateVersion {
    return this.committed as StateVersion;
  }

  get count(): number {
    return this.records.size;
  }

  has(stateId: StateId): boolean {
    return this.records.has(stateId);
  }

  ids(): StateId[] {
    return [...this.records.keys()];
  }

  typeOf(stateId: StateId): TensorType {
    return this.recordOf(stateId).type;
  }

  /** Creates a state, or gives an existing one a new value outside of any step; its slots start anew. */
  create(stateId: StateId, type: TensorType, bytes: Uint8Array): void {
    if (bytes.byteLength !== byteSizeOf(type)) {
      throw new ClusterError(
        `state ${String(stateId)}: ${String(bytes.byteLength)} bytes do not fill ${type.dtype} ${formatShape(type.shape)}`,
      );
    }
    const old = this.records.get(stateId);
    const block = this.heap.allocate(bytes.byteLength);
    this.heap.bytes(block).set(bytes);
    const nextRevision = old?.nextRevision ?? 1;
    if (old !== undefined) this.drop([stateId]);
    const record: StateRecord = { type, revisions: [], nextRevision, slots: new Map() };
    this.records.set(stateId, record);
    this.append(stateId, record, block);
  }

  /**
   * The revision that `version` of a state is.
   * @throws ClusterError when the state is unknown, or the version is not kept any more.
   */
  resolve(stateId: StateId, version: StateVersion): Revision {
    const { revisions } = this.recordOf(stateId);
    const oldestKept = this.committed - LIMITS.retainedVersions + 1;
    if (version < oldestKept) {
      throw new ClusterError(
        `state ${String(stateId)}: version ${String(version)} is gone; the last ${String(LIMITS.retainedVersions)} of ${String(this.committed)} are kept. ` +
          'Read a value before training goes on, or use the current weights',
      );
    }
    for (let i = revisions.length - 1; i >= 0; i--) {
      const revision = revisions[i];
      if (revision !== undefined && (revision.version <= version || i === 0)) return revision;
    }
    throw new ClusterError(`state ${String(stateId)} has no value`);
  }

  /** Keeps a revision's bytes until the returned release is called (once). */
  pin(revision: Revision): () => void {
    revision.pins++;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      revision.pins--;
      this.settle(revision);
    };
  }

  bytesOf(revision: Revision): Uint8Array {
    return this.heap.bytes(revision.block);
  }

  latest(stateId: StateId): Revision {
    return this.resolve(stateId, this.version);
  }

  /** The resource that a worker names by its wire version, if it is still there. */
  find(ref: StateRef): Resource | undefined {
    const revisions = this.records.get(ref.stateId)?.revisions ?? [];
    return revisions.find((revision) => revision.wireVersion === ref.version)?.resource;
  }

  /** A block for the next revision, with the slots that its rule needs. */
  draft(stateId: StateId, rule: UpdateRule, optimizerId: number): Draft {
    const record = this.recordOf(stateId);
    const slots = slotCount(rule) === 0 ? null : this.slotsFor(record, rule, optimizerId);
    return { stateId, block: this.heap.allocate(byteSizeOf(record.type)), slots };
  }

  discard(drafts: readonly Draft[]): void {
    for (const draft of drafts) this.heap.free(draft.block);
  }

  /** The drafts become the next version, all at once. */
  commit(drafts: readonly Draft[]): StateVersion {
    this.committed++;
    for (const draft of drafts) {
      const record = this.records.get(draft.stateId);
      if (draft.slots !== null) draft.slots.stepsDone++;
      // Dropped while its step ran: nobody will read it.
      if (record === undefined) this.heap.free(draft.block);
      else this.append(draft.stateId, record, draft.block);
    }
    for (const record of this.records.values()) this.prune(record);
    return this.version;
  }

  drop(stateIds: readonly StateId[]): void {
    for (const stateId of stateIds) {
      const record = this.records.get(stateId);
      if (record === undefined) continue;
      this.records.delete(stateId);
      for (const slots of record.slots.values()) slots.blocks.forEach((b) => this.heap.free(b));
      for (const revision of record.revisions) {
        revision.isSuperseded = true;
        revision.isRetired = true;
        this.settle(revision);
      }
    }
  }

  /** Copies of the slots' arrays of a state, the count of steps last; empty when it has none. */
  readSlots(stateId: StateId, optimizerId: number): Float32Array[] {
    const slots = this.recordOf(stateId).slots.get(optimizerId);
    if (slots === undefined) return [];
    const arrays = slots.blocks.map(
      (block) => new Float32Array(this.heap.bytes(block).slice().buffer),
    );
    return [...arrays, Float32Array.of(slots.stepsDone)];
  }

  /** The inverse of `readSlots`. @throws ClusterError when sizes differ from the state's. */
  writeSlots(stateId: StateId, optimizerId: number, arrays: readonly Float32Array[]): void {
    const record = this.recordOf(stateId);
    const values = arrays.slice(0, -1);
    const stepsDone = arrays[arrays.length - 1]?.[0] ?? 0;
    const elements = sizeOf(record.type.shape);
    const isFit = values.every((value) => value.length === elements) && values.length <= 2;
    if (!isFit || !Number.isInteger(stepsDone) || stepsDone < 0) {
      throw new ClusterError(
        `state ${String(stateId)}: optimizer slots do not fit; expected at most 2 arrays of ${String(elements)} values and a count of steps last`,
      );
    }
    const old = record.slots.get(optimizerId);
    old?.blocks.forEach((block) => this.heap.free(block));
    const blocks = values.map((value) => {
      const block = this.heap.allocate(value.byteLength);
      this.heap.bytes(block).set(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
      return block;
    });
    const ruleName = values.length === 2 ? 'adam' : 'sgd';
    if (values.length === 0) record.slots.delete(optimizerId);
    else record.slots.set(optimizerId, { ruleName, blocks, stepsDone });
  }

  private slotsFor(record: StateRecord, rule: UpdateRule, optimizerId: number): Slots {
    const known = record.slots.get(optimizerId);
    if (known?.blocks.length === slotCount(rule)) return known;
    known?.blocks.forEach((block) => this.heap.free(block));
    const sizeBytes = byteSizeOf(record.type);
    const blocks = Array.from({ length: slotCount(rule) }, () =>
      this.heap.allocateZeroed(sizeBytes),
    );
    const slots: Slots = { ruleName: rule.name, blocks, stepsDone: 0 };
    record.slots.set(optimizerId, slots);
    return slots;
  }

  private append(stateId: StateId, record: StateRecord, block: Block): void {
    const previous = record.revisions[record.revisions.length - 1];
    const ref = { stateId, version: record.nextRevision++ as StateVersion };
    const revision: Revision = {
      stateId,
      type: record.type,
      wireVersion: ref.version,
      version: this.version,
      resource: this.resources.add(
        {
          kind: 'state',
          ref,
          bytes: () => this.heap.bytes(block),
          pin: () => this.pin(revision),
        },
        block.sizeBytes,
      ),
      block,
      pins: 0,
      isSuperseded: false,
      isRetired: false,
    };
    record.revisions.push(revision);
    if (previous !== undefined) {
      previous.isSuperseded = true;
      this.settle(previous);
    }
  }

  /** Retires revisions that no kept version resolves to. */
  private prune(record: StateRecord): void {
    const oldestKept = this.committed - LIMITS.retainedVersions + 1;
    let next = record.revisions[1];
    while (next !== undefined && next.version <= oldestKept) {
      const [oldest] = record.revisions;
      record.revisions = record.revisions.slice(1);
      if (oldest !== undefined) {
        oldest.isRetired = true;
        this.settle(oldest);
      }
      next = record.revisions[1];
    }
  }

  /** Lets go of what nobody uses: workers forget what is superseded, the heap takes back what is out of retention. */
  private settle(revision: Revision): void {
    if (revision.pins > 0 || !revision.isSuperseded) return;
    this.onRetired([revision.resource.id]);
    if (!revision.isRetired) return;
    this.resources.remove(revision.resource.id);
    this.heap.free(revision.block);
  }

  private recordOf(stateId: StateId): StateRecord {
    const record = this.records.get(stateId);
    if (record === undefined) {
      throw new ClusterError(
        `state ${String(stateId)} is unknown to the engine: it was dropped, or belongs to an engine that has ended; create the model again`,
      );
    }
    return record;
  }
}

/** Bytes of one row (all axes but the first). */
export function rowBytes(type: TensorType): number {
  const rowShape: Shape = type.shape.slice(1);
  return sizeOf(rowShape) * DTYPE_BYTES[type.dtype];
}
