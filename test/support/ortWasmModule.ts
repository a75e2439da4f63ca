/** @file What jest gives for ONNX Runtime's WebAssembly: an ES module with top-level await, which suites in CommonJS cannot hold. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ImportNative } from './nativeArrays.js';

interface EsModule {
  readonly default: (settings: object) => Promise<unknown>;
}

const FILE = pathToFileURL(
  resolve(__dirname, '../../node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.mjs'),
).href;

/** The package's own factory, imported by Node outside of jest's realm. */
// The module that this stands for has a default export.
// eslint-disable-next-line no-restricted-exports
export default async function makeModule(settings: object): Promise<unknown> {
  const { importNative } = globalThis as unknown as { readonly importNative?: ImportNative };
  if (importNative === undefined) {
    throw new Error(
      'suites that run onnx-wasm need @jest-environment ./test/support/nativeArrays.ts',
    );
  }
  const module = (await importNative(FILE)) as EsModule;
  return module.default(settings);
}
