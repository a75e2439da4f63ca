/**
 * @file The states of a run: weights and running statistics as versions in shared memory, with the slots of their
 * optimizers. A version's bytes never change; an update writes a new block. Knows nothing of workers or messages.
 *
 * Versions count the commits of the whole engine. A state that a commit leaves alone keeps its block, so `W@v` of a state
 * is its newest revision that is not younger than v. On the wire a revision has its own number, unique for the state.
 */
import type {
  ExecutionId,
  Shape,
  StateId,
  StateRef,
  StateUpdate,
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
  slotCount,
} from '@ravenlab/protocol';
import type { Resource, ResourceId } from '../core/cluster/state.js';
import type { Block, SharedHeap } from './heap.js';
import type { Resources } from './resources.js';

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
  /** Its commit is under way: it has a name, and no value yet. */
  isPromised: boolean;
}

/** The worker that has these slots too, because it made the last update as well; `session` is its connection. */
export interface SlotKeeper {
  readonly session: object;
  readonly execution: ExecutionId;
}

interface Slots {
  readonly ruleName: UpdateRule['name'];
  readonly blocks: readonly Block[];
  stepsDone: number;
  keeper: SlotKeeper | null;
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
  /** Once it is promised. */
  revision: Revision | null;
}

/** A state at one moment; its revisions are pinned. */
export interface CapturedState {
  readonly stateId: StateId;
  readonly type: TensorType;
  /** Oldest first. */
  readonly revisions: readonly Revision[];
  readonly slots: readonly (Slots & { readonly optimizerId: number })[];
}

/** A state as an earlier life of the engine left it. */
export interface RestoredState {
  readonly stateId: StateId;
  readonly type: TensorType;
  readonly revisions: readonly { readonly wireVersion: number; readonly version: number }[];
  readonly slots: readonly {
    readonly optimizerId: number;
    readonly ruleName: UpdateRule['name'];
    readonly stepsDone: number;
    /** How many arrays of the state's size there are. */
    readonly arrays: number;
  }[];
}

export class StateStore {
  private readonly records = new Map<StateId, StateRecord>();
  private readonly heap: SharedHeap;
  private readonly resources: Resources;
  /** Called with resources that no worker needs to hold any more. */
  private readonly onRetired: (resources: readonly ResourceId[]) => void;
  private committed = 0;
  /** Versions after that one that have names. */
  private promises = 0;
  /** Versions before it were known to an earlier life of the engine only. */
  private floor = 0;
  /** Number on the wire of a state's first revision: none that an earlier life gave out comes again. */
  private firstWire = 1;
  /** Slots' blocks to be freed when their copy is made; null while there is none. */
  private heldSlots: Block[] | null = null;

  constructor(
    heap: SharedHeap,
    resources: Resources,
    onRetired: (resources: readonly ResourceId[]) => void,
  ) {
    this.heap = heap;
    this.resources = resources;
    this.onRetired = onRetired;
  }

