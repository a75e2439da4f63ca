/** @file What this machine is: cores, memory, instruction set. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import type { BackendName } from '@ravenlab/protocol';
import { WORKER_LIMITS } from '@ravenlab/protocol';

/** Instruction sets that change the order of sums in matrix kernels, widest first. */
const SIMD_FLAGS = ['avx512f', 'avx2', 'avx', 'sme', 'asimd'] as const;
const KIB = 1024;
const UNITS: Readonly<Record<string, number>> = { '': 1, k: KIB, m: KIB ** 2, g: KIB ** 3 };
const SIZE = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i;

export function defaultThreads(): number {
  return availableParallelism();
}

export function defaultMemoryBytes(): number {
  return Math.floor((totalmem() * WORKER_LIMITS.memoryPercent) / 100);
}

/** "4G", "512 MiB", "1073741824" → bytes; null when it is none of these. */
export function parseSize(text: string): number | null {
  const [, number, unit] = SIZE.exec(text.trim()) ?? [];
  const factor = unit === undefined ? undefined : UNITS[unit.toLowerCase()];
  if (number === undefined || factor === undefined) return null;
  const bytes = Math.floor(Number(number) * factor);
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null;
}

export function deviceModel(): string {
  return cpus()[0]?.model.trim() ?? process.arch;
}

/** What else the bits of a backend depend on than itself: nothing for the exact tier, which is the same everywhere. */
export function bitKind(backend: BackendName): string {
  return backend === 'onnx-wasm' ? 'any machine' : instructionSet();
}

/**
 * "linux x64 avx2": machines of the same kind round the same way. Where the instructions cannot be read, the processor's
 * name stands for them: two names that would round alike are then two kinds, which is safe.
 */
function instructionSet(): string {
  const flags = cpuFlags();
  const widest = flags.size === 0 ? deviceModel() : SIMD_FLAGS.find((flag) => flags.has(flag));
  return [process.platform, process.arch, ...(widest === undefined ? [] : [widest])].join(' ');
}

function cpuFlags(): ReadonlySet<string> {
  if (process.platform !== 'linux') return new Set();
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'));
    return new Set(line?.[1]?.trim().split(/\s+/));
  } catch {
    return new Set();
  }
}
