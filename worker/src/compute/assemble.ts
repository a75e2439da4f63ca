/** @file Puts the inputs of a unit together from states, rows of data, inline values and keys. Sizes were checked before. */
import type { DType, DataId, TensorData, TensorType } from '@ravenlab/protocol';
import { byteSizeOf, sizeOf, viewAs } from '@ravenlab/protocol';
import { blockKey } from '../core/state.js';
import type { BlobKey } from '../core/state.js';
import type { ComputeInput } from './computeMessages.js';

/** Gives one input of unit `unit`; the array may be filled anew for the next unit. */
export type InputSource = (unit: number, shard: number) => TensorData;

interface HeldTensor {
  readonly bytes: Uint8Array;
  /** The view that was asked for last. */
  made: { readonly dtype: DType; readonly view: TensorData } | null;
}

/** Tensors held, as bytes of buffers of their own. */
export class TensorTable {
  private readonly tensors = new Map<BlobKey, HeldTensor>();

  set(key: BlobKey, bytes: Uint8Array): void {
    this.tensors.set(key, { bytes, made: null });
  }

  delete(key: BlobKey): void {
    this.tensors.delete(key);
  }

  has(key: BlobKey): boolean {
    return this.tensors.has(key);
  }

  /** @throws Error when it is not here: the lease machine lets no unit start without. */
  bytes(key: BlobKey): Uint8Array {
    return this.entry(key).bytes;
  }

  /** The same array object every time, so that backends can keep what they made of it. */
  view(key: BlobKey, type: TensorType): TensorData {
    const entry = this.entry(key);
    if (entry.made?.dtype === type.dtype) return entry.made.view;
    const { buffer, byteOffset } = entry.bytes;
    const view = viewAs(type.dtype, buffer, byteOffset, sizeOf(type.shape));
    entry.made = { dtype: type.dtype, view };
    return view;
  }

  private entry(key: BlobKey): HeldTensor {
    const entry = this.tensors.get(key);
    if (entry === undefined) throw new Error(`tensor ${key} is not held`);
    return entry;
  }
}

/**
 * Source of one input.
 * @param scratch Array of the input's type to assemble into; the caller keeps it for the next batch.
 */
export function inputSource(
  input: ComputeInput,
  type: TensorType,
  tensors: TensorTable,
  scratch: () => TensorData,
): InputSource {
  switch (input.kind) {
    case 'state': {
      const view = tensors.view(input.key, type);
      return () => view;
    }
    case 'rows':
      return rowSource(input, type, tensors, scratch());
    case 'data': {
      const whole = wholeData(input, type, tensors, scratch);
      return () => whole;
    }
    case 'inline': {
      const size = sizeOf(type.shape);
      const stride = input.perUnit ? byteSizeOf(type) : 0;
      const { buffer, byteOffset } = input.bytes;
      return (unit) => viewAs(type.dtype, buffer, byteOffset + unit * stride, size);
    }
    case 'key': {
      const key = scratch() as Int32Array;
      key.set([input.seedLow, input.seedHigh, input.step, 0]);
      return (_unit, shard) => {
        key[3] = shard;
        return key;
      };
    }
  }
}

function asBytes(data: TensorData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function rowSource(
  input: Extract<ComputeInput, { kind: 'rows' }>,
  type: TensorType,
  tensors: TensorTable,
  target: TensorData,
): InputSource {
  const [rows = 0] = type.shape;
  const { dataId, blockRows, indices } = input;
  const blocks = new Map<number, Uint8Array>();
  for (const row of indices) {
    const block = Math.floor(row / blockRows);
    if (!blocks.has(block)) blocks.set(block, tensors.bytes(blockKey({ dataId, block })));
  }
  const out = asBytes(target);
  const rowBytes = rows === 0 ? 0 : out.byteLength / rows;
  let filled = -1;
  return (unit) => {
    const first = input.perUnit ? unit * rows : 0;
    if (filled === first) return target;
    for (let i = 0; i < rows; i++) {
      const row = indices[first + i] ?? 0;
      const block = Math.floor(row / blockRows);
      const at = (row - block * blockRows) * rowBytes;
      const source = blocks.get(block);
      if (source !== undefined) out.set(source.subarray(at, at + rowBytes), i * rowBytes);
    }
    filled = first;
    return target;
  };
}

function wholeData(
  input: { readonly dataId: DataId; readonly dataRows: number; readonly blockRows: number },
  type: TensorType,
  tensors: TensorTable,
  scratch: () => TensorData,
): TensorData {
  const { dataId, dataRows, blockRows } = input;
  if (dataRows > 0 && dataRows <= blockRows)
    return tensors.view(blockKey({ dataId, block: 0 }), type);
  const whole = scratch();
  const out = asBytes(whole);
  let at = 0;
  for (let block = 0; block * blockRows < dataRows; block++) {
    const bytes = tensors.bytes(blockKey({ dataId, block }));
    out.set(bytes, at);
    at += bytes.byteLength;
  }
  return whole;
}
