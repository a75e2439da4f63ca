/**
 * @file Layout of the messages that carry work: PROGRAM, RUN, BLOB, RESULT, DONE. Each is a pair of functions over header
 * words and body segments; the frame around them is codec.ts. RFC 1 §4.
 */
import { decodeErrors, encodeErrors, errorIndex } from './codecControl.js';
import { readType, writeType } from './codecProgram.js';
import { DTYPE_BYTES } from './dtype.js';
import type { WireError } from './errors.js';
import type { BodyReader, BodyWriter } from './frames.js';
import { joinChunks } from './frames.js';
import type { DataId, ExecutionId, LeaseId, ProgramHash, StateId, StateVersion } from './ids.js';
import { LIMITS } from './limits.js';
import type {
  BlobChunk,
  BlobMessage,
  BlockRef,
  Chunks,
  DoneMessage,
  DoneUnit,
  ProgramMessage,
  ResultChunk,
  ResultMessage,
  RunInput,
  RunMerge,
  RunMessage,
  RunUnit,
  StateRef,
  SumForm,
} from './message.js';
import { SUM_FORMS, UNIT_STATUSES } from './message.js';
import { byteSizeOf } from './shape.js';
import type { Hash32 } from './voucher.js';
import type { WordReader, WordWriter } from './words.js';
import { bytesOfWords, wordsOf } from './words.js';

const MAX_TENSOR_BYTES = LIMITS.tensorElements * 4;
const INPUT_KINDS = ['state', 'rows', 'data', 'inline', 'key'] as const;
const CHUNK_KINDS = ['state', 'block'] as const;
const HASH_BYTES = 32;
/** lease (2), shard */
const UNIT_WORDS = 3;
/** lease (2), status, compute µs, detail */
const DONE_UNIT_WORDS = 5;
/** kind, id, version or block, offset (2), total (2), bytes */
const BLOB_CHUNK_WORDS = 8;
/** lease (2), output, offset (2), total (2), bytes */
const RESULT_CHUNK_WORDS = 8;
/** Bits in the detail of a unit that is `ok`. */
const OUTPUTS_AHEAD = 1;
const HAS_DIGEST = 2;

export function writeStateRef(out: WordWriter, ref: StateRef): void {
  out.natural('state id', ref.stateId);
  out.natural('state version', ref.version);
}

export function readStateRef(input: WordReader): StateRef {
  const stateId = input.natural('state id') as StateId;
  return { stateId, version: input.natural('state version') as StateVersion };
}

export function writeBlockRef(out: WordWriter, ref: BlockRef): void {
  out.natural('data id', ref.dataId);
  out.natural('block', ref.block);
}

export function readBlockRef(input: WordReader): BlockRef {
  const dataId = input.natural('data id') as DataId;
  return { dataId, block: input.natural('block') };
}

// ---------------------------------------------------------------- PROGRAM

const BYTE_DIGITS: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, '0'),
);
const HASH = new RegExp(`^[0-9a-f]{${String(2 * HASH_BYTES)}}$`);
const hashWords = new Int32Array(HASH_BYTES / 4);
const hashBytes = bytesOfWords(hashWords);

/** The hash travels as its 32 bytes in order, whatever the words around it are. */
function writeHash(out: WordWriter, hash: string): void {
  if (!HASH.test(hash)) out.refuse(`hash: expected 64 hex digits, got "${hash}"`);
  for (let i = 0; i < HASH_BYTES; i++) {
    hashBytes[i] = 16 * digitOf(hash.charCodeAt(2 * i)) + digitOf(hash.charCodeAt(2 * i + 1));
  }
  for (const word of hashWords) out.int('hash', word);
}

/** Of one of 0 … 9, a … f. */
function digitOf(charCode: number): number {
  return (charCode & 0x0f) + (charCode >= 0x61 ? 9 : 0);
}

function readHash(input: WordReader): ProgramHash {
  for (let i = 0; i < hashWords.length; i++) hashWords[i] = input.int('hash');
  let hash = '';
  for (const byte of hashBytes) hash += BYTE_DIGITS[byte] ?? '';
  return hash as ProgramHash;
}

