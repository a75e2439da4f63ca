/**
 * @file ONNX Runtime as WebAssembly: the runtime of onnx-wasm, the exact tier. One thread, no relaxed SIMD, mathematics
 * compiled in: the same bits on every machine, in Node and in a browser, for which this file keeps clear of node:*.
 * Called below the package's public API, whose `run` is a promise. Not for speed: about a fourth of onnx-cpu per core.
 */
import type { OrtModule } from 'onnxruntime-web/ort-wasm-simd-threaded.mjs';
import type { DType, TensorData, TensorType } from '@ravenlab/protocol';
import { DTYPES, RavenError, allocate, byteSizeOf, sizeOf } from '@ravenlab/protocol';
import type { LoweredModel } from './lower.js';
import { ONNX_TYPE, PLAIN_KERNELS } from './modelBuilder.js';
import type { OnnxRuntime, OnnxSession } from './runtime.js';

/** Of the package; its WebAssembly does not say. Held to the lock file by test/conformance/exact.test.ts. */
const VERSION = '1.30.0';
const LOG_FATAL = 4;
const OPTIMIZE_ALL = 99;
const SEQUENTIAL = 0;
const PLACED_IN_MEMORY = 1;
const POINTER_BYTES = 4;

const DTYPE_OF: ReadonlyMap<number, DType> = new Map(
  DTYPES.map((dtype) => [ONNX_TYPE[dtype], dtype] as const),
);

export interface WasmTensor {
  readonly type: TensorType;
  readonly data: TensorData;
}

/**
 * @param deviceName what runs the WebAssembly, as people know it
 * @throws Error when the module cannot be loaded or made
 */
export async function wasmRuntime(deviceName: string): Promise<OnnxRuntime<WasmTensor>> {
  const { default: makeModule } = await import('onnxruntime-web/ort-wasm-simd-threaded.mjs');
  const heap = new OrtHeap(await makeModule({ numThreads: 1 }));
  heap.check(heap.module._OrtInit(1, LOG_FATAL), 'initialisation');
  return {
    name: 'onnx-wasm',
    version: `onnxruntime-web ${VERSION}`,
    kernels: PLAIN_KERNELS,
    deviceName,
    tensor: (type, data) => ({ type, data }),
    createSession: (model) => new WasmSession(heap, model),
  };
}

/** The memory of one module, with the manners of its C API: pointers, last errors, names. */
class OrtHeap {
  readonly module: OrtModule;
  /** Why the module cannot be called any more. */
  private ending: string | null = null;

  constructor(module: OrtModule) {
    this.module = module;
  }

  /** @throws RavenError 'limit' when there is no room. */
  allocate(bytes: number): number {
    const pointer = this.module._malloc(Math.max(1, bytes)) >>> 0;
    if (pointer !== 0) return pointer;
    throw new RavenError('limit', `onnx-wasm has no ${bytes} bytes left of its 4 GiB`, {
      fault: 'local',
      retryable: true,
    });
  }

  /** Calls into the module; what is allocated on its stack is given back. */
  call<T>(body: () => T): T {
    if (this.ending !== null) throw new Error(`the WebAssembly module has ended: ${this.ending}`);
    const stack = this.module.stackSave();
    try {
      return body();
    } catch (error) {
      // A trap, or Emscripten's abort where native code would throw: nothing of the module may be called any more.
      if (error instanceof Error && error.name === 'RuntimeError') this.end(error);
      throw error;
    } finally {
      if (this.isAlive()) this.module.stackRestore(stack);
    }
  }

  private isAlive(): boolean {
    return this.ending === null;
  }

  /** Ends the thread as well, once it has answered: who runs it starts a new one. */
  private end(error: Error): void {
    this.ending = error.message;
    queueMicrotask(() => {
      throw error;
    });
  }

  check(status: number | Promise<number>, what: string): void {
    if (status !== 0) throw new Error(`${what}: ${this.lastError()}`);
  }

  private lastError(): string {
    const { module } = this;
    const at = module.stackAlloc(2 * POINTER_BYTES);
    module._OrtGetLastError(at, at + POINTER_BYTES);
    const pointer = this.pointerAt(at + POINTER_BYTES);
    return pointer === 0 ? 'no reason was given' : module.UTF8ToString(pointer);
  }

  pointerAt(address: number): number {
    return this.module.HEAPU32[address >>> 2] ?? 0;
  }

  /** Array of pointers (or of numbers as wide) on the module's stack. */
  pointers(values: readonly number[]): number {
    const address = this.module.stackAlloc(values.length * POINTER_BYTES) >>> 0;
    this.module.HEAPU32.set(values, address >>> 2);
    return address;
  }

  /** A tensor over memory of the module; ONNX Runtime copies the extents. */
  tensor({ dtype, shape }: TensorType, data: number): number {
    const handle = this.module._OrtCreateTensor(
      ONNX_TYPE[dtype],
      data,
      byteSizeOf({ dtype, shape }),
      this.pointers(shape),
      shape.length,
      PLACED_IN_MEMORY,
    );
    if (handle === 0) this.check(-1, 'making a tensor');
    return handle;
  }

