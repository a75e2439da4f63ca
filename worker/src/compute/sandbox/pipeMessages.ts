/**
 * @file What the worker and its compute process say to each other, as frames: a header in JSON, then the arrays it names by
 * number. Towards the worker every field is checked: the process runs what strangers sent, and may say anything.
 */
import type { Hash32, ProgramHash, Reader, UnitStatus, WireError } from '@ravenlab/protocol';
import { ERROR_CODES, LIMITS, RemoteProtocolError, UNIT_STATUSES, read } from '@ravenlab/protocol';
import type {
  ComputeBatch,
  ComputeInput,
  ComputeReady,
  ComputeResults,
  ComputeWish,
  FromCompute,
  ToCompute,
  UnitOutcome,
} from '../computeMessages.js';

/** What the process is started with. */
export type ChildSettings = ComputeWish;

/** Said now and then: it lives, and the unit that runs now has been running for so long; 0 when idle. */
export interface Beat {
  readonly kind: 'beat';
  readonly busyMs: number;
}

export type FromChild = FromCompute | Beat;
type Frames = readonly Uint8Array[];

/** Frames are padded to a multiple of this. */
const ALIGN_BYTES = 8;

/** Arrays by their number among the frames, counting from 1: the header is frame 0. */
class Placing {
  readonly frames: Uint8Array[] = [new Uint8Array(0)];

  place({ buffer, byteOffset, byteLength }: ArrayBufferView): number {
    this.frames.push(new Uint8Array(buffer, byteOffset, byteLength));
    return this.frames.length - 1;
  }

  /** Cut into frames of at most `frameBytes`. @returns their numbers */
  placeLong(bytes: Uint8Array, frameBytes: number): number[] {
    const numbers: number[] = [];
    let at = 0;
    do {
      numbers.push(this.place(bytes.subarray(at, at + frameBytes)));
      at += frameBytes;
    } while (at < bytes.byteLength);
    return numbers;
  }

  under(header: object): Uint8Array[] {
    this.frames[0] = Buffer.from(JSON.stringify(header));
    return this.frames;
  }
}

function headerOf(frames: Frames): unknown {
  const [header = new Uint8Array(0)] = frames;
  return JSON.parse(Buffer.from(header.buffer, header.byteOffset, header.byteLength).toString());
}

// ---------------------------------------------------------------- to the process

type PlacedInput =
  | (Omit<Extract<ComputeInput, { kind: 'rows' }>, 'indices'> & { readonly indices: number })
  | (Omit<Extract<ComputeInput, { kind: 'inline' }>, 'bytes'> & { readonly bytes: number })
  | Exclude<ComputeInput, { kind: 'rows' | 'inline' }>;
type PlacedBatch = Omit<ComputeBatch, 'shards' | 'inputs'> & {
  readonly shards: number;
  readonly inputs: readonly PlacedInput[];
};
type PlacedTo =
  | Exclude<ToCompute, { kind: 'batch' | 'program' | 'tensor' }>
  | { readonly kind: 'program'; readonly hash: ProgramHash; readonly bytes: number }
  | { readonly kind: 'tensor'; readonly key: string; readonly bytes: readonly number[] }
  | PlacedBatch;

/** @param frameBytes longest frame that the other side takes; longer tensors are cut */
export function encodeToChild(message: ToCompute, frameBytes: number): Uint8Array[] {
  const placing = new Placing();
  return placing.under(placed(message, placing, frameBytes));
}

function placed(message: ToCompute, placing: Placing, frameBytes: number): PlacedTo {
  switch (message.kind) {
    case 'program':
      return { ...message, bytes: placing.place(message.bytes) };
    case 'tensor':
      return { ...message, bytes: placing.placeLong(message.bytes, frameBytes) };
    case 'batch': {
      const inputs = message.inputs.map((input): PlacedInput => {
        if (input.kind === 'rows') return { ...input, indices: placing.place(input.indices) };
        if (input.kind === 'inline') return { ...input, bytes: placing.place(input.bytes) };
        return input;
      });
      return { ...message, shards: placing.place(message.shards), inputs };
    }
    default:
      return message;
  }
}

/** The message, and the buffers that can be handed on without a copy. Its sender is the worker, which is believed. */
export function decodeToChild(frames: Frames): {
  readonly message: ToCompute;
  readonly transfer: readonly ArrayBuffer[];
} {
  const header = headerOf(frames) as PlacedTo;
  const transfer: ArrayBuffer[] = [];
  const own = (...numbers: readonly number[]): Uint8Array => {
    const bytes = owned(numbers.map((number) => frames[number] ?? new Uint8Array(0)));
    transfer.push(bytes.buffer);
    return bytes;
  };
  const ints = (number: number): Int32Array => {
    const { buffer, byteLength } = own(number);
    return new Int32Array(buffer, 0, byteLength / Int32Array.BYTES_PER_ELEMENT);
  };
  switch (header.kind) {
    case 'program':
      return { message: { ...header, bytes: own(header.bytes) }, transfer };
    case 'tensor':
      return { message: { ...header, bytes: own(...header.bytes) }, transfer };
    case 'batch': {
      const inputs = header.inputs.map((input): ComputeInput => {
        if (input.kind === 'rows') return { ...input, indices: ints(input.indices) };
        if (input.kind === 'inline') return { ...input, bytes: own(input.bytes) };
        return input;
      });
      return { message: { ...header, shards: ints(header.shards), inputs }, transfer };
    }
    default:
      return { message: header, transfer };
  }
}

