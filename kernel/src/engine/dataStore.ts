/** @file Data tensors: immutable, in row blocks of at most 1 MiB that travel to a worker once. Not for weights. */
import type { BlockRef, DataId, TensorType } from '@ravenlab/protocol';
import { ClusterError, LIMITS, formatShape } from '@ravenlab/protocol';
import type { Resource, ResourceId } from '../core/cluster/state.js';
import type { Resources } from './resources.js';
import { rowBytes } from './states.js';

export interface DataTensor {
  readonly dataId: DataId;
  readonly type: TensorType;
  readonly rows: number;
  readonly blockRows: number;
  /** One a block. */
  readonly blocks: readonly Resource[];
}

/** Rows of one block: as many as fit a frame, at least one. */
function rowsPerBlock(type: TensorType): number {
  return Math.max(1, Math.floor(LIMITS.blockBytes / Math.max(1, rowBytes(type))));
}

/** Cuts row-major bytes into blocks of whole rows, and each block into frames; copies nothing. */
export function cutBlocks(type: TensorType, bytes: Uint8Array): Uint8Array[][] {
  const blockBytes = rowsPerBlock(type) * rowBytes(type);
  const blocks: Uint8Array[][] = [];
  for (let at = 0; at < bytes.byteLength; at += blockBytes) {
    const block = bytes.subarray(at, at + blockBytes);
    const frames: Uint8Array[] = [];
    for (let from = 0; from < block.byteLength; from += LIMITS.frameBytes) {
      frames.push(block.subarray(from, from + LIMITS.frameBytes));
    }
    blocks.push(frames);
  }
  return blocks;
}

export class DataStore {
  private readonly tensors = new Map<DataId, DataTensor>();
  private readonly resources: Resources;
  private readonly onRetired: (resources: readonly ResourceId[]) => void;

  constructor(resources: Resources, onRetired: (resources: readonly ResourceId[]) => void) {
    this.resources = resources;
    this.onRetired = onRetired;
  }

  ids(): DataId[] {
    return [...this.tensors.keys()];
  }

  /** Takes over the frames; they must not change any more. */
  create(dataId: DataId, type: TensorType, blocks: readonly (readonly Uint8Array[])[]): void {
    const [rows = 0] = type.shape;
    const blockRows = rowsPerBlock(type);
    const expected = rowBytes(type) === 0 ? 0 : Math.ceil(rows / blockRows);
    const isWhole = blocks.every((frames, index) => {
      const rowsHere = Math.min(blockRows, rows - index * blockRows);
      return bytesIn(frames) === rowsHere * rowBytes(type);
    });
    if (type.shape.length === 0 || blocks.length !== expected || !isWhole) {
      throw new ClusterError(
        `data ${String(dataId)}: ${String(blocks.length)} blocks do not make ${type.dtype} ${formatShape(type.shape)}; ` +
          `expected ${String(expected)} blocks of ${String(blockRows)} rows of a tensor with at least one axis`,
      );
    }
    this.drop([dataId]);
    const resources = blocks.map((chunks, block) =>
      this.resources.add({ kind: 'block', ref: { dataId, block }, chunks }, bytesIn(chunks)),
    );
    this.tensors.set(dataId, { dataId, type, rows, blockRows, blocks: resources });
  }

  /** @throws ClusterError when unknown. */
  get(dataId: DataId): DataTensor {
    const tensor = this.tensors.get(dataId);
    if (tensor === undefined) {
      throw new ClusterError(
        `data ${String(dataId)} is unknown to the engine: it was dropped, or belongs to an engine that has ended; load the data again`,
      );
    }
    return tensor;
  }

  all(): DataTensor[] {
    return [...this.tensors.values()];
  }

  /** The resource that a worker names, if it is still there. */
  find(ref: BlockRef): Resource | undefined {
    return this.tensors.get(ref.dataId)?.blocks[ref.block];
  }

  /** Blocks that hold these rows, each once. @throws ClusterError for a row that the tensor has not. */
  blocksOf(tensor: DataTensor, indices: Int32Array): Resource[] {
    const wanted = new Set<number>();
    for (const row of indices) {
      if (row < 0 || row >= tensor.rows) {
        throw new ClusterError(
          `row ${String(row)} of data ${String(tensor.dataId)} does not exist: it has ${String(tensor.rows)} rows`,
        );
      }
      wanted.add(Math.floor(row / tensor.blockRows));
    }
    const blocks: Resource[] = [];
    for (const index of wanted) {
      const block = tensor.blocks[index];
      if (block !== undefined) blocks.push(block);
    }
    return blocks;
  }

  drop(dataIds: readonly DataId[]): void {
    for (const dataId of dataIds) {
      const tensor = this.tensors.get(dataId);
      if (tensor === undefined) continue;
      this.tensors.delete(dataId);
      this.onRetired(tensor.blocks.map((block) => block.id));
      for (const block of tensor.blocks) this.resources.remove(block.id);
    }
  }
}

function bytesIn(frames: readonly Uint8Array[]): number {
  return frames.reduce((sum, frame) => sum + frame.byteLength, 0);
}
