/** @file What the API remembers between cells: ids, weights versions, seeds, known values. One per session. */
import type {
  Aggregate,
  AttachedRun,
  DataId,
  EngineReply,
  EngineRequest,
  StateId,
  StateVersion,
  TensorData,
  TensorType,
  WireFormat,
} from '@ravenlab/protocol';
import { ClusterError, LIMITS, RavenError } from '@ravenlab/protocol';
import type { GraphNode, LeafNode } from '../core/graph/node.js';
import { inlineLeaf, keyLeaf } from '../core/graph/node.js';
import { PlanMemory } from '../core/plan/plan.js';
import { PendingBuffers } from './buffers.js';
import { GuardedSession } from './guardedSession.js';
import { TrainingMeter } from './meter.js';
import { RecentResults } from './recent.js';
import type { ComputeFormat } from './precision.js';
import { LossScaler } from './precision.js';
import { ProgramStore } from './programStore.js';
import type { Bookmark } from './resume/bookmark.js';
import { LoopTracker } from './resume/loop.js';
import type { Session } from './session.js';
import { currentSession } from './session.js';
import { StepQueue } from './stepQueue.js';
import type { Tensor } from './tensor.js';

/** Default rows of one micro-shard. Part of what makes a run's bits: the same cut on any crowd. */
const DEFAULT_MICRO_SHARD_ROWS = 32;

/** An immutable tensor in the engine; `host` is the notebook's own copy, for display and checks. */
export interface DataHandle {
  readonly dataId: DataId;
  readonly type: TensorType;
  readonly host: TensorData;
}

/** A value that an execution in flight will deliver. */
export interface Deferred {
  /** Blocks until the value is there. @throws the RavenError of the execution. */
  wait(): void;
  /** Settles when the value is there; rejects with the RavenError of the execution. */
  ready(): Promise<unknown>;
  /** Null until it is there, and for good after the execution failed. */
  value(): TensorData | null;
}

/** Versions at which one state was updated, oldest first; a few more than the engine keeps. */
export class StateRecord {
  readonly stateId: StateId;
  readonly type: TensorType;
  private updates: StateVersion[];

  constructor(stateId: StateId, type: TensorType, created: StateVersion) {
    this.stateId = stateId;
    this.type = type;
    this.updates = [created];
  }

  /** Version of the last update: the version that a new leaf names. */
  get updatedAt(): StateVersion {
    return this.updates.at(-1) ?? (0 as StateVersion);
  }

  recordUpdate(version: StateVersion): void {
    this.updates.push(version);
    if (this.updates.length > 2 * LIMITS.retainedVersions) this.updates.shift();
  }

  /** Forgets updates that were never committed. */
  rollBack(committed: StateVersion): void {
    const [first] = this.updates;
    this.updates = this.updates.filter((version) => version <= committed);
    if (this.updates.length === 0 && first !== undefined) this.updates.push(committed);
  }

  /**
   * The newest version with the same value as `version`, so that it stays readable as long as possible.
   * @throws ClusterError when the engine no longer keeps any of them.
   */
  resolve(version: StateVersion, current: StateVersion): StateVersion {
    const next = this.updates.find((update) => update > version);
    const last = (next === undefined ? current : next - 1) as StateVersion;
    if (last > current - LIMITS.retainedVersions) return last;
    throw new ClusterError(
      `a value was built from the weights after update ${String(version)}; they are now at update ${String(current)} and the engine ` +
        `keeps the last ${String(LIMITS.retainedVersions)}; read it earlier (await t.data() or t.item()), or compute it again from the inputs`,
      { meta: { version, current } },
    );
  }
}

/** What a training loop tells the panel about where it is. */
export interface TrainingProgress {
  epoch: number;
  epochs: number | null;
  /** Rounds that the last `progress(n)` is through with. */
  done: number;
  /** Steps of one epoch. */
  stepsPerEpoch: number | null;
}

export class Runtime {
  readonly session: Session;
  readonly steps: StepQueue;
  readonly recent = new RecentResults();
  /** Running statistics to be updated by the next step. */
  readonly buffers = new PendingBuffers();
  readonly meter = new TrainingMeter();
  readonly programs = new ProgramStore();
  readonly planMemory = new PlanMemory();
  readonly loop = new LoopTracker(this);
  readonly progress: TrainingProgress = { epoch: 0, epochs: null, done: 0, stepsPerEpoch: null };
  microShardRows = DEFAULT_MICRO_SHARD_ROWS;
  /** What gradients travel as. */
  wire: WireFormat = 'float32';
  /** How the gradients of micro-shards become one. */
  aggregate: Aggregate = 'sum';
  /** What products are made in. */
  compute: ComputeFormat = 'float32';
  /** What losses are multiplied by while that is float16. */
  readonly lossScaler = new LossScaler(this);
  /** States made in this session; a new engine begins a new count. */
  statesMade = 0;