/** As bytes of a buffer that nothing else is in: a long frame has one already, up to its padding. */
function owned(frames: Frames): Uint8Array<ArrayBuffer> {
  const [first] = frames;
  const isAlone =
    frames.length === 1 && first !== undefined && first.byteLength >= LIMITS.packBelowBytes;
  if (
    isAlone &&
    first.byteOffset === 0 &&
    first.buffer.byteLength - first.byteLength < ALIGN_BYTES
  ) {
    return first as Uint8Array<ArrayBuffer>;
  }
  const bytes = new Uint8Array(frames.reduce((sum, frame) => sum + frame.byteLength, 0));
  let at = 0;
  for (const frame of frames) {
    bytes.set(frame, at);
    at += frame.byteLength;
  }
  return bytes;
}

// ---------------------------------------------------------------- from the process

/** Messages for it: results with more arrays than one message takes are several. */
export function encodeFromChild(message: FromChild, maxFrames: number): Uint8Array[][] {
  if (message.kind !== 'results') return [new Placing().under(message)];
  const messages: Uint8Array[][] = [];
  let placing = new Placing();
  let outcomes: object[] = [];
  const flush = (): void => {
    messages.push(placing.under({ ...message, outcomes }));
    placing = new Placing();
    outcomes = [];
  };
  for (const outcome of message.outcomes) {
    const isFull = placing.frames.length + outcome.outputs.length > maxFrames;
    if (isFull && outcomes.length > 0) flush();
    const outputs = outcome.outputs.map((output) => placing.place(output));
    outcomes.push({ ...outcome, outputs });
  }
  flush();
  return messages;
}

const isHash = (value: unknown): value is Hash32 =>
  typeof value === 'string' && /^0x[0-9a-f]{64}$/.test(value);

const ERROR: Reader<WireError> = read.record<WireError>({
  code: read.oneOf(ERROR_CODES),
  // An error of a library may be long: what is said further is cut, not refused.
  message: (value, path) => read.text(LIMITS.controlBytes)(value, path).slice(0, LIMITS.errorChars),
  fault: read.oneOf(['user', 'local', 'remote']),
  retryable: read.flag,
});

const DIGEST: Reader<Hash32 | undefined> = (value, path) =>
  value === undefined || isHash(value) ? value : read.reject(path, '32 bytes in hex', value);

interface PlacedOutcome extends Omit<UnitOutcome, 'outputs' | 'digest' | 'isAdvancing'> {
  readonly outputs: readonly number[];
  readonly digest: Hash32 | undefined;
  readonly isAdvancing: boolean | undefined;
}

const PLACED_OUTCOME = read.record<PlacedOutcome>({
  unit: read.count(LIMITS.unitsPerMessage),
  status: read.oneOf<UnitStatus>(UNIT_STATUSES),
  computeUs: read.count(),
  outputs: read.list(read.count(LIMITS.segmentsPerMessage), LIMITS.programOutputs),
  output: (value: unknown, path: string) =>
    value === -1 ? -1 : read.count(LIMITS.programOutputs)(value, path),
  error: read.nullable(ERROR),
  digest: DIGEST,
  isAdvancing: (value, path) => (value === undefined ? undefined : read.flag(value, path)),
});

type Readers = {
  readonly [K in FromChild['kind']]: (
    header: unknown,
    frames: Frames,
  ) => Extract<FromChild, { kind: K }>;
};

const BEAT = read.record<Beat>({ kind: read.oneOf(['beat']), busyMs: read.count() });
const READY = read.record<ComputeReady>({
  kind: read.oneOf(['ready']),
  deviceName: read.text(LIMITS.controlBytes),
  version: read.text(LIMITS.bitClassChars),
  gflops: read.amountOf,
});
const UNAVAILABLE = read.record<Extract<FromCompute, { kind: 'unavailable' }>>({
  kind: read.oneOf(['unavailable']),
  error: ERROR,
});
const RESULTS = read.record<{
  readonly batch: number;
  readonly outcomes: readonly PlacedOutcome[];
}>({ batch: read.count(), outcomes: read.list(PLACED_OUTCOME, LIMITS.unitsPerMessage) });

const READERS: Readers = {
  beat: (header) => BEAT(header, 'beat'),
  ready: (header) => READY(header, 'ready'),
  unavailable: (header) => UNAVAILABLE(header, 'unavailable'),
  results: (header, frames) => resultsOf(RESULTS(header, 'results'), frames),
};

function resultsOf(
  { batch, outcomes }: ReturnType<typeof RESULTS>,
  frames: Frames,
): ComputeResults {
  const arrayOf = (number: number): Uint8Array => {
    const frame = number === 0 ? undefined : frames[number];
    return frame ?? read.reject('results.outputs', 'the number of a frame', number);
  };
  return {
    kind: 'results',
    batch,
    outcomes: outcomes.map(({ digest, isAdvancing, outputs, ...rest }) => ({
      ...rest,
      ...(digest === undefined ? {} : { digest }),
      ...(isAdvancing === undefined ? {} : { isAdvancing }),
      outputs: outputs.map(arrayOf),
    })),
  };
}

/** @throws RemoteProtocolError for anything but a message of this protocol. */
export function decodeFromChild(frames: Frames): FromChild {
  let header: unknown;
  try {
    header = headerOf(frames);
  } catch {
    throw new RemoteProtocolError('the compute process sent a header that is not JSON');
  }
  const { kind } = read.objectOf(header, 'message');
  const name = read.oneOf(Object.keys(READERS) as FromChild['kind'][])(kind, 'kind');
  return READERS[name](header, frames);
}
