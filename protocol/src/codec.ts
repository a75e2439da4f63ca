/**
 * @file Messages to frames and back. Frame 0 is the header (int32 words: prefix, then fields), the others are the body.
 * Decoding answers with a value for any bytes whatever; encoding throws on what no peer would accept. RFC 1 §4.
 */
import type { ControlKind, ControlMessages } from './codecControl.js';
import { decodeControl, encodeControl } from './codecControl.js';
import { readAdvance, readKeep, writeAdvance, writeKeep } from './codecAdvance.js';
import {
  readBlob,
  readBlockRef,
  readDone,
  readProgramMessage,
  readResult,
  readRun,
  readStateRef,
  writeBlob,
  writeBlockRef,
  writeDone,
  writeProgramMessage,
  writeResult,
  writeRun,
  writeStateRef,
} from './codecWork.js';
import { RemoteProtocolError } from './errors.js';
import { BodyReader, BodyWriter, joinChunks, totalBytes } from './frames.js';
import type { DataId, ExecutionId, LeaseId } from './ids.js';
import { LIMITS } from './limits.js';
import type { EngineToWorker, WireMessage, WorkerToEngine } from './message.js';
import { WIRE_VERSION } from './message.js';
import type { Decoded } from './words.js';
import { decoded, WordReader, wordsOf, WordWriter } from './words.js';

/** 'RVNL', little-endian. */
const MAGIC = 0x4c4e5652;
/** magic, version, kind, header words, body frames, flags (0) */
const PREFIX_WORDS = 6;
const HEADER_WORDS_AT = 3;
const BODY_FRAMES_AT = 4;
const WHAT = 'malformed message';

/** Frames of one message as a socket sends and receives them. */
export type Frames = readonly Uint8Array[];

type Kind = WireMessage['kind'];
type MessageOf<K extends Kind> = Extract<WireMessage, { kind: K }>;

interface Codec<M> {
  /** Wire contract: never reused. */
  readonly code: number;
  readonly from: 'engine' | 'worker' | 'both';
  write(out: WordWriter, body: BodyWriter, message: M): void;
  /** @throws RemoteProtocolError */
  read(input: WordReader, body: BodyReader): M;
}

function control<K extends ControlKind>(
  kind: K,
  code: number,
  from: Codec<unknown>['from'],
): Codec<ControlMessages[K]> {
  return {
    code,
    from,
    write(out, body, message) {
      out.natural('control bytes', body.add([encodeControl(kind, message)]));
    },
    read(input, body) {
      const bytes = input.range('control bytes', 0, LIMITS.controlBytes);
      return decodeControl(kind, joinChunks(body.take(bytes)));
    },
  };
}

/** What says nothing but of which execution it speaks. */
function ofExecution<K extends 'making' | 'unmade'>(
  kind: K,
  code: number,
): Codec<{ readonly kind: K; readonly execution: ExecutionId }> {
  return {
    code,
    from: 'worker',
    write(out, _body, m) {
      out.wide('execution', m.execution);
    },
    read: (input) => ({ kind, execution: input.wide('execution') as ExecutionId }),
  };
}

function writeList<T>(
  out: WordWriter,
  name: string,
  items: readonly T[],
  write: (item: T) => void,
  max: number = LIMITS.refsPerMessage,
): void {
  out.range(name, items.length, 0, max);
  for (const item of items) write(item);
}

function readList<T>(
  input: WordReader,
  name: string,
  wordsEach: number,
  read: () => T,
  max: number = LIMITS.refsPerMessage,
): T[] {
  const count = input.count(name, max, wordsEach);
  return Array.from({ length: count }, read);
}

const writeProgramIndex = (out: WordWriter, index: number): void => {
  out.range('program index', index, 0, LIMITS.programsPerConnection - 1);
};
const readProgramIndex = (input: WordReader): number =>
  input.range('program index', 0, LIMITS.programsPerConnection - 1);

const need: Codec<MessageOf<'need'>> = {
  code: 17,
  from: 'worker',
  write(out, _body, m) {
    writeList(out, 'programs', m.programs, (index) => writeProgramIndex(out, index));
    writeList(out, 'states', m.states, (ref) => writeStateRef(out, ref));
    writeList(out, 'blocks', m.blocks, (ref) => writeBlockRef(out, ref));
  },
  read: (input) => ({
    kind: 'need',
    programs: readList(input, 'programs', 1, () => readProgramIndex(input)),
    states: readList(input, 'states', 2, () => readStateRef(input)),
    blocks: readList(input, 'blocks', 2, () => readBlockRef(input)),
  }),
};

