/**
 * @file One worker's connection: what the scheduler's effects look like on the wire, program indices, byte credits, and the
 * pins of buffers that a socket may still read. Decides nothing.
 */
import type {
  Address,
  AdvanceMessage,
  BlobChunk,
  BlockRef,
  EngineToWorker,
  ExecutionId,
  HelloMessage,
  JobId,
  LeaseId,
  NeedMessage,
  RunInput,
  StateRef,
  SumForm,
  WorkerId,
} from '@ravenlab/protocol';
import {
  LIMITS,
  RemoteProtocolError,
  encodeEngineMessage,
  messageBytes,
  narrowRow,
} from '@ravenlab/protocol';
import type { GrantedLease } from '../core/cluster/events.js';
import type { ResourceId } from '../core/cluster/state.js';
import type { ResourceBody, Resources } from './resources.js';
import { framesOf } from './tensorBytes.js';
import { ResultDigests } from './resultDigests.js';
import type { Peer } from './transport.js';

/** A message that goes when it is full. */
interface BlobBatch {
  chunks: BlobChunk[];
  sizeBytes: number;
}

/** What the bytes of a blob are. */
type BlobName =
  | { readonly kind: 'state'; readonly ref: StateRef }
  | { readonly kind: 'block'; readonly ref: BlockRef };

/** Slots of an optimizer on their way to a worker; memory of their own. */
export interface SlotBlob {
  readonly ref: StateRef;
  readonly bytes: Uint8Array;
}

/** Releases of pins that are due when the worker has consumed this many bytes. */
interface PendingPins {
  readonly dueBytes: number;
  readonly releases: readonly (() => void)[];
}

export interface SessionCounters {
  programsSent: number;
  blobBytesSent: number;
  messagesSent: number;
}

export class WorkerSession {
  readonly peer: Peer;
  readonly hello: HelloMessage;
  /** The name of the invite that it came by; null for a machine of the engine's owner. */
  invite: string | null = null;
  /** The wallet that it has proved to be its own; null works unpaid. */
  payee: Address | null = null;
  /** The job whose terms it has accepted. */
  job: JobId | null = null;
  readonly digests = new ResultDigests();
  readonly counters: SessionCounters = { programsSent: 0, blobBytesSent: 0, messagesSent: 0 };
  private readonly resources: Resources;
  private readonly programIndices = new Map<ResourceId, number>();
  private readonly freeIndices: number[] = [];
  private nextIndex = 0;
  private sentBytes = 0;
  private consumedBytes = 0;
  private readonly pins: PendingPins[] = [];
  private pingSeq = 0;
  private unitsTold = 0;
  /** States that are being written, and go to this worker when they are. */
  private readonly awaited = new Set<ResourceId>();

  constructor(peer: Peer, hello: HelloMessage, resources: Resources) {
    this.peer = peer;
    this.hello = hello;
    this.resources = resources;
  }

  get worker(): WorkerId {
    return this.hello.workerId;
  }

  get inFlightBytes(): number {
    return this.sentBytes - this.consumedBytes;
  }

  /**
   * Sends the bytes of resources: programs, states, row blocks. What is being written follows when it is; nothing else waits for
   * it, because what is written may be made from the very units that come next.
   */
  provide(ids: readonly ResourceId[]): void {
    const batch: BlobBatch = { chunks: [], sizeBytes: 0 };
    const releases: (() => void)[] = [];
    for (const id of ids) {
      const body = this.resources.get(id);
      // Dropped since: the units that wanted it have failed or will ask.
      if (body === undefined) continue;
      if (body.kind === 'state' && body.isPromised()) this.awaited.add(id);
      else if (body.kind === 'program') this.sendProgram(id, body.hash, body.bytes);
      else this.addBlob(batch, body, releases);
    }
    this.flush(batch);
    if (releases.length > 0) this.pins.push({ dueBytes: this.sentBytes, releases });
  }

  run(options: {
    readonly execution: number;
    readonly program: ResourceId;
    readonly leaseMs: number;
    readonly inputs: readonly RunInput[];
    readonly groups: readonly (readonly GrantedLease[])[];
    readonly sums: readonly SumForm[];
  }): void {
    const { execution, leaseMs, inputs, groups, sums } = options;
    const units = groups.flat();
    const sizes = groups.map((group) => group.length);
    const isNarrow = sums.some((form) => narrowRow(form) !== null);
    const merge = isNarrow || sizes.some((size) => size > 1) ? { groups: sizes, sums } : null;
    const program = this.indexOf(options.program);
    this.sendCounted({
      kind: 'run',
      execution: execution as never,
      program,
      leaseMs,
      inputs,
      units,
      merge,
    });
  }

  /** Tells the worker what to forget, in as many messages as it takes. */
  drop(ids: readonly ResourceId[]): void {
    for (let at = 0; at < ids.length; at += LIMITS.refsPerMessage) {
      this.dropSome(ids.slice(at, at + LIMITS.refsPerMessage));
    }
  }

  /** Nobody waits for these any more. */
  cancel(executions: readonly ExecutionId[], leases: readonly LeaseId[]): void {
    this.send({ kind: 'cancel', executions, leases });
  }

  /** Tells it an update to make, after the slots that it needs for that. */
  advance(message: AdvanceMessage, slots: readonly SlotBlob[]): void {
    const batch: BlobBatch = { chunks: [], sizeBytes: 0 };
    for (const { ref, bytes } of slots)
      this.addFrames(batch, { kind: 'state', ref }, framesOf(bytes));
    this.flush(batch);
    this.send(message);
  }

