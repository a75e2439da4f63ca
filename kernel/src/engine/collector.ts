/**
 * @file The results of one execution's units on their way to one result: sums in tree order in shared memory, pieces of
 * concatenated outputs at their place, the first shard's value where all are equal. Knows neither workers nor leases' rights.
 */
import type { Chunks, LeaseId, NarrowRow, ResultChunk, TensorData } from '@ravenlab/protocol';
import {
  DTYPE_BYTES,
  ENGINE_LIMITS,
  RemoteProtocolError,
  byteSizeOf,
  copyChunks,
  joinChunks,
  narrowRow,
  sizeOf,
  totalBytes,
  wireBytes,
} from '@ravenlab/protocol';
import type { Merge } from '../core/cluster/shardTree.js';
import { ShardTree } from '../core/cluster/shardTree.js';
import { invariant } from '../core/cluster/transition.js';
import type { Part } from '../core/verify/compare.js';
import { isCompared } from './auditedPlan.js';
import type { Block, SharedHeap } from './heap.js';
import type { BoundPlan, RobustSum } from './planView.js';
import type { NarrowPart, ReduceBody, Reducer, RobustParts, SumLayout } from './reducer.js';
import { floatsOf, placeAlong, tensorFrom } from './tensorBytes.js';

const ALIGN_BYTES = 16;
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGN_BYTES) * ALIGN_BYTES;

/** One unit's outputs as they arrive in pieces. */
interface Stage {
  readonly sum: Block | null;
  /** Bytes of outputs that came narrow, by output; they become a part of the sum when the answer is accepted. */
  readonly narrow: Map<number, Uint8Array>;
  /** Whole bytes of outputs that are not summed, by output. */
  readonly others: Map<number, Uint8Array>;
  readonly received: number[];
}

export interface Reducers {
  readonly inline: Reducer;
  readonly thread: Reducer;
}

export class Collector {
  private readonly bound: BoundPlan;
  private readonly heap: SharedHeap;
  private readonly reducer: Reducer;
  readonly isInline: boolean;
  private readonly layout: SumLayout;
  /** Offset of each summed output in a block; -1 for others. */
  private readonly offsets: readonly number[];
  private readonly tree: ShardTree<Block> | null;
  /** How narrow outputs are read; null for the others. */
  private readonly rows: readonly (NarrowRow | null)[];
  /** Bytes of each output of an answer, by program. */
  private readonly sizes: readonly (readonly number[])[];
  /** Where each shard's part of a concatenated output begins along its axis, by output; one entry more than shards. */
  private readonly starts = new Map<number, readonly number[]>();
  private readonly stages = new Map<LeaseId, Stage>();
  /** Concatenated and first-shard outputs, whole. */
  private readonly whole = new Map<number, Uint8Array>();
  /** Of a robust rule: the blocks of all micro-shards, which wait for one another. */
  private leaves: (Block | undefined)[] = [];
  private mergesLeft = 0;
  private isClosed = false;
  private onSettled: (() => void) | null = null;

  constructor(bound: BoundPlan, heap: SharedHeap, reducers: Reducers) {
    this.bound = bound;
    this.heap = heap;
    const { layout, offsets } = layoutOf(bound);
    this.layout = layout;
    this.offsets = offsets;
    const blocks = bound.robust === null ? 1 : bound.plan.shards.length;
    this.isInline = blocks * layout.sizeBytes <= ENGINE_LIMITS.inlineReduceBytes;
    this.reducer = this.isInline ? reducers.inline : reducers.thread;
    this.tree = layout.sizeBytes > 0 ? new ShardTree(bound.plan.shards.length) : null;
    this.rows = bound.sums.map(narrowRow);
    this.sizes = bound.programs.map(({ outputTypes }) =>
      outputTypes.map((type, index) => wireBytes(byteSizeOf(type), bound.sums[index] ?? 'first')),
    );
    bound.plan.outputs.forEach((output, index) => {
      if (output.combine !== 'concat') return;
      this.whole.set(index, new Uint8Array(byteSizeOf(output.type)));
      this.starts.set(index, startsOf(bound, index, output.axis));
    });
  }

  /** Bytes of each output of a shard's unit. */
  expectedBytes(shard: number): readonly number[] {
    return this.sizes[this.bound.plan.shards[shard]?.program ?? -1] ?? [];
  }