export function writeProgramMessage(out: WordWriter, body: BodyWriter, m: ProgramMessage): void {
  out.range('program index', m.index, 0, LIMITS.programsPerConnection - 1);
  writeHash(out, m.hash);
  out.range('program bytes', body.add(m.bytes), 1, LIMITS.programBytes);
}

export function readProgramMessage(input: WordReader, body: BodyReader): ProgramMessage {
  const index = input.range('program index', 0, LIMITS.programsPerConnection - 1);
  const hash = readHash(input);
  const bytes = body.take(input.range('program bytes', 1, LIMITS.programBytes));
  return { kind: 'program', index, hash, bytes };
}

// ---------------------------------------------------------------- RUN

export function writeRun(out: WordWriter, body: BodyWriter, m: RunMessage): void {
  out.wide('execution', m.execution);
  out.range('program index', m.program, 0, LIMITS.programsPerConnection - 1);
  out.natural('lease ms', m.leaseMs);
  out.range('units', m.units.length, 1, LIMITS.unitsPerMessage);
  out.range('inputs', m.inputs.length, 0, LIMITS.programInputs);
  for (const input of m.inputs) writeRunInput(out, body, input, m.units.length);
  for (const unit of m.units) {
    out.wide('lease', unit.lease);
    out.natural('shard', unit.shard);
  }
  writeMerge(out, m.merge, m.units.length);
}

/** Zero groups say that nothing is merged. */
function writeMerge(out: WordWriter, merge: RunMerge | null, units: number): void {
  if (merge === null) {
    out.natural('groups', 0);
    return;
  }
  const { groups, sums } = merge;
  if (!isPartition(groups, units)) out.refuse(notPartition(groups.length, units));
  out.natural('groups', groups.length);
  for (const size of groups) out.natural('group size', size);
  out.range('outputs', sums.length, 1, LIMITS.programOutputs);
  for (const form of sums) out.natural('sum', SUM_FORMS.indexOf(form));
}

function readMerge(input: WordReader, units: number): RunMerge | null {
  const count = input.count('groups', units, 1);
  if (count === 0) return null;
  const groups = Array.from({ length: count }, () => input.range('group size', 1, units));
  if (!isPartition(groups, units)) input.refuse(notPartition(count, units));
  const outputs = input.count('outputs', LIMITS.programOutputs, 1);
  if (outputs === 0) input.refuse('a merge without outputs');
  const form = (): SumForm => SUM_FORMS[input.range('sum', 0, SUM_FORMS.length - 1)] ?? 'first';
  return { groups, sums: Array.from({ length: outputs }, form) };
}

/** Powers of two that add up to `units`. */
function isPartition(groups: readonly number[], units: number): boolean {
  const isEachWhole = groups.every((size) => size > 0 && (size & (size - 1)) === 0);
  return isEachWhole && groups.reduce((sum, size) => sum + size, 0) === units;
}

function notPartition(groups: number, units: number): string {
  return `${String(groups)} groups are not powers of two that add up to ${String(units)} units`;
}

export function readRun(input: WordReader, body: BodyReader): RunMessage {
  const execution = input.wide('execution') as ExecutionId;
  const program = input.range('program index', 0, LIMITS.programsPerConnection - 1);
  const leaseMs = input.natural('lease ms');
  const unitCount = input.count('units', LIMITS.unitsPerMessage, UNIT_WORDS);
  if (unitCount === 0) input.refuse('a RUN without units');
  const inputCount = input.count('inputs', LIMITS.programInputs, 1);
  const inputs: RunInput[] = [];
  for (let i = 0; i < inputCount; i++) inputs.push(readRunInput(input, body, unitCount));
  const units: RunUnit[] = [];
  for (let i = 0; i < unitCount; i++) {
    const lease = input.wide('lease') as LeaseId;
    units.push({ lease, shard: input.natural('shard') });
  }
  const merge = readMerge(input, unitCount);
  return { kind: 'run', execution, program, leaseMs, inputs, units, merge };
}

function writeGeometry(
  out: WordWriter,
  g: { dataId: DataId; dataRows: number; blockRows: number },
): void {
  out.natural('data id', g.dataId);
  out.natural('data rows', g.dataRows);
  out.range('block rows', g.blockRows, 1, LIMITS.tensorElements);
}

