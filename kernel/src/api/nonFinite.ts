/** @file Finds the op behind a NaN: runs the failed step again as a probe, with the same weights, data and keys. */
import type { EngineReply, RavenError } from '@ravenlab/protocol';
import { NumericError } from '@ravenlab/protocol';
import type { Execution } from './execution.js';
import type { Runtime } from './runtime.js';
import type { Diagnosis } from './stepQueue.js';

/** A diagnosis for errors with code `numeric`; null for all others. */
export function explainNonFinite(
  _runtime: Runtime,
  execution: Execution,
  error: RavenError,
  step: number,
): Diagnosis | null {
  if (error.code !== 'numeric') return null;
  return {
    request: { kind: 'execute', plan: execution.plan },
    explain: (_reply: EngineReply) =>
      new NumericError(`step ${String(step + 1)}: ${error.message}`),
  };
}