  /** Takes one piece of an output that is sent ahead of DONE. @throws RemoteProtocolError for a piece that cannot be. */
  addPiece(shard: number, chunk: ResultChunk): void {
    const expected = this.expectedBytes(shard)[chunk.output];
    const { output, offsetBytes, totalBytes: total, bytes } = chunk;
    const sizeBytes = totalBytes(bytes);
    const stage = this.stageOf(chunk.lease, shard);
    if (
      expected !== total ||
      offsetBytes !== stage.received[output] ||
      offsetBytes + sizeBytes > total
    ) {
      throw new RemoteProtocolError(
        `piece of output ${String(output)}: ${String(sizeBytes)} bytes at ${String(offsetBytes)} of ${String(total)}; ` +
          `expected the piece at ${String(stage.received[output] ?? 0)} of ${String(expected)}`,
      );
    }
    const target = this.pieceTarget(stage, output, total);
    if (target !== null) copyChunks(bytes, target, offsetBytes);
    stage.received[output] = offsetBytes + sizeBytes;
  }

  /** Whether every output of the lease has come in pieces. */
  isStaged(lease: LeaseId, shard: number): boolean {
    const stage = this.stages.get(lease);
    return (
      stage !== undefined &&
      this.expectedBytes(shard).every((expected, output) => stage.received[output] === expected)
    );
  }

  /** Forgets the pieces of a lease that is void. */
  discard(lease: LeaseId): void {
    const stage = this.stages.get(lease);
    this.stages.delete(lease);
    if (stage?.sum !== null && stage !== undefined) this.heap.free(stage.sum);
  }

  /** Takes the result of `count` shards from `shard` on for good; sizes have been checked. */
  accept(shard: number, count: number, lease: LeaseId, outputs: readonly Chunks[] | null): void {
    if (outputs !== null && this.layout.sizeBytes === 0 && !this.stages.has(lease)) {
      this.placeAtOnce(shard, outputs);
      return;
    }
    const stage = this.stageOf(lease, shard);
    this.stages.delete(lease);
    outputs?.forEach((chunks, output) => {
      const row = this.rows[output] ?? null;
      if (row !== null) this.widen(stage, output, joinChunks(chunks), row);
      else {
        const target = this.target(stage, output);
        if (target !== null) copyChunks(chunks, target);
      }
    });
    for (const [output, bytes] of stage.narrow) {
      const row = this.rows[output] ?? null;
      if (row !== null) this.widen(stage, output, bytes, row);
    }
    for (const [output, bytes] of stage.others) this.place(shard, output, bytes);
    if (this.tree === null || stage.sum === null) return;
    if (this.bound.robust !== null) {
      this.hold(shard, stage.sum, this.tree, this.bound.robust);
      return;
    }
    const merges = this.tree.insert(shard, stage.sum, count);
    if (merges.length > 0) this.merge(merges, null);
  }

  /** With the last micro-shard in, all are put together: sums in the tree's order, gradients by the rule. */
  private hold(shard: number, block: Block, tree: ShardTree<Block>, robust: RobustSum): void {
    invariant(this.leaves[shard] === undefined, () => `shard ${String(shard)} came twice`);
    this.leaves[shard] = block;
    const { shards } = this.bound.plan;
    const blocks = shards.flatMap((_shard, index) => this.leaves[index] ?? []);
    if (blocks.length < shards.length) return;
    this.leaves = [];
    const rows = shards.reduce((sum, { size }) => sum + size, 0);
    const parts = robust.outputs.map((output) => ({
      offsetBytes: this.offsets[output] ?? 0,
      elements: sizeOf(this.bound.plan.outputs[output]?.type.shape ?? [0]),
    }));
    this.merge(
      blocks.flatMap((each, index) => tree.insert(index, each)),
      {
        ...{ rule: robust.rule, parts, blocks: blocks.map(({ ptr }) => ptr) },
        scales: shards.map(({ size }) => rows / size),
      },
    );
  }

  private merge(merges: readonly Merge<Block>[], robust: RobustParts | null): void {
    this.mergesLeft++;
    const pairs = merges.flatMap(({ target, source }) => [target.ptr, source.ptr]);
    const sums = { pairs, layout: this.layout };
    const body: ReduceBody =
      robust === null ? { kind: 'merge', ...sums } : { kind: 'aggregate', ...sums, robust };
    this.reducer.run(body, () => {
      for (const { source } of merges) this.heap.free(source);
      this.mergesLeft--;
      this.settle();
    });
  }