  private readonly owners = new WeakMap<GraphNode, Tensor>();
  private readonly records = new WeakMap<GraphNode, StateRecord>();
  private readonly handles = new WeakMap<GraphNode, DataHandle>();
  private readonly known = new WeakMap<GraphNode, LeafNode>();
  private readonly deferred = new WeakMap<GraphNode, Deferred>();
  private readonly states = new Map<StateId, WeakRef<StateRecord>>();
  private readonly warned = new Set<string>();
  private readonly unsent: EngineRequest[] = [];
  private readonly droppedStates: StateId[] = [];
  private readonly droppedData: DataId[] = [];
  private readonly stateRegistry = new FinalizationRegistry<StateId>((stateId) => {
    this.droppedStates.push(stateId);
  });
  private readonly dataRegistry = new FinalizationRegistry<DataId>((dataId) => {
    this.droppedData.push(dataId);
  });
  private nextId = 1;
  private nextDisplay = 1;
  private isAttached = false;
  /** What an earlier session left here; null once it is resumed. */
  private leftRun: AttachedRun | null = null;
  /** Ids below were held by an engine that is gone. */
  private firstLiveId = 1;
  private seedLow = 0;
  private seedHigh = 0;
  private draws = 0;
  private roots: GraphNode[] = [];

  constructor(session: Session) {
    this.session = new GuardedSession(session, () => {
      this.engineLost();
    });
    this.steps = new StepQueue(this.session, (committed) => {
      this.rollBack(committed);
    });
  }

  /** Version that the next execution names: updates committed or on their way. */
  get version(): StateVersion {
    return this.steps.version;
  }

  /**
   * Small positive integer that no state, data tensor or optimizer of this engine has, not even of an earlier session. The first one
   * starts the engine and waits for it.
   */
  newId(): number {
    this.attach();
    return this.nextId++;
  }

  /** Name of an output that is updated in place. */
  newDisplayId(kind: string): string {
    const started = this.session.now().toString(36);
    return `ravenlab-${kind}-${String(this.nextDisplay++)}-${started}`;
  }

  /** The run that an earlier session left in the engine, until it is taken. */
  earlierRun(): AttachedRun | null {
    this.attach();
    return this.leftRun;
  }

  /** The run goes on in this session: it is nobody else's to take. */
  takeEarlierRun(): void {
    this.leftRun = null;
  }

  /** Ids and versions go on where the engine is; once for every engine. */
  private attach(): void {
    if (this.isAttached) return;
    const reply = expectReply(this.session.requestSync({ kind: 'attach' }), 'attached');
    this.isAttached = true;
    this.nextId = Math.max(this.nextId, reply.nextId);
    this.leftRun = reply.run;
    this.steps.start(reply.version);
  }

  /** One line on stderr, the first time. */
  warnOnce(text: string): void {
    if (this.warned.has(text)) return;
    this.warned.add(text);
    this.session.write('stderr', `${text}\n`);
  }

  // ── random numbers ──────────────────────────────────────────────────────────────────────────────────────────────

  seed(seed: number): void {
    const wide = BigInt.asUintN(64, BigInt(Math.trunc(seed)));
    this.seedLow = Number(wide & 0xffff_ffffn) | 0;
    this.seedHigh = Number(wide >> 32n) | 0;
    this.draws = 0;
  }

  /** Which random number comes next. */
  get randomPlace(): Pick<Bookmark, 'seedLow' | 'seedHigh' | 'draws'> {
    const { seedLow, seedHigh, draws } = this;
    return { seedLow, seedHigh, draws };
  }
  set randomPlace({ seedLow, seedHigh, draws }: Pick<Bookmark, 'seedLow' | 'seedHigh' | 'draws'>) {
    this.seedLow = seedLow;
    this.seedHigh = seedHigh;
    this.draws = draws;
  }

  /** Key of the next draw: every draw has its own, so that a retraced program stays the same program. */
  nextKey(): LeafNode {
    return keyLeaf(this.seedLow, this.seedHigh, this.draws++);
  }

  /** The next draw's key for random numbers made on this thread: int32[4]. */
  nextHostKey(): Int32Array {
    return Int32Array.of(this.seedLow, this.seedHigh, this.draws++, 0);
  }

  // ── tensors held by the engine ──────────────────────────────────────────────────────────────────────────────────

  createState(type: TensorType, data: TensorData): StateRecord {
    this.collectGarbage();
    const stateId = this.newId() as StateId;
    this.statesMade++;
    this.postForSure({ kind: 'createState', stateId, type, data });
    const record = new StateRecord(stateId, type, this.version);
    this.states.set(stateId, new WeakRef(record));
    this.stateRegistry.register(record, stateId);
    return record;
  }

  createData(type: TensorType, data: TensorData): DataHandle {
    this.collectGarbage();
    const dataId = this.newId() as DataId;
    this.postForSure({ kind: 'createData', dataId, type, data });
    const handle: DataHandle = { dataId, type, host: data };
    this.dataRegistry.register(handle, dataId);
    return handle;
  }

  /** Ties a state's leaf to its parameter, if it is one's: both live as long as a graph uses the leaf. */
  adopt(owner: Tensor | null, leaf: LeafNode, record: StateRecord): void {
    if (owner !== null) this.owners.set(leaf, owner);
    this.records.set(leaf, record);
  }

