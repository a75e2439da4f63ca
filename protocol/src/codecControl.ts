/**
 * @file Rare control messages (HELLO, WELCOME, METER, ERROR, BYE and the deal's) as msgpack: bounded before it is decoded, then read
 * field by field into fresh typed objects. Nothing that moves tensors is here.
 */
import { Packr, Unpackr } from 'msgpackr';
import { DTYPES } from './dtype.js';
import type { DealMessages } from './codecDeal.js';
import { DEAL_FIELDS } from './codecDeal.js';
import type { WireError } from './errors.js';
import { ERROR_CODES, RavenError, RemoteProtocolError } from './errors.js';
import type { Branded } from './ids.js';
import { LIMITS, PANEL_LIMITS } from './limits.js';
import type {
  BlockRef,
  ByeMessage,
  ErrorMessage,
  HeldBlobs,
  HelloMessage,
  MeterMessage,
  StateRef,
  WelcomeMessage,
  WorkerCapabilities,
} from './message.js';
import { BACKENDS, BYE_REASONS } from './message.js';
import type { Fields, Reader } from './read.js';
import {
  amountOf,
  baseUnits,
  count,
  flag,
  id,
  list,
  nullable,
  oneOf,
  record,
  reject,
  text,
} from './read.js';
import { checkMsgpack } from './msgpackBounds.js';
import { addressReader } from './voucher.js';

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });

const MIN_CHUNK_BYTES = 64 * 1024;
const MAX_INT32 = 0x7fffffff;
const FAULTS = ['user', 'local', 'remote'] as const;

const hex = <T extends Branded<string, string>>(digits: number): Reader<T> => {
  const pattern = new RegExp(`^[0-9a-f]{${String(digits)}}$`);
  return (value, path) =>
    typeof value === 'string' && pattern.test(value)
      ? (value as T)
      : reject(path, `${String(digits)} lower-case hex digits`, value);
};
const branded =
  <T>(reader: Reader<number> | Reader<string>): Reader<T> =>
  (value, path) =>
    reader(value, path) as T;
const chunkSize: Reader<number> = (value, path) => {
  const bytes = count(LIMITS.frameBytes)(value, path);
  return bytes < MIN_CHUNK_BYTES
    ? reject(path, `at least ${String(MIN_CHUNK_BYTES)} bytes`, value)
    : bytes;
};
const money: Reader<bigint> = (value, path) =>
  BigInt(baseUnits(PANEL_LIMITS.amountDigits)(value, path));

const wireError = record<WireError>({
  code: oneOf(ERROR_CODES),
  message: text(LIMITS.errorChars),
  fault: oneOf(FAULTS),
  retryable: flag,
});

const stateRef = record<StateRef>({
  stateId: branded(count(MAX_INT32)),
  version: branded(count(MAX_INT32)),
});

const blockRef = record<BlockRef>({
  dataId: branded(count(MAX_INT32)),
  block: count(MAX_INT32),
});

const held = record<HeldBlobs>({
  engineId: branded(id(LIMITS.idChars)),
  programs: list(hex(LIMITS.keyHexDigits), LIMITS.heldRefs),
  states: list(stateRef, LIMITS.heldRefs),
  blocks: list(blockRef, LIMITS.heldRefs),
});

const capabilities = record<WorkerCapabilities>({
  backend: oneOf(BACKENDS),
  device: text(LIMITS.deviceChars),
  threads: count(LIMITS.workerThreads),
  memoryBytes: count(),
  gflops: amountOf,
  dtypes: list(oneOf(DTYPES), DTYPES.length),
  bitClass: text(LIMITS.bitClassChars),
});

/** Messages that travel as msgpack, without their `kind`. */
export interface ControlMessages extends DealMessages {
  readonly hello: HelloMessage;
  readonly welcome: WelcomeMessage;
  readonly meter: MeterMessage;
  readonly error: ErrorMessage;
  readonly bye: ByeMessage;
}
export type ControlKind = keyof ControlMessages;