function readGeometry(input: WordReader): { dataId: DataId; dataRows: number; blockRows: number } {
  const dataId = input.natural('data id') as DataId;
  const dataRows = input.natural('data rows');
  return { dataId, dataRows, blockRows: input.range('block rows', 1, LIMITS.tensorElements) };
}

function writeRunInput(out: WordWriter, body: BodyWriter, input: RunInput, units: number): void {
  out.code<RunInput['kind']>('input kind', input.kind, INPUT_KINDS);
  switch (input.kind) {
    case 'state':
      writeStateRef(out, input);
      return;
    case 'rows': {
      writeGeometry(out, input);
      out.flag('per unit', input.perUnit);
      if (input.perUnit && input.indices.length % units !== 0) {
        out.refuse(`${String(input.indices.length)} row indices for ${String(units)} units`);
      }
      out.natural('row indices', input.indices.length);
      body.add([bytesOfWords(input.indices)]);
      return;
    }
    case 'data':
      writeGeometry(out, input);
      return;
    case 'inline':
      writeInline(out, body, input, units);
      return;
    case 'key':
      out.int('seed low', input.seedLow);
      out.int('seed high', input.seedHigh);
      out.int('step', input.step);
      return;
  }
}

function writeInline(
  out: WordWriter,
  body: BodyWriter,
  input: Extract<RunInput, { kind: 'inline' }>,
  units: number,
): void {
  writeType(out, input.type);
  out.flag('per unit', input.perUnit);
  const expected = input.perUnit ? units : 1;
  if (input.values.length !== expected) {
    out.refuse(`${String(input.values.length)} inline values, expected ${String(expected)}`);
  }
  const bytes = byteSizeOf(input.type);
  for (const value of input.values) {
    const given = body.add(value);
    if (given !== bytes) {
      out.refuse(`inline value of ${String(given)} bytes, its type has ${String(bytes)}`);
    }
  }
}

function readRunInput(input: WordReader, body: BodyReader, units: number): RunInput {
  const kind = input.code<RunInput['kind']>('input kind', INPUT_KINDS);
  switch (kind) {
    case 'state': {
      // Written out, here and below: an object put together by spreading takes some microseconds.
      const { stateId, version } = readStateRef(input);
      return { kind, stateId, version };
    }
    case 'rows': {
      const { dataId, dataRows, blockRows } = readGeometry(input);
      const perUnit = input.flag('per unit');
      const indices = readIndices(input, body, dataRows);
      if (perUnit && indices.length % units !== 0) {
        input.refuse(`${String(indices.length)} row indices for ${String(units)} units`);
      }
      return { kind, dataId, dataRows, blockRows, perUnit, indices };
    }
    case 'data': {
      const { dataId, dataRows, blockRows } = readGeometry(input);
      return { kind, dataId, dataRows, blockRows };
    }
    case 'inline': {
      const type = readType(input, 'inline type', 0);
      const perUnit = input.flag('per unit');
      const bytes = byteSizeOf(type);
      const values: Chunks[] = [];
      for (let i = perUnit ? units : 1; i > 0; i--) values.push(body.take(bytes));
      return { kind, type, perUnit, values };
    }
    case 'key': {
      const seedLow = input.int('seed low');
      const seedHigh = input.int('seed high');
      return { kind, seedLow, seedHigh, step: input.int('step') };
    }
  }
}

function readIndices(input: WordReader, body: BodyReader, rows: number): Int32Array {
  const count = input.range('row indices', 0, LIMITS.messageBytes / DTYPE_BYTES.int32);
  const indices = wordsOf(joinChunks(body.take(count * DTYPE_BYTES.int32)), 'row indices');
  for (const row of indices) {
    if (row < 0 || row >= rows) {
      input.refuse(`row ${String(row)} is not one of ${String(rows)} rows`);
    }
  }
  return indices;
}

// ---------------------------------------------------------------- BLOB and RESULT

interface Piece {
  readonly offsetBytes: number;
  readonly totalBytes: number;
  readonly bytes: Chunks;
}

