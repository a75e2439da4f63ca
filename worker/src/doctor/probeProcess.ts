/**
 * @file Tries a backend out in a process of its own: native libraries may end it, hang in it, or not bear each other. Its
 * last line is the answer; what libraries print besides is not.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BackendName } from '@ravenlab/protocol';
import { WORKER_LIMITS } from '@ravenlab/protocol';
import type { Probe, ProbeOptions } from './probe.js';

const PROGRAM = fileURLToPath(new URL('./probeMain.js', import.meta.url));

/** Never rejects: a process that crashes is an answer. */
export function probe(name: BackendName, { threads, isMeasured }: ProbeOptions): Promise<Probe> {
  const args = [PROGRAM, name, String(threads), isMeasured ? 'measure' : ''];
  const limits = { timeout: WORKER_LIMITS.probeMs, maxBuffer: WORKER_LIMITS.probeBytes };
  return new Promise((resolve) => {
    execFile(process.execPath, args, limits, (error, stdout) => {
      const answer = lastAnswer(stdout);
      if (answer !== null) resolve(answer);
      else resolve({ isAvailable: false, name, reason: endOf(error) });
    });
  });
}

function lastAnswer(stdout: string): Probe | null {
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) return null;
  try {
    // Our own program wrote it.
    return JSON.parse(line) as Probe;
  } catch {
    return null;
  }
}

function endOf(error: Error | null): string {
  if (error === null) return 'its process ended without an answer';
  const { killed, signal, code } = error as { killed?: boolean; signal?: string; code?: unknown };
  if (killed === true) {
    return `it did not answer within ${WORKER_LIMITS.probeMs / 1000} s`;
  }
  return `its process ended with ${signal ?? `code ${String(code)}`}`;
}