  adoptData(leaf: LeafNode, handle: DataHandle): LeafNode {
    this.handles.set(leaf, handle);
    return leaf;
  }

  handleOf(leaf: GraphNode): DataHandle | null {
    return this.handles.get(leaf) ?? null;
  }

  /** The parameter or buffer behind a leaf. */
  ownerOf(leaf: GraphNode): Tensor | null {
    return this.owners.get(leaf) ?? null;
  }

  /** The parameter behind a leaf, if it is one that is trained. */
  trainable(leaf: GraphNode): Tensor | null {
    const owner = this.owners.get(leaf);
    return owner?.requiresGrad === true ? owner : null;
  }

  recordOf(leaf: GraphNode): StateRecord {
    const record = this.records.get(leaf);
    if (record === undefined)
      throw new ClusterError('a state leaf of another session; run its cell again');
    return record;
  }

  /**
   * The version to read a state's leaf at.
   * @throws ClusterError when the engine no longer keeps that value.
   */
  readableVersion(stateId: StateId, version: StateVersion): StateVersion {
    this.requireHeld(stateId);
    const record = this.states.get(stateId)?.deref();
    return record === undefined ? version : record.resolve(version, this.version);
  }

  /** @throws ClusterError when the engine that held it is gone. */
  requireHeld(id: StateId | DataId): void {
    if (id >= this.firstLiveId) return;
    throw new ClusterError(
      'the engine that held these weights or data has ended; run the notebook again from the cells that load the data and create the model',
    );
  }

  /** A new engine will know no program, no state and no data. */
  private engineLost(): void {
    this.firstLiveId = this.nextId;
    this.isAttached = false;
    this.programs.clear();
    this.lossScaler.reset();
    this.steps.start(0 as StateVersion);
    this.loop.restart();
  }

  private rollBack(committed: StateVersion): void {
    for (const reference of this.states.values()) reference.deref()?.rollBack(committed);
  }

  /** Sends in order without waiting; a failure shows in the execution that needs it. */
  post(request: EngineRequest): void {
    this.session.request(request).catch(() => undefined);
  }

  /** Like `post`, but what Stop has taken out of the queue is sent again before the next execution. */
  postForSure(request: EngineRequest): void {
    this.session.request(request).catch((error: unknown) => {
      if (error instanceof RavenError && error.code === 'interrupted') this.unsent.push(request);
    });
  }

  /** Tells the engine what no variable refers to any more, and what it has not been told because of Stop. */
  collectGarbage(): void {
    for (const request of this.unsent.splice(0)) this.postForSure(request);
    if (this.droppedStates.length > 0) {
      const stateIds = this.droppedStates.splice(0);
      for (const stateId of stateIds) this.states.delete(stateId);
      this.post({ kind: 'dropStates', stateIds });
    }
    if (this.droppedData.length > 0) {
      this.post({ kind: 'dropData', dataIds: this.droppedData.splice(0) });
    }
  }

  /** A loss that was differentiated: the next step computes it, and what hangs on its graph. */
  noteRoot(node: GraphNode): void {
    this.roots.push(node);
  }

  takeRoots(): GraphNode[] {
    const roots = [...new Set(this.roots)];
    this.roots = [];
    return roots;
  }

  // ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────

  defer(node: GraphNode, value: Deferred): void {
    this.deferred.set(node, value);
  }

  remember(node: GraphNode, data: TensorData): LeafNode {
    const leaf = inlineLeaf(data, node.type);
    this.known.set(node, leaf);
    this.deferred.delete(node);
    return leaf;
  }

  /** The execution that should have delivered `node` failed. */
  forget(node: GraphNode): void {
    this.deferred.delete(node);
  }

  /** The execution that will deliver `node`, if one is in flight. */
  deferredOf(node: GraphNode): Deferred | null {
    return this.deferred.get(node) ?? null;
  }

  /** True when the value is here, or on its way. */
  isSettled(node: GraphNode): boolean {
    return this.known.has(node) || this.deferred.has(node);
  }

  /** A leaf with the value of `node`, if it has been computed. */
  knownLeaf(node: GraphNode): LeafNode | null {
    const leaf = this.known.get(node);
    if (leaf !== undefined) return leaf;
    const data = this.deferred.get(node)?.value() ?? null;
    return data === null ? null : this.remember(node, data);
  }
}

const runtimes = new WeakMap<Session, Runtime>();

/** The runtime of the current session. @throws Error outside a RavenLab kernel. */
export function currentRuntime(): Runtime {
  const session = currentSession();
  let runtime = runtimes.get(session);
  if (runtime === undefined) {
    runtime = new Runtime(session);
    runtimes.set(session, runtime);
  }
  return runtime;
}

/** Reply of the kind that the request asks for. @throws RavenError when the engine answers another one. */
export function expectReply<K extends EngineReply['kind']>(
  reply: EngineReply,
  kind: K,
): Extract<EngineReply, { kind: K }> {
  if (reply.kind !== kind) {
    throw new ClusterError(
      `the engine answered '${reply.kind}' where '${kind}' was expected; restart the kernel`,
    );
  }
  return reply as Extract<EngineReply, { kind: K }>;
}
