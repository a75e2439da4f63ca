/** @file A backend whose results come later, as those of a device do. HostedBackend makes one that blocks of it. */
import type { Program, TensorData } from '@ravenlab/protocol';

export interface AsyncExecutable {
  /** As Executable.run, but in time. One at a time: the next call comes after the last one is done. */
  run(inputs: readonly TensorData[]): Promise<TensorData[]>;
  dispose(): void;
}

export interface AsyncBackend {
  readonly deviceName: string;
  readonly version: string;
  readonly isSoftware: boolean;
  compile(program: Program): AsyncExecutable;
  dispose(): void;
}