  /** States that were being written are there, or will never be. */
  resume(): void {
    const ids = [...this.awaited];
    this.awaited.clear();
    if (ids.length > 0) this.provide(ids);
  }

  private dropSome(ids: readonly ResourceId[]): void {
    const programs: number[] = [];
    const states: StateRef[] = [];
    const blocks: BlockRef[] = [];
    for (const id of ids) {
      this.awaited.delete(id);
      const index = this.programIndices.get(id);
      if (index !== undefined) {
        this.programIndices.delete(id);
        this.freeIndices.push(index);
        programs.push(index);
      }
      const body = this.resources.nameOf(id);
      if (body?.kind === 'state') states.push(body.ref);
      if (body?.kind === 'block') blocks.push(body.ref);
    }
    this.send({ kind: 'drop', programs, states, data: [], blocks });
  }

  /** What the worker has earned, for its owner to see; nothing when it has been told. */
  meter(committedUnits: number, earnedUnits: bigint): void {
    if (committedUnits === this.unitsTold) return;
    this.unitsTold = committedUnits;
    this.send({ kind: 'meter', committedUnits, earnedUnits });
  }

  ping(nowMs: number): void {
    this.pingSeq = (this.pingSeq + 1) % 2 ** 31;
    this.send({ kind: 'ping', seq: this.pingSeq, sentMs: nowMs });
  }

  send(message: EngineToWorker): boolean {
    this.counters.messagesSent++;
    return this.peer.send(encodeEngineMessage(message));
  }

  /** The worker has consumed this much in all. @throws RemoteProtocolError for a total that cannot be. */
  credit(consumedBytes: number): void {
    if (consumedBytes < this.consumedBytes || consumedBytes > this.sentBytes) {
      throw new RemoteProtocolError(
        `credit: ${String(consumedBytes)} bytes consumed, expected ${String(this.consumedBytes)} … ${String(this.sentBytes)}`,
      );
    }
    this.consumedBytes = consumedBytes;
    while ((this.pins[0]?.dueBytes ?? Infinity) <= consumedBytes) {
      for (const release of this.pins.shift()?.releases ?? []) release();
    }
  }

  /** Ids that a NEED names; what is not known any more is left out. */
  resourcesOf(message: NeedMessage, find: (body: NeedRef) => ResourceId | undefined): ResourceId[] {
    const ids: ResourceId[] = [];
    for (const index of message.programs) {
      for (const [id, known] of this.programIndices) if (known === index) ids.push(id);
    }
    for (const ref of message.states) ids.push(...present(find({ kind: 'state', ...ref })));
    for (const ref of message.blocks) ids.push(...present(find({ kind: 'block', ...ref })));
    return ids;
  }

  /** The connection is gone: no socket reads our buffers any more. */
  close(): void {
    for (const { releases } of this.pins.splice(0)) for (const release of releases) release();
  }

  private indexOf(program: ResourceId): number {
    let index = this.programIndices.get(program);
    if (index === undefined) {
      index = this.freeIndices.pop() ?? this.nextIndex++;
      this.programIndices.set(program, index);
    }
    return index;
  }

  private sendProgram(id: ResourceId, hash: string, bytes: Uint8Array): void {
    this.counters.programsSent++;
    this.sendCounted({
      kind: 'program',
      index: this.indexOf(id),
      hash: hash as never,
      bytes: framesOf(bytes),
    });
  }

  private addBlob(
    batch: BlobBatch,
    body: Exclude<ResourceBody, { kind: 'program' }>,
    releases: (() => void)[],
  ): void {
    const frames = body.kind === 'state' ? framesOf(body.bytes()) : body.chunks;
    if (body.kind === 'state') releases.push(body.pin());
    this.addFrames(batch, body, frames);
  }

  private addFrames(batch: BlobBatch, name: BlobName, frames: readonly Uint8Array[]): void {
    const totalBytes = frames.reduce((sum, frame) => sum + frame.byteLength, 0);
    this.counters.blobBytesSent += totalBytes;
    let offsetBytes = 0;
    for (const frame of frames) {
      const ref =
        name.kind === 'state' ? { ...name.ref, kind: name.kind } : { ...name.ref, kind: name.kind };
      batch.chunks.push({ offsetBytes, totalBytes, bytes: [frame], ...ref });
      batch.sizeBytes += frame.byteLength;
      offsetBytes += frame.byteLength;
      const isFull = batch.sizeBytes >= LIMITS.frameBytes;
      if (isFull || batch.chunks.length >= LIMITS.chunksPerMessage) this.flush(batch);
    }
  }

  private flush(batch: BlobBatch): void {
    if (batch.chunks.length === 0) return;
    this.sendCounted({ kind: 'blob', chunks: batch.chunks });
    batch.chunks = [];
    batch.sizeBytes = 0;
  }

  private sendCounted(message: EngineToWorker): void {
    const frames = encodeEngineMessage(message);
    this.counters.messagesSent++;
    this.sentBytes += messageBytes(frames);
    this.peer.send(frames);
  }
}

/** A reference in a NEED. */
export type NeedRef =
  | ({ readonly kind: 'state' } & NeedMessage['states'][number])
  | ({ readonly kind: 'block' } & NeedMessage['blocks'][number]);

function present(id: ResourceId | undefined): ResourceId[] {
  return id === undefined ? [] : [id];
}
