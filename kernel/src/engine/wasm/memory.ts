/** @file The few members of WebAssembly that the engine uses, typed: its declarations come with the DOM, which Node code has not. */

/** A WebAssembly memory that threads share; growing it leaves old views valid. */
export interface SharedMemory {
  readonly buffer: SharedArrayBuffer;
  /** @throws RangeError when the machine or the maximum does not allow it. */
  grow(pages: number): number;
}

interface WasmRuntime {
  readonly Memory: new (limits: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared: true;
  }) => SharedMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
}

const { WebAssembly: runtime } = globalThis as unknown as { readonly WebAssembly: WasmRuntime };

/** Pages of 64 KiB that a module with an imported memory asks for at least. */
const INITIAL_PAGES = 16;

export function createSharedMemory(maxPages: number): SharedMemory {
  return new runtime.Memory({ initial: INITIAL_PAGES, maximum: maxPages, shared: true });
}

/** Compiles and instantiates a module whose only import is the memory. */
export function instantiate(bytes: Uint8Array, memory: SharedMemory): unknown {
  return new runtime.Instance(new runtime.Module(bytes), { env: { memory } }).exports;
}
