/** @file The IDX format of MNIST and its relatives: a four-byte magic, big-endian extents, raw values. */
import type { DType, Shape } from '@ravenlab/protocol';
import { DataError, formatShape, LIMITS, sizeOf } from '@ravenlab/protocol';
import type { HostArray } from '../host.js';
import { convert } from '../host.js';

interface ElementType {
  readonly name: string;
  readonly bytes: number;
  readonly read: (view: DataView, offset: number) => number;
}

/** Third byte of the magic. */
const ELEMENTS: Readonly<Record<number, ElementType>> = {
  0x08: { name: 'uint8', bytes: 1, read: (view, offset) => view.getUint8(offset) },
  0x09: { name: 'int8', bytes: 1, read: (view, offset) => view.getInt8(offset) },
  0x0b: { name: 'int16', bytes: 2, read: (view, offset) => view.getInt16(offset) },
  0x0c: { name: 'int32', bytes: 4, read: (view, offset) => view.getInt32(offset) },
  0x0d: { name: 'float32', bytes: 4, read: (view, offset) => view.getFloat32(offset) },
  0x0e: { name: 'float64', bytes: 8, read: (view, offset) => view.getFloat64(offset) },
};

export interface IdxOptions {
  /** float32 for images, int32 for a list of labels, unless given. */
  readonly dtype?: DType;
  /** Every value is multiplied by this, 1 / 255 for pixels in 0 … 1. float32 only. */
  readonly scale?: number;
}

function corrupt(path: string, what: string, meta: Record<string, unknown>): DataError {
  return new DataError(`data.idx: '${path}' ${what}`, { meta: { path, ...meta } });
}

interface Header {
  readonly element: ElementType;
  readonly shape: Shape;
  readonly offset: number;
}

function readHeader(path: string, view: DataView): Header {
  if (view.byteLength < 4) {
    throw corrupt(
      path,
      `has ${String(view.byteLength)} bytes, expected at least a 4-byte magic; the file is cut short`,
      {},
    );
  }
  const magic = view.getUint32(0);
  const element = ELEMENTS[(magic >>> 8) & 0xff];
  const rank = magic & 0xff;
  if (magic >>> 16 !== 0 || element === undefined || rank < 1 || rank > LIMITS.tensorRank) {
    const hex = magic.toString(16).padStart(8, '0');
    throw corrupt(
      path,
      `is not an IDX file: it starts with 0x${hex}, expected 0x0000TTRR with a type TT of 08, 09, 0b … 0e and a rank RR of 01 … 08`,
      { magic },
    );
  }
  const offset = 4 + 4 * rank;
  if (view.byteLength < offset) {
    throw corrupt(
      path,
      `has ${String(view.byteLength)} bytes, its header alone takes ${String(offset)}; the file is cut short`,
      {},
    );
  }
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  return { element, shape, offset };
}

/**
 * Values of an IDX file.
 * @param path for messages
 * @throws DataError naming the file, what was expected and what is there.
 */
export function parseIdx(path: string, bytes: Uint8Array, options: IdxOptions = {}): HostArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { element, shape, offset } = readHeader(path, view);
  const size = sizeOf(shape);
  const expected = offset + size * element.bytes;
  // Checked before anything of that size is allocated: the header may say what it likes.
  if (expected !== bytes.byteLength || size > LIMITS.tensorElements) {
    throw corrupt(
      path,
      `holds ${String(bytes.byteLength)} bytes, expected ${String(expected)} for ${element.name} ${formatShape(shape)}; ` +
        'the file is damaged, get it again',
      { expected, actual: bytes.byteLength, shape },
    );
  }
  const dtype = options.dtype ?? (shape.length === 1 ? 'int32' : 'float32');
  const values = new Float64Array(size);
  const scale = dtype === 'float32' ? (options.scale ?? 1) : 1;
  for (let i = 0; i < size; i++) {
    values[i] = element.read(view, offset + i * element.bytes) * scale;
  }
  return { data: convert(values, dtype), dtype, shape };
}
