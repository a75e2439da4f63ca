/**
 * @file Frames between the kernel and its own engine: a JSON header in which typed arrays are references to raw frames. Both
 * ends are the same release on the same machine behind a private socket, so the header is not a wire contract.
 */
import type {
  EngineReply,
  EngineRequest,
  FrameSocketOptions,
  PanelState,
  WireError,
} from '@ravenlab/protocol';
import { ENGINE_LIMITS, KERNEL_BOUNDS, RemoteProtocolError } from '@ravenlab/protocol';
import { bytesOf } from './tensorBytes.js';

/** Large data goes in row blocks, which the engine keeps as they are and sends on. */
export type KernelRequest =
  | Exclude<EngineRequest, { kind: 'createData' }>
  | (Omit<Extract<EngineRequest, { kind: 'createData' }>, 'data'> & {
      readonly blocks: readonly (readonly Uint8Array[])[];
    });

export type ToEngine =
  /** First of all: who speaks. `session` is what an earlier life of the engine called it, or 0. */
  | { readonly kind: 'hello'; readonly client: string; readonly session: number }
  | {
      readonly kind: 'request';
      /** Rises from 1 without gaps, over all lives of the engine. */
      readonly id: number;
      readonly epoch: number;
      /** The answers to all requests up to this one have been read. */
      readonly acked: number;
      /** An earlier life of the engine answered it: it succeeded, and has to again. */
      readonly isRepeat: boolean;
      readonly request: KernelRequest;
    }
  | { readonly kind: 'ack'; readonly acked: number }
  | { readonly kind: 'cancelEpoch'; readonly epoch: number }
  | { readonly kind: 'close' };

/** What the user should read: no worker for a while, a worker crashed. */
export interface Notice {
  readonly level: 'info' | 'warning' | 'error';
  readonly text: string;
}

export type ToKernel =
  | {
      readonly kind: 'welcome';
      readonly pid: number;
      /** Numbers the kernels of this engine, over all its lives. */
      readonly session: number;
      /** Requests up to this one are in the journal. */
      readonly watermark: number;
      /** Counts the lives of this engine. */
      readonly boot: number;
      /** Without a journal nothing survives the engine, and nothing need be kept for it. */
      readonly isJournaled: boolean;
    }
  /** The engine works for another kernel. */
  | { readonly kind: 'busy' }
  /** Requests up to this one need not be asked again. */
  | { readonly kind: 'durable'; readonly watermark: number }
  | { readonly kind: 'reply'; readonly id: number; readonly reply: EngineReply }
  | {
      readonly kind: 'failed';
      readonly id: number;
      readonly error: WireError;
      readonly meta: Readonly<Record<string, unknown>>;
    }
  /** What is not in the journal was found wrong: this life of the engine ends, and the next one is asked again. */
  | { readonly kind: 'rewinding' }
  | { readonly kind: 'panel'; readonly state: PanelState }
  | { readonly kind: 'notice'; readonly notice: Notice };

/** How both ends use their socket: what arrives is theirs to keep, in memory that need not be cleared. */
export const KERNEL_SOCKET: FrameSocketOptions = {
  bounds: KERNEL_BOUNDS,
  memory: 'kept',
  allocate: (sizeBytes: number) => Buffer.allocUnsafeSlow(sizeBytes),
  later: (callback: () => void) => {
    process.nextTick(callback);
  },
};

const ARRAYS = {
  f32: Float32Array,
  i32: Int32Array,
  u8: Uint8Array,
} as const;
type ArrayName = keyof typeof ARRAYS;
type WireArray = InstanceType<(typeof ARRAYS)[ArrayName]>;

/** Reference to `count` frames from `first` on that hold an array. */
interface ArrayRef {
  readonly $: ArrayName;
  readonly first: number;
  readonly count: number;
}
/** Numbers that JSON cannot say. */
interface NumberRef {
  readonly $: 'n';
  readonly text: string;
}

function nameOf(array: WireArray): ArrayName {
  if (array instanceof Float32Array) return 'f32';
  return array instanceof Int32Array ? 'i32' : 'u8';
}

/**
 * Frames of a message; long arrays are sent without a copy and must not change until answered.
 * @throws RemoteProtocolError when the receiver would refuse its header.
 */
export function encodeKernelMessage(message: ToEngine | ToKernel): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const header = Buffer.from(JSON.stringify(pack(message, frames)), 'utf8');
  checkHeader(header);
  return [header, ...frames];
}

