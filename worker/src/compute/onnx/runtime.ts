/** @file What the ONNX backends differ in: who makes tensors and runs sessions. Programs, feeds and errors are in onnxBackend.ts. */
import type { BackendName, TensorData, TensorType } from '@ravenlab/protocol';
import type { FoldRules } from '../group/groupProgram.js';
import type { LoweredModel } from './lower.js';
import type { Kernels } from './modelBuilder.js';

/** A tensor as a runtime wants it; it reads (or writes) the array in place, when it runs. */
export interface OnnxTensor {
  /** Of a type that TensorData has, when the model's output is of one of ours. */
  readonly data: unknown;
}

/** A model made ready to run. Everything blocks the calling thread. */
export interface OnnxSession<T extends OnnxTensor> {
  /** `fetches` names the outputs: null makes one, a tensor is written into. What was written into may be left out of the result. */
  run(
    feeds: Readonly<Record<string, T>>,
    fetches: Readonly<Record<string, T | null>>,
  ): Readonly<Record<string, T>>;
  dispose(): void;
}

export interface OnnxRuntime<T extends OnnxTensor> {
  readonly name: BackendName;
  readonly deviceName: string;
  readonly version: string;
  readonly kernels: Kernels;
  readonly foldRules?: FoldRules;
  tensor(type: TensorType, data: TensorData): T;
  /** @throws Error from ONNX Runtime when the model is malformed or an op is not supported. */
  createSession(model: LoweredModel): OnnxSession<T>;
}