  /** Copies of a result that is about to be accepted: what an audit compares. */
  partsOf(shard: number, lease: LeaseId, outputs: readonly Chunks[] | null): Part[] {
    const stage = this.stages.get(lease);
    return this.bound.plan.outputs.flatMap((output, index): Part[] => {
      if (!isCompared(output, shard)) return [];
      const { dtype } = output.type;
      const step = this.rows[index]?.step ?? 0;
      return [{ dtype, bytes: this.widened(index, this.answerOf(index, stage, outputs)), step }];
    });
  }

  /** Bytes of an output as they were sent; null when nobody reads it. */
  private answerOf(
    output: number,
    stage: Stage | undefined,
    outputs: readonly Chunks[] | null,
  ): Uint8Array | null {
    const chunks = outputs?.[output];
    if (chunks !== undefined) return joinChunks(chunks);
    return stage?.narrow.get(output) ?? (stage === undefined ? null : this.target(stage, output));
  }

  /** A copy of an output, in its own type. */
  private widened(output: number, bytes: Uint8Array | null): Uint8Array {
    const row = this.rows[output] ?? null;
    if (bytes === null) return new Uint8Array(0);
    if (row === null) return new Uint8Array(bytes);
    const type = this.bound.plan.outputs[output]?.type;
    const values = new Float32Array(type === undefined ? 0 : sizeOf(type.shape));
    row.decode(bytes, values);
    return new Uint8Array(values.buffer);
  }

  /** Nothing is summed and nothing came ahead: what is concatenated is copied once, to where it belongs. */
  private placeAtOnce(shard: number, outputs: readonly Chunks[]): void {
    for (const [output, chunks] of outputs.entries()) {
      const combine = this.bound.plan.outputs[output]?.combine;
      if (combine === 'concat') this.place(shard, output, joinChunks(chunks));
      // A message's memory is used again.
      else if (combine === 'first' && shard === 0) {
        this.place(shard, output, new Uint8Array(joinChunks(chunks)));
      }
    }
  }

  /** Calls back when every sum is made; all units must be in. */
  whenSummed(callback: () => void): void {
    this.onSettled = callback;
    this.settle();
  }

  /** Address of a summed output in the finished sum, or null for another kind. */
  sumAddress(output: number): number | null {
    const offset = this.offsets[output] ?? -1;
    return offset < 0 || this.tree === null ? null : this.tree.root.ptr + offset;
  }

  /** Combined bytes of an output; a view that is valid until `close`. */
  bytesOf(output: number): Uint8Array {
    const planned = this.bound.plan.outputs[output];
    invariant(planned !== undefined, `no output ${String(output)}`);
    const offset = this.offsets[output] ?? -1;
    if (offset >= 0 && this.tree !== null) {
      const { ptr } = this.tree.root;
      return this.heap.bytes({ ptr: ptr + offset, sizeBytes: byteSizeOf(planned.type) });
    }
    return this.whole.get(output) ?? new Uint8Array(byteSizeOf(planned.type));
  }

  /** The one float32 of an output; null for another kind, and where there is no such output. */
  scalarOf(output: number): number | null {
    const type = this.bound.plan.outputs[output]?.type;
    if (type?.dtype !== 'float32' || type.shape.length > 0) return null;
    return floatsOf(this.bytesOf(output))[0] ?? null;
  }

  /** Copies of the outputs that the plan delivers, null for the others. */
  delivered(): (TensorData | null)[] {
    return this.bound.plan.outputs.map((output, index) =>
      output.deliver ? tensorFrom(output.type, this.bytesOf(index)) : null,
    );
  }

  /** Gives all memory back, as soon as no merge that is under way uses it. */
  close(): void {
    this.isClosed = true;
    this.onSettled = null;
    this.settle();
  }

  private settle(): void {
    if (this.mergesLeft > 0) return;
    const callback = this.onSettled;
    this.onSettled = null;
    callback?.();
    if (!this.isClosed) return;
    for (const block of this.tree?.take() ?? []) this.heap.free(block);
    for (const block of this.leaves.splice(0)) if (block !== undefined) this.heap.free(block);
    for (const lease of [...this.stages.keys()]) this.discard(lease);
  }