function checkHeader({ byteLength }: Uint8Array): void {
  if (byteLength <= ENGINE_LIMITS.kernelHeaderBytes) return;
  throw new RemoteProtocolError(
    `header of a kernel message has ${String(byteLength)} bytes, at most ${String(ENGINE_LIMITS.kernelHeaderBytes)} are accepted`,
  );
}

/** What JSON can say of it; nearly all of a message is copied by nobody. */
function pack(value: unknown, frames: Uint8Array[]): unknown {
  if (typeof value === 'number') {
    const isPlain = Number.isFinite(value) && !Object.is(value, -0);
    return isPlain
      ? value
      : ({ $: 'n', text: Object.is(value, -0) ? '-0' : String(value) } satisfies NumberRef);
  }
  if (typeof value !== 'object' || value === null) return value;
  if (ArrayBuffer.isView(value)) {
    const array = value as WireArray;
    const parts = cut(bytesOf(array));
    const ref: ArrayRef = { $: nameOf(array), first: frames.length, count: parts.length };
    frames.push(...parts);
    return ref;
  }
  return Array.isArray(value) ? packArray(value, frames) : packObject(value, frames);
}

function packArray(values: readonly unknown[], frames: Uint8Array[]): readonly unknown[] {
  let packed: unknown[] | null = null;
  for (let i = 0; i < values.length; i++) {
    const item = pack(values[i], frames);
    if (item === values[i]) continue;
    packed ??= [...values];
    packed[i] = item;
  }
  return packed ?? values;
}

function packObject(value: object, frames: Uint8Array[]): object {
  const before = value as Readonly<Record<string, unknown>>;
  let packed: Record<string, unknown> | null = null;
  for (const key of Object.keys(before)) {
    const item = pack(before[key], frames);
    if (item === before[key]) continue;
    packed ??= { ...before };
    packed[key] = item;
  }
  return packed ?? value;
}

/** Nearly always one: whoever receives it needs no copy then. */
function cut(bytes: Uint8Array): Uint8Array[] {
  const { kernelFrameBytes } = ENGINE_LIMITS;
  if (bytes.byteLength <= kernelFrameBytes) return [bytes];
  const count = Math.ceil(bytes.byteLength / kernelFrameBytes);
  return Array.from({ length: count }, (_, i) =>
    bytes.subarray(i * kernelFrameBytes, (i + 1) * kernelFrameBytes),
  );
}

/**
 * The message in these frames. Arrays of one frame are views of it.
 * @throws RemoteProtocolError when the frames are not of this protocol.
 */
export function decodeKernelMessage(frames: readonly Uint8Array[]): ToEngine | ToKernel {
  const [header = new Uint8Array(0), ...body] = frames;
  checkHeader(header);
  try {
    const { buffer, byteOffset, byteLength } = header;
    const text = Buffer.from(buffer, byteOffset, byteLength).toString('utf8');
    return unpack(JSON.parse(text), body) as ToEngine | ToKernel;
  } catch (error) {
    if (error instanceof RemoteProtocolError) throw error;
    throw new RemoteProtocolError(`kernel message is not readable: ${String(error)}`);
  }
}

/** Puts arrays and numbers in their places in what was just parsed. */
function unpack(value: unknown, frames: readonly Uint8Array[]): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const items = value as unknown[];
    for (let i = 0; i < items.length; i++) items[i] = unpack(items[i], frames);
    return items;
  }
  const tag = (value as { readonly $?: unknown }).$;
  if (tag === 'n') return Number((value as NumberRef).text);
  if (typeof tag === 'string') return arrayOf(value as ArrayRef, frames);
  const parsed = value as Record<string, unknown>;
  for (const key of Object.keys(parsed)) {
    const item = unpack(parsed[key], frames);
    if (item !== parsed[key]) parsed[key] = item;
  }
  return parsed;
}

function arrayOf(ref: ArrayRef, frames: readonly Uint8Array[]): WireArray {
  const parts = frames.slice(ref.first, ref.first + ref.count);
  if (parts.length !== ref.count) throw new RemoteProtocolError('kernel message lacks frames');
  const bytes = joined(parts);
  const ctor = ARRAYS[ref.$];
  if (bytes.byteLength % ctor.BYTES_PER_ELEMENT !== 0) {
    throw new RemoteProtocolError(`${String(bytes.byteLength)} bytes are no ${ref.$} array`);
  }
  return new ctor(
    bytes.buffer as ArrayBuffer,
    bytes.byteOffset,
    bytes.byteLength / ctor.BYTES_PER_ELEMENT,
  );
}

/** One aligned array of the parts; a view when there is one aligned part. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined && only.byteOffset % 8 === 0) return only;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
