/** @file The onnx-cpu backend: a program becomes one ONNX Runtime session that stays ready. */
import { cpus } from 'node:os';
import type { Program, TensorData, TensorType } from '@ravenlab/protocol';
import { RavenError, sizeOf, uniform, valueType } from '@ravenlab/protocol';
import type { Backend, BackendOptions, Executable } from '../backend.js';
import type { NativeSession } from './binding.js';
import { ORT_VERSION, OrtTensor, createNativeSession } from './binding.js';
import type { LoweredModel, ModelFeed } from './lower.js';
import { lowerProgram } from './lower.js';

const LOG_FATAL = 4;

export class OnnxBackend implements Backend {
  readonly name = 'onnx-cpu';
  readonly version = `onnxruntime ${ORT_VERSION}`;
  readonly deviceName: string;
  private readonly threads: number;

  constructor({ threads }: BackendOptions) {
    this.threads = threads;
    this.deviceName = cpus()[0]?.model.trim() ?? 'CPU';
  }

  compile(program: Program): Executable {
    const model = lowerProgram(program);
    return new OnnxExecutable(program, model, this.createSession(model));
  }

  dispose(): void {
    // Sessions belong to their executables; the library has nothing else to give back.
  }

  private createSession({ bytes, safeThreads }: LoweredModel): NativeSession {
    try {
      return createNativeSession(bytes, {
        executionProviders: ['cpu'],
        graphOptimizationLevel: 'all',
        executionMode: 'sequential',
        // Workers with more and with fewer threads are one bit class.
        intraOpNumThreads: Math.min(this.threads, safeThreads),
        interOpNumThreads: 1,
        // Threads that wait sleep: spinning ones take the cores from the engine and from whatever else the machine is for.
        extra: { session: { intra_op: { allow_spinning: '0' } } },
        // Errors come back as exceptions; a library that also prints them would tear the terminal view.
        logSeverityLevel: LOG_FATAL,
      });
    } catch (error) {
      throw new RavenError('program', `onnx-cpu cannot compile the program: ${textOf(error)}`, {
        fault: 'local',
        cause: error,
      });
    }
  }
}

/** Puts one model input in place before a run. */
interface Slot {
  fill(inputs: readonly TensorData[], feeds: Record<string, OrtTensor>): void;
  /** Lets go of the arrays of the last run. */
  release(): void;
}

class OnnxExecutable implements Executable {
  private readonly session: NativeSession;
  private readonly slots: readonly Slot[];
  private feeds: Record<string, OrtTensor> = {};
  private readonly fetches: Readonly<Record<string, null>>;
  private readonly names: readonly string[];
  private readonly types: readonly TensorType[];

  constructor(program: Program, model: LoweredModel, session: NativeSession) {
    this.session = session;
    this.slots = model.feeds.map((feed) =>
      feed.kind === 'random' ? randomSlot(feed) : inputSlot(feed, valueType(program, feed.index)),
    );
    this.names = model.fetches;
    this.fetches = Object.fromEntries(model.fetches.map((name) => [name, null]));
    this.types = program.outputs.map((id) => valueType(program, id));
  }

  run(inputs: readonly TensorData[], into?: readonly TensorData[]): TensorData[] {
    for (const slot of this.slots) slot.fill(inputs, this.feeds);
    const results = this.call(into === undefined ? this.fetches : this.fetchInto(into));
    return this.names.map((name, index) => {
      const data = into?.[index] ?? (results[name]?.data as TensorData | undefined);
      const size = sizeOf(this.types[index]?.shape ?? []);
      if (data?.length !== size) {
        throw new RavenError(
          'internal',
          `onnx-cpu: output ${index} has ${String(data?.length)} elements, expected ${String(size)}`,
          { fault: 'local' },
        );
      }
      return data;
    });
  }

  release(): void {
    for (const slot of this.slots) slot.release();
    this.feeds = {};
  }

  dispose(): void {
    this.release();
    this.session.dispose();
  }

  /** ONNX Runtime writes into the tensors that it is given as outputs. */
  private fetchInto(into: readonly TensorData[]): Readonly<Record<string, OrtTensor>> {
    const tensors = this.names.map((name, index) => {
      const type = this.types[index];
      const data = into[index];
      if (type === undefined || data?.length !== sizeOf(type.shape)) {
        throw new RavenError('internal', `onnx-cpu: no array of output ${index} to write into`, {
          fault: 'local',
        });
      }
      return [name, new OrtTensor(type.dtype, data as never, type.shape)] as const;
    });
    return Object.fromEntries(tensors);
  }

  private call(
    fetches: Readonly<Record<string, OrtTensor | null>>,
  ): Readonly<Record<string, OrtTensor>> {
    try {
      return this.session.run(this.feeds, fetches);
    } catch (error) {
      const text = textOf(error);
      const isMemory = /alloc|memory/i.test(text);
      throw new RavenError(
        isMemory ? 'limit' : 'program',
        `onnx-cpu failed to run the program: ${text}`,
        { fault: 'local', retryable: isMemory, cause: error },
      );
    }
  }
}

/** Weights come again unit after unit: the tensor made for the array seen last is kept. */
function inputSlot(feed: Extract<ModelFeed, { kind: 'input' }>, type: TensorType): Slot {
  let last: TensorData | undefined;
  return {
    fill(inputs, feeds) {
      const data = inputs[feed.index];
      if (data === undefined || data === last) return;
      last = data;
      feeds[feed.name] = new OrtTensor(type.dtype, data as never, type.shape);
    },
    release() {
      last = undefined;
    },
  };
}

/** Drawn into the memory of the run before: ONNX Runtime read it then and keeps nothing. */
function randomSlot(feed: Extract<ModelFeed, { kind: 'random' }>): Slot {
  const size = sizeOf(feed.shape);
  let drawn: Float32Array | undefined;
  return {
    fill(inputs, feeds) {
      drawn ??= new Float32Array(size);
      uniform(inputs[feed.key] as Int32Array, feed.stream, size, drawn);
      feeds[feed.name] ??= new OrtTensor('float32', drawn, feed.shape);
    },
    release() {
      drawn = undefined;
    },
  };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
