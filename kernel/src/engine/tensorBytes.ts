/** @file Bytes of tensors: views, frames and slices along an axis. No arithmetic on values. */
import type { MicroShard, TensorData, TensorType } from '@ravenlab/protocol';
import { DTYPE_BYTES, LIMITS, byteSizeOf, sizeOf, viewAs } from '@ravenlab/protocol';

/** The bytes of a typed array; copies nothing. */
export function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Bytes of float32 values as such; copies nothing. */
export function floatsOf({ buffer, byteOffset, byteLength }: Uint8Array): Float32Array {
  return new Float32Array(buffer, byteOffset, byteLength / DTYPE_BYTES.float32);
}

/** Cuts bytes into frames of at most LIMITS.frameBytes; copies nothing. */
export function framesOf(data: ArrayBufferView): Uint8Array[] {
  const bytes = bytesOf(data);
  if (bytes.byteLength <= LIMITS.frameBytes) return [bytes];
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength; at += LIMITS.frameBytes) {
    frames.push(bytes.subarray(at, at + LIMITS.frameBytes));
  }
  return frames;
}

/** Extents around an axis: a tensor is `outer` runs of `extent` pieces of `innerBytes`. */
function around(type: TensorType, axis: number): { outer: number; innerBytes: number } {
  return {
    outer: sizeOf(type.shape.slice(0, axis)),
    innerBytes: sizeOf(type.shape.slice(axis + 1)) * DTYPE_BYTES[type.dtype],
  };
}

/** The part of a row-major tensor that a micro-shard takes along `axis`; a view when it is contiguous. */
export function cutAlong(
  type: TensorType,
  data: TensorData,
  axis: number,
  shard: MicroShard,
): Uint8Array {
  const bytes = bytesOf(data);
  const { outer, innerBytes } = around(type, axis);
  const extent = type.shape[axis] ?? 0;
  const from = shard.offset * innerBytes;
  const length = shard.size * innerBytes;
  if (outer === 1) return bytes.subarray(from, from + length);
  const part = new Uint8Array(outer * length);
  for (let run = 0; run < outer; run++) {
    const at = run * extent * innerBytes + from;
    part.set(bytes.subarray(at, at + length), run * length);
  }
  return part;
}

/** Writes a shard's part of a concatenated output to its place in `whole`. */
export function placeAlong(
  type: TensorType,
  whole: Uint8Array,
  axis: number,
  part: Uint8Array,
  offset: number,
  size: number,
): void {
  const { outer, innerBytes } = around(type, axis);
  const extent = type.shape[axis] ?? 0;
  const length = size * innerBytes;
  for (let run = 0; run < outer; run++) {
    const at = (run * extent + offset) * innerBytes;
    whole.set(part.subarray(run * length, (run + 1) * length), at);
  }
}

/** A fresh typed array with these bytes, aligned and owned by the caller. */
export function tensorFrom(type: TensorType, bytes: Uint8Array): TensorData {
  const copy = new Uint8Array(byteSizeOf(type));
  copy.set(bytes);
  return viewAs(type.dtype, copy.buffer, 0, sizeOf(type.shape));
}