  private stageOf(lease: LeaseId, shard: number): Stage {
    let stage = this.stages.get(lease);
    if (stage !== undefined) return stage;
    const expected = this.expectedBytes(shard);
    const others = new Map<number, Uint8Array>();
    this.bound.plan.outputs.forEach((output, index) => {
      const isFirst = this.bound.sums[index] === 'first' && shard === 0;
      const isUsed = output.combine === 'concat' || isFirst;
      if (isUsed) others.set(index, new Uint8Array(expected[index] ?? 0));
    });
    const sum = this.layout.sizeBytes > 0 ? this.heap.allocate(this.layout.sizeBytes) : null;
    if (sum !== null) this.clearGaps(sum);
    stage = { sum, others, narrow: new Map(), received: expected.map(() => 0) };
    this.stages.set(lease, stage);
    return stage;
  }

  /** Zeroes the padding between outputs, so that no stale bits pose as NaN in it. */
  private clearGaps(sum: Block): void {
    const bytes = this.heap.bytes(sum);
    this.bound.plan.outputs.forEach((output, index) => {
      const offset = this.offsets[index] ?? -1;
      const sizeBytes = byteSizeOf(output.type);
      if (offset >= 0) bytes.fill(0, offset + sizeBytes, offset + aligned(sizeBytes));
    });
  }

  /** Where an output of a stage goes; null when nobody reads it: a later shard's copy of the first one's value. */
  private target(stage: Stage, output: number): Uint8Array | null {
    const offset = this.offsets[output] ?? -1;
    const planned = this.bound.plan.outputs[output];
    if (planned === undefined || offset < 0 || stage.sum === null) {
      return stage.others.get(output) ?? null;
    }
    const sizeBytes = byteSizeOf(planned.type);
    return this.heap.bytes({ ptr: stage.sum.ptr + offset, sizeBytes });
  }

  /** Where the pieces of an output are put together. */
  private pieceTarget(stage: Stage, output: number, totalBytes: number): Uint8Array | null {
    if ((this.rows[output] ?? null) === null) return this.target(stage, output);
    let bytes = stage.narrow.get(output);
    if (bytes === undefined) {
      bytes = new Uint8Array(totalBytes);
      stage.narrow.set(output, bytes);
    }
    return bytes;
  }

  /** Reads what came narrow as the float32 that it stands for. */
  private widen(stage: Stage, output: number, bytes: Uint8Array, row: NarrowRow): void {
    const target = this.target(stage, output);
    if (target !== null) row.decode(bytes, floatsOf(target));
  }

  private place(shard: number, output: number, bytes: Uint8Array): void {
    const planned = this.bound.plan.outputs[output];
    const whole = this.whole.get(output);
    if (planned?.combine === 'first') this.whole.set(output, bytes);
    if (planned?.combine !== 'concat' || whole === undefined) return;
    const starts = this.starts.get(output) ?? [];
    const start = starts[shard] ?? 0;
    const extent = (starts[shard + 1] ?? start) - start;
    placeAlong(planned.type, whole, planned.axis, bytes, start, extent);
  }
}

/** Prefix sums of the shards' extents along the axis of a concatenated output. */
function startsOf(bound: BoundPlan, output: number, axis: number): number[] {
  const starts = [0];
  for (const shard of bound.plan.shards) {
    const extent = bound.programs[shard.program]?.outputTypes[output]?.shape[axis] ?? 0;
    starts.push((starts[starts.length - 1] ?? 0) + extent);
  }
  return starts;
}

/** Summed outputs one after the other, float32 before int32, each at a multiple of 16 bytes. */
function layoutOf(bound: BoundPlan): { layout: SumLayout; offsets: number[] } {
  const offsets = bound.plan.outputs.map(() => -1);
  let at = 0;
  const lay = (dtype: 'float32' | 'int32') => {
    bound.plan.outputs.forEach((output, index) => {
      if (bound.sums[index] === 'first' || output.type.dtype !== dtype) return;
      offsets[index] = at;
      at += aligned(sizeOf(output.type.shape) * DTYPE_BYTES[dtype]);
    });
  };
  lay('float32');
  const intOffsetBytes = at;
  lay('int32');
  const layout: SumLayout = {
    floatElements: intOffsetBytes / 4,
    intOffsetBytes,
    intElements: (at - intOffsetBytes) / 4,
    sizeBytes: at,
    narrow: bound.sums.flatMap((format, output): NarrowPart[] => {
      if (format === 'first' || format === 'float32') return [];
      const elements = sizeOf(bound.plan.outputs[output]?.type.shape ?? [0]);
      return [{ format, offsetBytes: offsets[output] ?? 0, elements }];
    }),
  };
  return { layout, offsets };
}
