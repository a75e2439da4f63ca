/** @file RUN for the compute thread: every small value copied out of its frames, so that its buffer can be moved. */
import type { Chunks, RunInput, RunMessage } from '@ravenlab/protocol';
import { copyChunks, totalBytes } from '@ravenlab/protocol';
import type { ProgramHash } from '@ravenlab/protocol';
import { stateKey } from '../core/state.js';
import type { ComputeBatch, ComputeInput } from '../compute/computeMessages.js';

/** The batch and the buffers to move with it. */
export interface PackedBatch {
  readonly message: ComputeBatch;
  readonly transfer: ArrayBuffer[];
}

export function packBatch(batch: number, hash: ProgramHash, run: RunMessage): PackedBatch {
  const transfer: ArrayBuffer[] = [];
  const inputs = run.inputs.map((input) => packInput(input, transfer));
  const shards = Int32Array.from(run.units, ({ shard }) => shard);
  const { execution, merge } = run;
  return { message: { kind: 'batch', batch, execution, hash, shards, inputs, merge }, transfer };
}

function packInput(input: RunInput, transfer: ArrayBuffer[]): ComputeInput {
  switch (input.kind) {
    case 'state':
      return { kind: 'state', key: stateKey(input) };
    case 'rows': {
      const { kind, dataId, blockRows, perUnit } = input;
      // Not slice(): a received view may share its frame with megabytes of other values.
      const indices = Int32Array.from(input.indices);
      transfer.push(indices.buffer);
      return { kind, dataId, blockRows, perUnit, indices };
    }
    case 'inline': {
      const bytes = joinCopy(input.values.flat());
      transfer.push(bytes.buffer);
      return { kind: 'inline', perUnit: input.perUnit, bytes };
    }
    case 'data':
    case 'key':
      return input;
  }
}

/** The same RUN with values of its own: it may wait for tensors, and the memory of its frames is used again. */
export function ownRun(run: RunMessage): RunMessage {
  return { ...run, inputs: run.inputs.map(ownInput) };
}

function ownInput(input: RunInput): RunInput {
  switch (input.kind) {
    case 'rows':
      return { ...input, indices: Int32Array.from(input.indices) };
    case 'inline':
      return { ...input, values: input.values.map((value) => [joinCopy(value)]) };
    case 'state':
    case 'data':
    case 'key':
      return input;
  }
}

function joinCopy(chunks: Chunks): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(totalBytes(chunks));
  copyChunks(chunks, bytes);
  return bytes;
}