/** One reader per field of every message; a missing one does not compile. */
const FIELDS: { readonly [K in ControlKind]: Fields<Omit<ControlMessages[K], 'kind'>> } = {
  hello: {
    workerId: hex(LIMITS.keyHexDigits),
    token: text(LIMITS.tokenChars),
    incarnation: count(),
    name: text(LIMITS.nameChars),
    capabilities,
    payee: nullable(addressReader),
    held: nullable(held),
  },
  welcome: {
    engineId: branded(id(LIMITS.idChars)),
    workerId: hex(LIMITS.keyHexDigits),
    shortId: id(LIMITS.idChars),
    heartbeatMs: count(MAX_INT32),
    timeoutMs: count(MAX_INT32),
    creditWindowBytes: count(),
    chunkBytes: chunkSize,
    price: text(LIMITS.priceChars),
  },
  meter: { committedUnits: count(), earnedUnits: money },
  error: { error: wireError },
  bye: { reason: oneOf(BYE_REASONS), message: text(LIMITS.errorChars) },
  ...DEAL_FIELDS,
};

const READERS = Object.fromEntries(
  Object.entries(FIELDS).map(([kind, fields]) => [
    kind,
    record(fields as Fields<Record<string, unknown>>),
  ]),
) as Readonly<Record<ControlKind, Reader<Record<string, unknown>>>>;

/** @throws RavenError `limit` when a field or the whole is out of bounds: the sender checks what the receiver would refuse. */
export function encodeControl<K extends ControlKind>(
  kind: K,
  message: ControlMessages[K],
): Uint8Array {
  const fields = message as unknown as Readonly<Record<string, unknown>>;
  const plain: Record<string, unknown> = {};
  for (const name of Object.keys(fields)) {
    if (name !== 'kind') plain[name] = plainOf(fields[name]);
  }
  return packChecked(kind, plain, READERS[kind]);
}

/** The value with money as decimal text, at any depth, because msgpack has no number for it; a copy only where there is some. */
function plainOf(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map(plainOf);
    return items.some((item, index) => item !== value[index]) ? items : value;
  }
  const fields = value as Readonly<Record<string, unknown>>;
  let copy: Record<string, unknown> | null = null;
  for (const name of Object.keys(fields)) {
    const plain = plainOf(fields[name]);
    if (plain === fields[name]) continue;
    copy ??= { ...fields };
    copy[name] = plain;
  }
  return copy ?? value;
}

/** @throws RemoteProtocolError */
export function decodeControl<K extends ControlKind>(
  kind: K,
  bytes: Uint8Array,
): ControlMessages[K] {
  return readControl(kind, unpack(kind, bytes));
}

function readControl<K extends ControlKind>(kind: K, value: unknown): ControlMessages[K] {
  return { kind, ...READERS[kind](value, kind) } as unknown as ControlMessages[K];
}

const wireErrors = list(wireError, LIMITS.errorsPerMessage);

/** Errors of a DONE. Long texts are cut: the code is the contract, the text is for people. */
export function encodeErrors(errors: readonly WireError[]): Uint8Array {
  const plain = errors.map(({ code, message, fault, retryable }) => ({
    code,
    message: message.slice(0, LIMITS.errorChars),
    fault,
    retryable,
  }));
  return packChecked('errors', plain, wireErrors);
}

/** Index of an equal error in `errors`, which grows to its limit; errors beyond it are told as the last one. */
export function errorIndex(errors: WireError[], error: WireError): number {
  const known = errors.findIndex(
    (other) =>
      other.code === error.code &&
      other.message === error.message &&
      other.fault === error.fault &&
      other.retryable === error.retryable,
  );
  if (known >= 0) return known;
  if (errors.length < LIMITS.errorsPerMessage) errors.push(error);
  return errors.length - 1;
}

/** @throws RemoteProtocolError */
export function decodeErrors(bytes: Uint8Array): readonly WireError[] {
  return wireErrors(unpack('errors', bytes), 'errors');
}

function packChecked(what: string, plain: unknown, read: Reader<unknown>): Uint8Array {
  try {
    read(plain, what);
    // A fresh copy: the packer hands out views of a pool that it may reuse.
    const packed: unknown = packr.pack(plain);
    const bytes = new Uint8Array(packed as Uint8Array);
    checkMsgpack(what, bytes);
    return bytes;
  } catch (error) {
    if (!(error instanceof RemoteProtocolError)) throw error;
    throw new RavenError('limit', error.message, { fault: 'local', cause: error });
  }
}

function unpack(what: string, bytes: Uint8Array): unknown {
  checkMsgpack(what, bytes);
  try {
    return unpackr.unpack(bytes) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new RemoteProtocolError(`${what}: not msgpack: ${reason}`);
  }
}
