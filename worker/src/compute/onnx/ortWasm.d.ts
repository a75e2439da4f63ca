/** @file The part of ONNX Runtime's WebAssembly build that is used: its package declares the public API only. */

declare module 'onnxruntime-web/ort-wasm-simd-threaded.mjs' {
  /** Emscripten's module. Pointers are byte offsets, 0 is none; handles are pointers. */
  export interface OrtModule {
    /** Replaced whenever memory grows, so never kept. */
    readonly HEAPU8: Uint8Array;
    readonly HEAP32: Int32Array;
    readonly HEAPU32: Uint32Array;
    stackSave(): number;
    stackAlloc(bytes: number): number;
    stackRestore(stack: number): void;
    UTF8ToString(pointer: number): string;
    stringToUTF8(text: string, pointer: number, bytes: number): void;
    lengthBytesUTF8(text: string): number;
    _malloc(bytes: number): number;
    _free(pointer: number): void;
    _OrtInit(threads: number, logLevel: number): number;
    _OrtGetLastError(code: number, message: number): number;
    _OrtCreateSessionOptions(
      optimizationLevel: number,
      enableArena: boolean,
      enableMemoryPattern: boolean,
      executionMode: number,
      enableProfiling: boolean,
      profilePrefix: number,
      logId: number,
      logLevel: number,
      logVerbosity: number,
      optimizedModelPath: number,
    ): number;
    _OrtReleaseSessionOptions(options: number): number;
    _OrtCreateSession(model: number, bytes: number, options: number): number | Promise<number>;
    _OrtReleaseSession(session: number): number;
    _OrtCreateTensor(
      type: number,
      data: number,
      bytes: number,
      dims: number,
      rank: number,
      location: number,
    ): number;
    _OrtGetTensorData(
      tensor: number,
      type: number,
      data: number,
      dims: number,
      rank: number,
    ): number;
    _OrtReleaseTensor(tensor: number): number;
    _OrtFree(pointer: number): number;
    _OrtRun(
      session: number,
      inputNames: number,
      inputs: number,
      inputCount: number,
      outputNames: number,
      outputCount: number,
      outputs: number,
      options: number,
    ): number | Promise<number>;
  }

  // As the package exports it.
  // eslint-disable-next-line no-restricted-exports
  export default function makeModule(settings: { readonly numThreads: number }): Promise<OrtModule>;
}