const drop: Codec<MessageOf<'drop'>> = {
  code: 6,
  from: 'engine',
  write(out, _body, m) {
    writeList(out, 'programs', m.programs, (index) => writeProgramIndex(out, index));
    writeList(out, 'states', m.states, (ref) => writeStateRef(out, ref));
    writeList(out, 'data', m.data, (id) => out.natural('data id', id));
    writeList(out, 'blocks', m.blocks, (ref) => writeBlockRef(out, ref));
  },
  read: (input) => ({
    kind: 'drop',
    programs: readList(input, 'programs', 1, () => readProgramIndex(input)),
    states: readList(input, 'states', 2, () => readStateRef(input)),
    data: readList(input, 'data', 1, () => input.natural('data id') as DataId),
    blocks: readList(input, 'blocks', 2, () => readBlockRef(input)),
  }),
};

const cancel: Codec<MessageOf<'cancel'>> = {
  code: 5,
  from: 'engine',
  write(out, _body, m) {
    writeList(out, 'executions', m.executions, (id) => out.wide('execution', id));
    writeList(out, 'leases', m.leases, (id) => out.wide('lease', id));
  },
  read: (input) => ({
    kind: 'cancel',
    executions: readList(input, 'executions', 2, () => input.wide('execution') as ExecutionId),
    leases: readList(input, 'leases', 2, () => input.wide('lease') as LeaseId),
  }),
};

const ping: Codec<MessageOf<'ping'>> = {
  code: 7,
  from: 'engine',
  write(out, _body, m) {
    out.natural('seq', m.seq);
    out.wide('sent ms', m.sentMs);
  },
  read: (input) => ({ kind: 'ping', seq: input.natural('seq'), sentMs: input.wide('sent ms') }),
};

const pong: Codec<MessageOf<'pong'>> = {
  code: 21,
  from: 'worker',
  write(out, _body, m) {
    out.natural('seq', m.seq);
    out.wide('sent ms', m.sentMs);
    out.natural('queued units', m.queuedUnits);
    out.natural('busy ms', m.busyMs);
    out.wide('held bytes', m.heldBytes);
  },
  read: (input) => ({
    kind: 'pong',
    seq: input.natural('seq'),
    sentMs: input.wide('sent ms'),
    queuedUnits: input.natural('queued units'),
    busyMs: input.natural('busy ms'),
    heldBytes: input.wide('held bytes'),
  }),
};

/** One row per message kind, exhaustive by type. Engine 1 – 15, worker 16 – 31, both 32 – 47. */
const CODECS: { readonly [K in Kind]: Codec<MessageOf<K>> } = {
  welcome: control('welcome', 1, 'engine'),
  program: { code: 2, from: 'engine', write: writeProgramMessage, read: readProgramMessage },
  run: { code: 3, from: 'engine', write: writeRun, read: readRun },
  blob: { code: 4, from: 'engine', write: writeBlob, read: readBlob },
  cancel,
  drop,
  ping,
  meter: control('meter', 8, 'engine'),
  challenge: control('challenge', 9, 'engine'),
  terms: control('terms', 10, 'engine'),
  voucher: control('voucher', 11, 'engine'),
  advance: { code: 12, from: 'engine', write: writeAdvance, read: readAdvance },
  keep: { code: 13, from: 'engine', write: writeKeep, read: readKeep },
  hello: control('hello', 16, 'worker'),
  need,
  result: { code: 18, from: 'worker', write: writeResult, read: readResult },
  done: { code: 19, from: 'worker', write: writeDone, read: readDone },
  credit: {
    code: 20,
    from: 'worker',
    write(out, _body, m) {
      out.wide('consumed bytes', m.consumedBytes);
    },
    read: (input) => ({ kind: 'credit', consumedBytes: input.wide('consumed bytes') }),
  },
  pong,
  identify: control('identify', 22, 'worker'),
  accept: control('accept', 23, 'worker'),
  voucherAck: control('voucherAck', 24, 'worker'),
  presented: control('presented', 25, 'worker'),
  making: ofExecution('making', 26),
  unmade: ofExecution('unmade', 27),
  error: control('error', 32, 'both'),
  bye: control('bye', 33, 'both'),
};

function byCode(sender: 'engine' | 'worker'): ReadonlyMap<number, Codec<WireMessage>> {
  const codecs = Object.values(CODECS) as unknown as readonly Codec<WireMessage>[];
  const spoken = codecs.filter(({ from }) => from === sender || from === 'both');
  return new Map(spoken.map((codec) => [codec.code, codec]));
}