  /** Zero-terminated copy; the caller frees it. */
  text(text: string): number {
    const bytes = this.module.lengthBytesUTF8(text) + 1;
    const pointer = this.allocate(bytes);
    this.module.stringToUTF8(text, pointer, bytes);
    return pointer;
  }

  write(address: number, data: ArrayBufferView): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.module.HEAPU8.set(bytes, address);
  }

  read(address: number, target: TensorData): void {
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    bytes.set(this.module.HEAPU8.subarray(address, address + bytes.byteLength));
  }
}

/** An input with memory of its own in the module, written before every run. */
interface Place {
  readonly name: number;
  readonly data: number;
  readonly tensor: number;
}

class WasmSession implements OnnxSession<WasmTensor> {
  private readonly heap: OrtHeap;
  private readonly handle: number;
  private readonly inputs = new Map<string, Place>();
  private readonly outputNames = new Map<string, number>();

  constructor(heap: OrtHeap, { bytes, fetches }: LoweredModel) {
    this.heap = heap;
    this.handle = heap.call(() => createSession(heap, bytes));
    heap.call(() => {
      for (const name of fetches) this.outputNames.set(name, heap.text(name));
    });
  }

  run(
    feeds: Readonly<Record<string, WasmTensor>>,
    fetches: Readonly<Record<string, WasmTensor | null>>,
  ): Readonly<Record<string, WasmTensor>> {
    return this.heap.call(() => this.callRun(feeds, fetches));
  }

  dispose(): void {
    this.heap.call(() => {
      const { module } = this.heap;
      for (const { name, data, tensor } of this.inputs.values()) {
        module._OrtReleaseTensor(tensor);
        module._free(data);
        module._free(name);
      }
      for (const name of this.outputNames.values()) module._free(name);
      module._OrtReleaseSession(this.handle);
    });
  }

  private callRun(
    feeds: Readonly<Record<string, WasmTensor>>,
    fetches: Readonly<Record<string, WasmTensor | null>>,
  ): Readonly<Record<string, WasmTensor>> {
    const { heap, handle } = this;
    const places = Object.entries(feeds).map(([name, tensor]) => this.place(name, tensor));
    const wanted = Object.entries(fetches);
    const results = heap.pointers(wanted.map(() => 0));
    const status = heap.module._OrtRun(
      handle,
      heap.pointers(places.map(({ name }) => name)),
      heap.pointers(places.map(({ tensor }) => tensor)),
      places.length,
      heap.pointers(wanted.map(([name]) => this.outputNames.get(name) ?? 0)),
      wanted.length,
      results,
      0,
    );
    heap.check(status, 'run');
    const outputs = wanted.map(([name, into], index) => {
      const tensor = heap.pointerAt(results + index * POINTER_BYTES);
      return [name, this.take(tensor, into)] as const;
    });
    return Object.fromEntries(outputs);
  }

  /** The array may be the same and its contents new: it is copied every time. */
  private place(name: string, { type, data }: WasmTensor): Place {
    const { heap } = this;
    let place = this.inputs.get(name);
    if (place === undefined) {
      const address = heap.allocate(data.byteLength);
      place = { name: heap.text(name), data: address, tensor: heap.tensor(type, address) };
      this.inputs.set(name, place);
    }
    heap.write(place.data, data);
    return place;
  }

  /** Copies an output out of the module and frees it there. */
  private take(tensor: number, into: WasmTensor | null): WasmTensor {
    const { heap } = this;
    const [type, data, dims, rank] = [0, 1, 2, 3].map((field) => field * POINTER_BYTES);
    const at = heap.pointers([0, 0, 0, 0]);
    const field = (offset = 0): number => at + offset;
    heap.check(
      heap.module._OrtGetTensorData(tensor, field(type), field(data), field(dims), field(rank)),
      'reading an output',
    );
    const extents = heap.pointerAt(field(dims));
    const shape = Array.from({ length: heap.pointerAt(field(rank)) }, (_, axis) =>
      heap.pointerAt(extents + axis * POINTER_BYTES),
    );
    heap.module._OrtFree(extents);
    const dtype = DTYPE_OF.get(heap.pointerAt(field(type))) ?? 'float32';
    const result = into ?? { type: { dtype, shape }, data: allocate(dtype, sizeOf(shape)) };
    heap.read(heap.pointerAt(field(data)), result.data);
    heap.module._OrtReleaseTensor(tensor);
    return result;
  }
}

/** @returns handle of the session */
function createSession(heap: OrtHeap, model: Uint8Array): number {
  const { module } = heap;
  const bytes = heap.allocate(model.byteLength);
  heap.write(bytes, model);
  const options = module._OrtCreateSessionOptions(
    OPTIMIZE_ALL,
    false, // an arena would keep what the largest program needed
    false,
    SEQUENTIAL,
    false,
    0,
    0,
    LOG_FATAL,
    0,
    0,
  );
  const session = module._OrtCreateSession(bytes, model.byteLength, options);
  module._OrtReleaseSessionOptions(options);
  module._free(bytes);
  // Other builds of the package answer with a promise.
  if (typeof session !== 'number')
    throw new Error('this build of onnxruntime-web is not synchronous');
  if (session === 0) heap.check(-1, 'making a session');
  return session;
}