  /** How many of the next versions have names already. */
  get promised(): number {
    return this.promises;
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

  /** Numbers of revisions that were given out are below. */
  get nextWire(): number {
    let next = this.firstWire;
    for (const record of this.records.values()) next = Math.max(next, record.nextRevision);
    return next;
  }

  /** Until `release`, slots that are given up stay as they are: a copy of them is being made. */
  holdSlots(): () => void {
    this.heldSlots ??= [];
    return () => {
      const blocks = this.heldSlots ?? [];
      this.heldSlots = null;
      for (const block of blocks) this.heap.free(block);
    };
  }

  /** Revisions that versions from `oldest` on resolve to, and slots; `release` gives them free again. */
  capture(oldest: number): { readonly states: CapturedState[]; readonly release: () => void } {
    const releases: (() => void)[] = [];
    const states = [...this.records].map(([stateId, record]): CapturedState => {
      const { type } = record;
      const after = record.revisions.findIndex((revision) => revision.version > oldest);
      const kept = record.revisions.slice(after < 0 ? -1 : Math.max(0, after - 1));
      const revisions = kept.filter((revision) => !revision.isPromised);
      releases.push(...revisions.map((revision) => this.pin(revision)));
      const slots = [...record.slots].map(([optimizerId, each]) => ({ ...each, optimizerId }));
      return { stateId, type, revisions, slots };
    });
    return {
      states,
      release: () => {
        for (const release of releases) release();
      },
    };
  }

  /** Versions and numbers continue those of an earlier life; for an empty store. */
  goOnAt(version: StateVersion, floor: number, firstWire: number): void {
    this.committed = version;
    this.floor = floor;
    this.firstWire = firstWire;
  }

  /** Makes room for a state of an earlier life. @returns the blocks to fill before anything reads them. */
  restore({ stateId, type, revisions, slots }: RestoredState): {
    readonly revisions: readonly Block[];
    readonly slots: readonly (readonly Block[])[];
  } {
    const sizeBytes = byteSizeOf(type);
    const record: StateRecord = {
      type,
      revisions: [],
      nextRevision: this.firstWire,
      slots: new Map(),
    };
    this.records.set(stateId, record);
    for (const { wireVersion, version } of revisions) {
      const ref = { stateId, version: wireVersion as StateVersion };
      this.push(record, ref, version as StateVersion, this.heap.allocate(sizeBytes));
    }
    for (const { optimizerId, ruleName, stepsDone, arrays } of slots) {
      const blocks = Array.from({ length: arrays }, () => this.heap.allocate(sizeBytes));
      record.slots.set(optimizerId, { ruleName, blocks, stepsDone, keeper: null });
    }
    return {
      revisions: record.revisions.map(({ block }) => block),
      slots: [...record.slots.values()].map(({ blocks }) => blocks),
    };
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
    const nextRevision = old?.nextRevision ?? this.firstWire;
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
    const oldestKept = Math.max(this.floor, this.committed - LIMITS.retainedVersions + 1);
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

  /** Whether no later one is there, or promised. */
  isNewest(revision: Revision): boolean {
    return this.recordOf(revision.stateId).revisions.at(-1) === revision;
  }

  /** Slots that an update with this rule would continue; null: it would begin with fresh ones. */
  slotsOf(stateId: StateId, optimizerId: number): Slots | null {
    return this.recordOf(stateId).slots.get(optimizerId) ?? null;
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
  draft(stateId: StateId, rule: StateUpdate['rule'], optimizerId: number): Draft {
    const record = this.recordOf(stateId);
    const hasSlots = rule.name !== 'lossScale' && slotCount(rule) > 0;
    const slots = hasSlots ? this.slotsFor(record, rule, optimizerId) : null;
    const block = this.heap.allocate(byteSizeOf(record.type));
    return { stateId, block, slots, revision: null };
  }

  discard(drafts: readonly Draft[]): void {
    this.withdraw(drafts);
    for (const { block } of drafts) this.heap.free(block);
  }

  /** Takes the names of drafts back, of the newest that have any: who has something under them forgets it. */
  withdraw(drafts: readonly Draft[]): void {
    if (isPromised(drafts)) this.promises--;
    for (const draft of drafts) {
      const { stateId, revision } = draft;
      draft.revision = null;
      if (revision === null) continue;
      const record = this.records.get(stateId);
      if (record !== undefined) record.revisions = record.revisions.filter((r) => r !== revision);
      this.onRetired([revision.resource.id]);
      this.resources.remove(revision.resource.id);
    }
  }

  /**
   * Gives the drafts the names that they will have as the next version, or the one after those that have names, so that work
   * on it can be given out while they are written. `commit` or `discard` follows, and nothing is created or dropped before.
   */
  promise(drafts: readonly Draft[]): void {
    this.promises++;
    const version = (this.committed + this.promises) as StateVersion;
    for (const draft of drafts) {
      const record = this.recordOf(draft.stateId);
      const ref = { stateId: draft.stateId, version: record.nextRevision++ as StateVersion };
      draft.revision = this.revisionOf(record, ref, version, draft.block);
      draft.revision.isPromised = true;
      record.revisions.push(draft.revision);
    }
  }

  /** The drafts become the next version, all at once. @param keeperOf who has the slots of a draft too. */
  commit(
    drafts: readonly Draft[],
    keeperOf: (draft: Draft) => SlotKeeper | null = () => null,
  ): StateVersion {
    this.committed++;
    if (isPromised(drafts)) this.promises--;
    for (const draft of drafts) {
      const record = this.records.get(draft.stateId);
      const { slots, revision } = draft;
      if (slots !== null) {
        slots.stepsDone++;
        slots.keeper = keeperOf(draft);
      }
      // Dropped while its step ran: nobody will read it.
      if (record === undefined) this.heap.free(draft.block);
      else if (revision === null) this.append(draft.stateId, record, draft.block);
      else {
        revision.isPromised = false;
        this.supersede(record.revisions[record.revisions.indexOf(revision) - 1]);
      }
    }
    for (const record of this.records.values()) this.prune(record);
    return this.version;
  }

  drop(stateIds: readonly StateId[]): void {
    for (const stateId of stateIds) {
      const record = this.records.get(stateId);
      if (record === undefined) continue;
      this.records.delete(stateId);
      for (const slots of record.slots.values()) this.freeSlots(slots);
      for (const revision of record.revisions) {
        revision.isSuperseded = true;
        revision.isRetired = true;
        this.settle(revision);
      }
    }
  }

  /** Copies of the bytes of the slots' arrays of a state. */
  copySlots(stateId: StateId, optimizerId: number): Uint8Array[] {
    const slots = this.recordOf(stateId).slots.get(optimizerId);
    return slots?.blocks.map((block) => this.heap.bytes(block).slice()) ?? [];
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
    const blocks = values.map((value) => {
      const block = this.heap.allocate(value.byteLength);
      this.heap.bytes(block).set(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
      return block;
    });
    this.freeSlots(record.slots.get(optimizerId));
    const ruleName = values.length === 2 ? 'adam' : 'sgd';
    if (values.length === 0) record.slots.delete(optimizerId);
    else record.slots.set(optimizerId, { ruleName, blocks, stepsDone, keeper: null });
  }

  private freeSlots(slots: Slots | undefined): void {
    for (const block of slots?.blocks ?? []) {
      if (this.heldSlots === null) this.heap.free(block);
      else this.heldSlots.push(block);
    }
  }

  private slotsFor(record: StateRecord, rule: UpdateRule, optimizerId: number): Slots {
    const known = record.slots.get(optimizerId);
    if (known?.blocks.length === slotCount(rule)) return known;
    this.freeSlots(known);
    const sizeBytes = byteSizeOf(record.type);
    const blocks = Array.from({ length: slotCount(rule) }, () =>
      this.heap.allocateZeroed(sizeBytes),
    );
    const slots: Slots = { ruleName: rule.name, blocks, stepsDone: 0, keeper: null };
    record.slots.set(optimizerId, slots);
    return slots;
  }

  private append(stateId: StateId, record: StateRecord, block: Block): void {
    const ref = { stateId, version: record.nextRevision++ as StateVersion };
    this.push(record, ref, this.version, block);
  }

  private push(record: StateRecord, ref: StateRef, version: StateVersion, block: Block): void {
    const previous = record.revisions[record.revisions.length - 1];
    record.revisions.push(this.revisionOf(record, ref, version, block));
    this.supersede(previous);
  }

  private supersede(revision: Revision | undefined): void {
    if (revision === undefined) return;
    revision.isSuperseded = true;
    this.settle(revision);
  }

  private revisionOf(
    record: StateRecord,
    ref: StateRef,
    version: StateVersion,
    block: Block,
  ): Revision {
    const revision: Revision = {
      stateId: ref.stateId,
      type: record.type,
      wireVersion: ref.version,
      version,
      resource: this.resources.add(
        {
          kind: 'state',
          ref,
          bytes: () => this.heap.bytes(block),
          pin: () => this.pin(revision),
          isPromised: () => revision.isPromised,
        },
        block.sizeBytes,
      ),
      block,
      pins: 0,
      isSuperseded: false,
      isRetired: false,
      isPromised: false,
    };
    return revision;
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
/** Whether drafts have names. */
function isPromised(drafts: readonly Draft[] | null): boolean {
  return drafts?.some(({ revision }) => revision !== null) === true;
}

export function rowBytes(type: TensorType): number {
  const rowShape: Shape = type.shape.slice(1);
  return sizeOf(rowShape) * DTYPE_BYTES[type.dtype];
}
