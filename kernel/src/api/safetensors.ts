/** @file The safetensors format: u64 length, JSON header, raw little-endian values. No code is ever in such a file. */
import type { DType, Shape } from '@ravenlab/protocol';
import { API_LIMITS, DataError, DTYPE_BYTES, LIMITS, sizeOf, viewAs } from '@ravenlab/protocol';
import { readBytes, readBytesIfAny, writeBytes } from './files.js';
import type { HostArray } from './host.js';

const DTYPE_NAMES: Readonly<Record<DType, string>> = { float32: 'F32', int32: 'I32', bool: 'BOOL' };
const DTYPE_OF = new Map<unknown, DType>([
  ['F32', 'float32'],
  ['I32', 'int32'],
  ['BOOL', 'bool'],
]);
const LENGTH_BYTES = 8;
const METADATA = '__metadata__';

export interface TensorFile {
  readonly tensors: ReadonlyMap<string, HostArray>;
  readonly metadata: Readonly<Record<string, string>>;
}

interface Entry {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

/** The parts of a file, in order. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, HostArray>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array[] {
  const entries: [string, unknown][] = [[METADATA, { ...metadata, format: 'pt' }]];
  const bodies: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { data, dtype, shape }] of tensors) {
    const body = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const end = offset + body.byteLength;
    entries.push([name, { dtype: DTYPE_NAMES[dtype], shape, data_offsets: [offset, end] }]);
    bodies.push(body);
    offset = end;
  }
  // fromEntries, not assignment: a tensor may be called '__proto__'.
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  // Padded with spaces so that the values start at a multiple of 8.
  const padded = new Uint8Array(Math.ceil(json.length / LENGTH_BYTES) * LENGTH_BYTES).fill(0x20);
  padded.set(json);
  const length = new Uint8Array(LENGTH_BYTES);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  return [length, padded, ...bodies];
}

function invalid(path: string, what: string): DataError {
  return new DataError(`safetensors: '${path}' ${what}`, { meta: { path } });
}

/**
 * Reads a file; every offset is checked against the file before anything is allocated.
 * @throws DataError naming the file and what is wrong with it.
 */
export function decodeSafetensors(path: string, bytes: Uint8Array): TensorFile {
  if (bytes.length < LENGTH_BYTES)
    throw invalid(path, 'is shorter than its 8-byte length; it is cut short');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = Number(view.getBigUint64(0, true));
  if (length > API_LIMITS.safetensorsHeaderBytes || length > bytes.length - LENGTH_BYTES) {
    throw invalid(
      path,
      `states a header of ${String(length)} bytes, the file has ${String(bytes.length)}; it is cut short or no safetensors file`,
    );
  }
  const body = bytes.subarray(LENGTH_BYTES + length);
  const tensors = new Map<string, HostArray>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(parseHeader(path, bytes, length))) {
    if (name === METADATA) metadata = readMetadata(value);
    else tensors.set(name, readTensor(body, readEntry(path, name, value, body.length)));
  }
  return { tensors, metadata };
}

function parseHeader(path: string, bytes: Uint8Array, length: number): Record<string, unknown> {
  let header: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(
      bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length),
    );
    header = JSON.parse(text);
  } catch {
    throw invalid(path, 'has a header that is not JSON; it is damaged or no safetensors file');
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw invalid(path, 'has a header that is not a JSON object');
  }
  return header as Record<string, unknown>;
}

function readMetadata(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {};
  const strings = Object.entries(value).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(strings);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function readEntry(path: string, name: string, value: unknown, bodyBytes: number): Entry {
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  const dtype = DTYPE_OF.get(fields['dtype']);
  if (dtype === undefined) {
    throw invalid(
      path,
      `holds '${name}' as ${String(fields['dtype'])}; F32, I32 and BOOL are read, so convert it to float32 before saving`,
    );
  }
  const shape: unknown = fields['shape'];
  const offsets: unknown = fields['data_offsets'];
  const [begin, end] = Array.isArray(offsets) ? (offsets as unknown[]) : [];
  const isShape = Array.isArray(shape) && shape.length <= LIMITS.tensorRank && shape.every(isCount);
  if (!isShape || !isCount(begin) || !isCount(end)) {
    throw invalid(path, `describes '${name}' in a way that is not safetensors; it is damaged`);
  }
  const expected = sizeOf(shape) * DTYPE_BYTES[dtype];
  if (end - begin !== expected || end > bodyBytes) {
    throw invalid(
      path,
      `places '${name}' at bytes ${String(begin)} … ${String(end)} of ${String(bodyBytes)}, its shape takes ${String(expected)}; it is cut short or damaged`,
    );
  }
  return { dtype, shape, begin, end };
}

function readTensor(body: Uint8Array, { dtype, shape, begin, end }: Entry): HostArray {
  // Copied: a file's offsets need not be aligned for a Float32Array.
  const bytes = body.slice(begin, end);
  return { dtype, shape, data: viewAs(dtype, bytes.buffer, bytes.byteOffset, sizeOf(shape)) };
}

/** Null for a missing file if it is `optional`. @throws DataError when it cannot be read. */
export function readTensorFile(path: string, optional: boolean): TensorFile | null {
  const bytes = optional ? readBytesIfAny('load', path) : readBytes('load', path);
  return bytes === null ? null : decodeSafetensors(path, bytes);
}

export function writeTensorFile(
  path: string,
  tensors: ReadonlyMap<string, HostArray>,
  metadata: Readonly<Record<string, string>>,
): void {
  writeBytes('save', path, encodeSafetensors(tensors, metadata));
}