function writePiece(out: WordWriter, body: BodyWriter, piece: Piece): void {
  out.wide('offset', piece.offsetBytes);
  out.wide('total', piece.totalBytes);
  const bytes = body.add(piece.bytes);
  out.range('piece bytes', bytes, 0, LIMITS.frameBytes);
  if (piece.totalBytes > MAX_TENSOR_BYTES || piece.offsetBytes + bytes > piece.totalBytes) {
    out.refuse(pieceOutside(piece, bytes));
  }
}

function readPiece(input: WordReader, body: BodyReader): Piece {
  const offsetBytes = input.wide('offset');
  const totalBytes = input.wide('total');
  const bytes = input.range('piece bytes', 0, LIMITS.frameBytes);
  if (totalBytes > MAX_TENSOR_BYTES || offsetBytes + bytes > totalBytes) {
    input.refuse(pieceOutside({ offsetBytes, totalBytes }, bytes));
  }
  return { offsetBytes, totalBytes, bytes: body.take(bytes) };
}

function pieceOutside(p: { offsetBytes: number; totalBytes: number }, bytes: number): string {
  const { offsetBytes, totalBytes } = p;
  return `piece ${String(offsetBytes)} + ${String(bytes)} is outside a tensor of ${String(totalBytes)} bytes (at most ${String(MAX_TENSOR_BYTES)})`;
}

export function writeBlob(out: WordWriter, body: BodyWriter, m: BlobMessage): void {
  out.range('chunks', m.chunks.length, 1, LIMITS.chunksPerMessage);
  for (const chunk of m.chunks) {
    out.code<BlobChunk['kind']>('chunk kind', chunk.kind, CHUNK_KINDS);
    if (chunk.kind === 'state') writeStateRef(out, chunk);
    else writeBlockRef(out, chunk);
    writePiece(out, body, chunk);
  }
}

export function readBlob(input: WordReader, body: BodyReader): BlobMessage {
  const count = input.count('chunks', LIMITS.chunksPerMessage, BLOB_CHUNK_WORDS);
  if (count === 0) input.refuse('a BLOB without chunks');
  const chunks: BlobChunk[] = [];
  for (let i = 0; i < count; i++) {
    const kind = input.code<BlobChunk['kind']>('chunk kind', CHUNK_KINDS);
    chunks.push(kind === 'state' ? readStateChunk(input, body) : readBlockChunk(input, body));
  }
  return { kind: 'blob', chunks };
}

function readStateChunk(input: WordReader, body: BodyReader): BlobChunk {
  const { stateId, version } = readStateRef(input);
  const { offsetBytes, totalBytes, bytes } = readPiece(input, body);
  return { kind: 'state', stateId, version, offsetBytes, totalBytes, bytes };
}

function readBlockChunk(input: WordReader, body: BodyReader): BlobChunk {
  const { dataId, block } = readBlockRef(input);
  const { offsetBytes, totalBytes, bytes } = readPiece(input, body);
  return { kind: 'block', dataId, block, offsetBytes, totalBytes, bytes };
}

export function writeResult(out: WordWriter, body: BodyWriter, m: ResultMessage): void {
  out.range('chunks', m.chunks.length, 1, LIMITS.chunksPerMessage);
  for (const chunk of m.chunks) {
    out.wide('lease', chunk.lease);
    out.range('output', chunk.output, 0, LIMITS.programOutputs - 1);
    writePiece(out, body, chunk);
  }
}

export function readResult(input: WordReader, body: BodyReader): ResultMessage {
  const count = input.count('chunks', LIMITS.chunksPerMessage, RESULT_CHUNK_WORDS);
  if (count === 0) input.refuse('a RESULT without chunks');
  const chunks: ResultChunk[] = [];
  for (let i = 0; i < count; i++) {
    const lease = input.wide('lease') as LeaseId;
    const output = input.range('output', 0, LIMITS.programOutputs - 1);
    const { offsetBytes, totalBytes, bytes } = readPiece(input, body);
    chunks.push({ lease, output, offsetBytes, totalBytes, bytes });
  }
  return { kind: 'result', chunks };
}

// ---------------------------------------------------------------- DONE

