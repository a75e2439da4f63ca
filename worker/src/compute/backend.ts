/** @file What a compute backend is: programs in, tensors out. Knows nothing of leases, frames or sockets. */
import type { BackendName, Program, TensorData } from '@ravenlab/protocol';
import type { FoldRules } from './group/groupProgram.js';

export interface BackendOptions {
  /** Threads that one run may use; backends without threads ignore it. */
  readonly threads: number;
}

/** A program made ready to run many times. Runs on the thread that made it. */
export interface Executable {
  /**
   * Runs once.
   * @param inputs One array per program input, row-major, exactly of its size. Read only.
   * @param into Arrays of an earlier run that a backend may write the outputs into, which spares it fresh memory.
   * @returns One array per program output. The caller owns them and may transfer their buffers.
   * @throws RavenError 'program' when the backend cannot run it, 'limit' when memory is short.
   */
  run(inputs: readonly TensorData[], into?: readonly TensorData[]): TensorData[];
  /** Lets go of the input arrays of the last run, which may be kept to spare work when they come again. */
  release(): void;
  dispose(): void;
}

export interface Backend {
  readonly name: BackendName;
  /** Device as people know it, like the CPU's model name. */
  readonly deviceName: string;
  /** Version of the engine underneath, part of the promise of equal bits. */
  readonly version: string;
  /** A stand-in for a device that runs on the processor: never picked unless asked for. */
  readonly isSoftware?: boolean;
  /** What of several units may run at once without a change of bits; left out: units run one by one. */
  readonly foldRules?: FoldRules;
  /**
   * Compiles a verified program.
   * @throws RavenError 'program' naming the op that this backend cannot express.
   */
  compile(program: Program): Executable;
  dispose(): void;
}