const FROM_ENGINE = byCode('engine');
const FROM_WORKER = byCode('worker');

/** Bytes of all frames: what counts against credit. */
export const messageBytes: (frames: Frames) => number = totalBytes;

/**
 * Frames of a message of the engine. Large tensors are views of the caller's memory: it must not change until the worker
 * has answered.
 * @throws RavenError `limit` when no worker would accept it
 */
export function encodeEngineMessage(message: EngineToWorker): Uint8Array[] {
  return encode(message);
}

/** Frames of a message of a worker, under the same rules. */
export function encodeWorkerMessage(message: WorkerToEngine): Uint8Array[] {
  return encode(message);
}

/** What the engine said; tensors are views of `frames`. Never throws, whatever the bytes. */
export function decodeEngineMessage(frames: Frames): Decoded<EngineToWorker> {
  return decoded(() => decode(frames, FROM_ENGINE) as EngineToWorker);
}

/** What a worker said; tensors are views of `frames`. Never throws, whatever the bytes. */
export function decodeWorkerMessage(frames: Frames): Decoded<WorkerToEngine> {
  return decoded(() => decode(frames, FROM_WORKER) as WorkerToEngine);
}

function encode(message: WireMessage): Uint8Array[] {
  const codec = CODECS[message.kind] as unknown as Codec<WireMessage>;
  const out = new WordWriter(message.kind, LIMITS.headerWords);
  for (const word of [MAGIC, WIRE_VERSION, codec.code, 0, 0, 0]) out.int('prefix', word);
  const body = new BodyWriter();
  codec.write(out, body, message);
  const frames = body.frames();
  if (frames.length >= LIMITS.messageFrames) {
    out.refuse(`${String(frames.length)} frames, fewer than ${String(LIMITS.messageFrames)} fit`);
  }
  out.patch(HEADER_WORDS_AT, out.length);
  out.patch(BODY_FRAMES_AT, frames.length);
  frames.unshift(out.finish());
  if (totalBytes(frames) > LIMITS.messageBytes) {
    out.refuse(
      `${String(totalBytes(frames))} bytes, at most ${String(LIMITS.messageBytes)}; send it in parts`,
    );
  }
  return frames;
}

function decode(frames: Frames, codecs: ReadonlyMap<number, Codec<WireMessage>>): WireMessage {
  const [header, ...bodyFrames] = frames;
  const input: WordReader = new WordReader(headerWords(header), WHAT);
  if (input.int('magic') !== MAGIC) input.refuse('does not start with RVNL');
  const version = input.int('version');
  if (version !== WIRE_VERSION) {
    // The meta lets the receiver answer BYE `version` instead of BYE `protocol`.
    throw new RemoteProtocolError(
      `${WHAT}: wire version ${String(version)}, this side speaks ${String(WIRE_VERSION)}; use equal releases of RavenLab`,
      { wireVersion: version },
    );
  }
  const code = input.int('kind');
  const codec = codecs.get(code);
  if (codec === undefined) input.refuse(`kind ${String(code)} is unknown or goes the other way`);
  const words = input.int('header words');
  if (words !== input.remaining + HEADER_WORDS_AT + 1) {
    input.refuse(`header of ${String(words)} words, the frame has another size`);
  }
  const bodyCount = input.range('body frames', 0, LIMITS.messageFrames - 1);
  if (bodyCount !== bodyFrames.length) {
    input.refuse(`${String(bodyCount)} body frames announced, ${String(bodyFrames.length)} came`);
  }
  if (totalBytes(frames) > LIMITS.messageBytes) {
    input.refuse(`${String(totalBytes(frames))} bytes, at most ${String(LIMITS.messageBytes)}`);
  }
  input.range('flags', 0, 0);
  const body = new BodyReader(bodyFrames, WHAT);
  const message = codec.read(input, body);
  input.end();
  body.end();
  return message;
}

/** The words of frame 0. @throws RemoteProtocolError */
function headerWords(header: Uint8Array | undefined): Int32Array {
  const bytes = header ?? new Uint8Array(0);
  if (bytes.byteLength < PREFIX_WORDS * 4 || bytes.byteLength > LIMITS.headerWords * 4) {
    new WordReader(new Int32Array(0), WHAT).refuse(
      `header of ${String(bytes.byteLength)} bytes, expected ${String(PREFIX_WORDS * 4)} … ${String(LIMITS.headerWords * 4)}`,
    );
  }
  return wordsOf(bytes, WHAT);
}
