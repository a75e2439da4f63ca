/** @file The backends on ONNX Runtime: a program becomes one session that stays ready. Which runtime is runtime.ts's business. */
import type { BackendName, Program, TensorData, TensorType } from '@ravenlab/protocol';
import { RavenError, allocate, sizeOf, uniform, valueType } from '@ravenlab/protocol';
import type { Backend, Executable } from '../backend.js';
import type { FoldRules } from '../group/groupProgram.js';
import type { LoweredModel, ModelFeed } from './lower.js';
import { lowerProgram } from './lower.js';
import type { OnnxRuntime, OnnxSession, OnnxTensor } from './runtime.js';

export class OnnxBackend<T extends OnnxTensor> implements Backend {
  readonly name: BackendName;
  readonly version: string;
  readonly deviceName: string;
  readonly foldRules?: FoldRules;
  private readonly runtime: OnnxRuntime<T>;

  constructor(runtime: OnnxRuntime<T>) {
    this.runtime = runtime;
    if (runtime.foldRules !== undefined) this.foldRules = runtime.foldRules;
    this.name = runtime.name;
    this.version = runtime.version;
    this.deviceName = runtime.deviceName;
  }

  compile(program: Program): Executable {
    const model = lowerProgram(program, this.runtime.kernels);
    return new OnnxExecutable(program, model, this.runtime, this.createSession(model));
  }

  dispose(): void {
    // Sessions belong to their executables; the library has nothing else to give back.
  }

  private createSession(model: LoweredModel): OnnxSession<T> {
    try {
      return this.runtime.createSession(model);
    } catch (error) {
      throw failure(error, `${this.name} cannot compile the program`);
    }
  }
}

/** Puts one model input in place before a run. */
interface Slot<T> {
  fill(inputs: readonly TensorData[], feeds: Record<string, T>): void;
  /** Lets go of the arrays of the last run. */
  release(): void;
}

class OnnxExecutable<T extends OnnxTensor> implements Executable {
  private readonly runtime: OnnxRuntime<T>;
  private readonly session: OnnxSession<T>;
  private readonly slots: readonly Slot<T>[];
  private feeds: Record<string, T> = {};
  private readonly fetches: Readonly<Record<string, null>>;
  private readonly names: readonly string[];
  private readonly types: readonly TensorType[];

  constructor(
    program: Program,
    model: LoweredModel,
    runtime: OnnxRuntime<T>,
    session: OnnxSession<T>,
  ) {
    this.runtime = runtime;
    this.session = session;
    this.slots = model.feeds.map((feed) =>
      feed.kind === 'random'
        ? randomSlot(feed, runtime)
        : inputSlot(feed, valueType(program, feed.index), runtime),
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
          `${this.runtime.name}: output ${index} has ${String(data?.length)} elements, expected ${String(size)}`,
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
  private fetchInto(into: readonly TensorData[]): Readonly<Record<string, T>> {
    const tensors = this.names.map((name, index) => {
      const type = this.types[index];
      const data = into[index];
      if (type === undefined || data?.length !== sizeOf(type.shape)) {
        throw new RavenError(
          'internal',
          `${this.runtime.name}: no array of output ${index} to write into`,
          {
            fault: 'local',
          },
        );
      }
      return [name, this.runtime.tensor(type, data)] as const;
    });
    return Object.fromEntries(tensors);
  }

  private call(fetches: Readonly<Record<string, T | null>>): Readonly<Record<string, T>> {
    try {
      return this.session.run(this.feeds, fetches);
    } catch (error) {
      throw failure(error, `${this.runtime.name} failed to run the program`);
    }
  }
}

/** ONNX Runtime's sums begin at the first whole vector in memory: the same numbers at another place would have other bits. */
const ALIGN_BYTES = 16;

/** Weights come again unit after unit: the tensor made for the array seen last is kept. */
function inputSlot<T extends OnnxTensor>(
  feed: Extract<ModelFeed, { kind: 'input' }>,
  type: TensorType,
  runtime: OnnxRuntime<T>,
): Slot<T> {
  let last: TensorData | undefined;
  let moved: TensorData | undefined;
  return {
    fill(inputs, feeds) {
      let data = inputs[feed.index];
      if (data !== undefined && data.byteOffset % ALIGN_BYTES !== 0) {
        moved ??= allocate(type.dtype, data.length);
        moved.set(data);
        data = moved;
      }
      if (data === undefined || data === last) return;
      last = data;
      feeds[feed.name] = runtime.tensor(type, data);
    },
    release() {
      last = undefined;
      moved = undefined;
    },
  };
}

/** Drawn into the memory of the run before: ONNX Runtime read it then and keeps nothing. */
function randomSlot<T extends OnnxTensor>(
  feed: Extract<ModelFeed, { kind: 'random' }>,
  runtime: OnnxRuntime<T>,
): Slot<T> {
  const type = { dtype: 'float32', shape: feed.shape } as const;
  const size = sizeOf(feed.shape);
  let drawn: Float32Array | undefined;
  return {
    fill(inputs, feeds) {
      drawn ??= new Float32Array(size);
      uniform(inputs[feed.key] as Int32Array, feed.stream, size, drawn);
      feeds[feed.name] ??= runtime.tensor(type, drawn);
    },
    release() {
      drawn = undefined;
    },
  };
}

/** What ONNX Runtime said, as an error of ours; too little memory is not the program's fault. */
function failure(error: unknown, what: string): RavenError {
  if (error instanceof RavenError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const isMemory = /alloc|memory|integer overflow|shape is too large/i.test(text);
  return new RavenError(isMemory ? 'limit' : 'program', `${what}: ${text}`, {
    fault: 'local',
    retryable: isMemory,
    cause: error,
  });
}
