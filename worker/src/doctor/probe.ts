/** @file One backend tried out in this process: whether it starts, on what, how fast. What comes of it is choose.ts's business. */
import { totalmem } from 'node:os';
import type { BackendName } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import { measureBandwidth, measureGflops } from '../compute/benchmark.js';
import { BACKEND_TABLE } from '../compute/backendTable.js';
import { openBackend } from '../compute/openBackend.js';

const US_PER_MS = 1000;

export interface Speed {
  /** Float32 matrix product. */
  readonly gflops: number;
  /** Memory traffic of elementwise ops. */
  readonly gigabytesPerSecond: number;
}

export type Probe =
  | {
      readonly isAvailable: true;
      readonly name: BackendName;
      readonly deviceName: string;
      readonly version: string;
      readonly isSoftware: boolean;
      readonly memoryBytes: number;
      /** Null when it was not asked for. */
      readonly speed: Speed | null;
    }
  | { readonly isAvailable: false; readonly name: BackendName; readonly reason: string };

export interface ProbeOptions {
  readonly threads: number;
  readonly isMeasured: boolean;
}

/** Never throws: a backend that does not start is an answer. */
export async function probeHere(
  name: BackendName,
  { threads, isMeasured }: ProbeOptions,
): Promise<Probe> {
  try {
    const backend = await openBackend(name, { threads });
    const nowUs = (): number => performance.now() * US_PER_MS;
    const { deviceName, version, isSoftware = false } = backend;
    const speed = isMeasured
      ? {
          gflops: measureGflops(backend, nowUs),
          gigabytesPerSecond: measureBandwidth(backend, nowUs),
        }
      : null;
    const { addressableBytes } = BACKEND_TABLE[name];
    const memoryBytes = Math.min(totalmem(), addressableBytes ?? Infinity);
    backend.dispose();
    return { isAvailable: true, name, deviceName, version, isSoftware, memoryBytes, speed };
  } catch (error) {
    return { isAvailable: false, name, reason: reasonOf(error) };
  }
}

/** The bare reason where there is one: the report adds the remedy. */
function reasonOf(error: unknown): string {
  const known = error instanceof RavenError ? error.meta['reason'] : undefined;
  if (typeof known === 'string') return known;
  return error instanceof Error ? error.message : String(error);
}
