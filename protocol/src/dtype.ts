/** @file Element types of tensors: their codes on the wire, sizes and JavaScript arrays. */

/** Element types in wire-code order: the index of a dtype is its code in every frame. */
export const DTYPES = ['float32', 'int32', 'bool'] as const;
export type DType = (typeof DTYPES)[number];

/** Host array of a tensor, row-major. `bool` is one byte per element, 0 or 1. */
export type TensorData = Float32Array | Int32Array | Uint8Array;

export const DTYPE_BYTES: Readonly<Record<DType, number>> = { float32: 4, int32: 4, bool: 1 };

export function isDType(value: unknown): value is DType {
  return DTYPES.some((dtype) => dtype === value);
}

/** Code of a dtype in frames; the inverse of `DTYPES[code]`. */
export function dtypeCode(dtype: DType): number {
  return DTYPES.indexOf(dtype);
}

/** A zeroed host array of `length` elements. */
export function allocate(dtype: DType, length: number): TensorData {
  switch (dtype) {
    case 'float32':
      return new Float32Array(length);
    case 'int32':
      return new Int32Array(length);
    case 'bool':
      return new Uint8Array(length);
  }
}

/** Views `byteLength / itemsize` elements of `buffer` from `byteOffset` on; copies nothing. */
export function viewAs(
  dtype: DType,
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number,
): TensorData {
  switch (dtype) {
    case 'float32':
      return new Float32Array(buffer, byteOffset, length);
    case 'int32':
      return new Int32Array(buffer, byteOffset, length);
    case 'bool':
      return new Uint8Array(buffer, byteOffset, length);
  }
}