export function writeDone(out: WordWriter, body: BodyWriter, m: DoneMessage): void {
  out.wide('execution', m.execution);
  out.range('outputs', m.outputBytes.length, 0, LIMITS.programOutputs);
  for (const bytes of m.outputBytes) out.wide('output bytes', bytes);
  const errors: WireError[] = [];
  for (const unit of m.units) if (unit.status === 'failed') errorIndex(errors, unit.error);
  const errorBytes = errors.length === 0 ? 0 : body.add([encodeErrors(errors)]);
  out.natural('error bytes', errorBytes);
  out.range('units', m.units.length, 1, LIMITS.unitsPerMessage);
  for (const unit of m.units) {
    out.wide('lease', unit.lease);
    out.code('status', unit.status, UNIT_STATUSES);
    out.natural('compute µs', unit.computeUs);
    out.natural('detail', writeDetail(out, body, unit, m.outputBytes, errors));
    if (unit.status === 'ok' && unit.digest !== null) writeHash(out, unit.digest.slice(2));
  }
}

/** The word that says more about a status; outputs go to the body. */
function writeDetail(
  out: WordWriter,
  body: BodyWriter,
  unit: DoneUnit,
  outputBytes: readonly number[],
  errors: WireError[],
): number {
  switch (unit.status) {
    case 'ok': {
      const digest = unit.digest === null ? 0 : HAS_DIGEST;
      if (unit.outputs === null) return digest | OUTPUTS_AHEAD;
      if (unit.outputs.length !== outputBytes.length) {
        out.refuse(
          `${String(unit.outputs.length)} outputs, expected ${String(outputBytes.length)}`,
        );
      }
      unit.outputs.forEach((output, index) => {
        const bytes = body.add(output);
        if (bytes !== outputBytes[index]) {
          out.refuse(
            `output ${String(index)} has ${String(bytes)} bytes, expected ${String(outputBytes[index])}`,
          );
        }
      });
      return digest;
    }
    case 'nonFinite':
      if (unit.output >= outputBytes.length)
        out.refuse(`there is no output ${String(unit.output)}`);
      return unit.output;
    case 'cancelled':
      return 0;
    case 'failed':
      return errorIndex(errors, unit.error);
  }
}

export function readDone(input: WordReader, body: BodyReader): DoneMessage {
  const execution = input.wide('execution') as ExecutionId;
  const outputCount = input.count('outputs', LIMITS.programOutputs, 2);
  const outputBytes = Array.from({ length: outputCount }, () => input.wide('output bytes'));
  const errorBytes = input.range('error bytes', 0, LIMITS.controlBytes);
  const errors = errorBytes === 0 ? [] : decodeErrors(joinChunks(body.take(errorBytes)));
  const count = input.count('units', LIMITS.unitsPerMessage, DONE_UNIT_WORDS);
  if (count === 0) input.refuse('a DONE without units');
  const units: DoneUnit[] = [];
  for (let i = 0; i < count; i++) units.push(readDoneUnit(input, body, outputBytes, errors));
  return { kind: 'done', execution, outputBytes, units };
}

function readDoneUnit(
  input: WordReader,
  body: BodyReader,
  outputBytes: readonly number[],
  errors: readonly WireError[],
): DoneUnit {
  const lease = input.wide('lease') as LeaseId;
  const status = input.code('status', UNIT_STATUSES);
  const computeUs = input.natural('compute µs');
  const detail = input.natural('detail');
  switch (status) {
    case 'ok': {
      if (detail > (OUTPUTS_AHEAD | HAS_DIGEST))
        input.refuse(`detail of an ok unit is 0 … 3, got ${String(detail)}`);
      const digest = (detail & HAS_DIGEST) === 0 ? null : (`0x${readHash(input)}` as Hash32);
      const isAhead = (detail & OUTPUTS_AHEAD) !== 0;
      const outputs = isAhead ? null : outputBytes.map((bytes) => body.take(bytes));
      return { lease, computeUs, status, outputs, digest };
    }
    case 'nonFinite':
      if (detail >= outputBytes.length) input.refuse(`there is no output ${String(detail)}`);
      return { lease, computeUs, status, output: detail };
    case 'cancelled':
      if (detail !== 0) input.refuse(`detail of a cancelled unit is 0, got ${String(detail)}`);
      return { lease, computeUs, status };
    case 'failed': {
      const error = errors[detail];
      if (error === undefined) input.refuse(`there is no error ${String(detail)}`);
      return { lease, computeUs, status, error };
    }
  }
}
