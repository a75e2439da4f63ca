/**
 * @file Test environment for suites that call native code: jest gives every suite a realm of its own, but a native library
 * makes its arrays in the main one, and ONNX Runtime then refuses them by `instanceof`. Here both realms share them, and
 * what exists as an ES module only can be imported as Node would (ortWasmModule.ts).
 */
import { TestEnvironment } from 'jest-environment-node';

/** Node's own import(): written as such, swc would make a require() of it. */
// eslint-disable-next-line @typescript-eslint/no-implied-eval
const importNative = new Function('specifier', 'return import(specifier)') as ImportNative;

export type ImportNative = (specifier: string) => Promise<unknown>;

// jest takes an environment from the default export.
// eslint-disable-next-line no-restricted-exports
export default class NativeArraysEnvironment extends TestEnvironment {
  override async setup(): Promise<void> {
    await super.setup();
    Object.assign(this.global, {
      Float32Array,
      Int32Array,
      Uint8Array,
      BigInt64Array,
      ArrayBuffer,
      importNative,
    });
  }
}
