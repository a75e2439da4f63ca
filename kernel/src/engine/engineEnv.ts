/** @file What the environment may say about an engine. */
import type { EngineId } from '@ravenlab/protocol';
import { ENGINE_LIMITS, RavenError } from '@ravenlab/protocol';
import { defaultLocalWorkers } from './localWorkers.js';

export const DEFAULT_ENGINE_HOST = '127.0.0.1';

export interface EngineEnv {
  readonly localWorkers: number;
  readonly host: string | null;
  /** Continues the ledger of an earlier engine. */
  readonly engineId: EngineId | null;
}

/** @throws RavenError naming the variable that is wrong. */
export function readEngineEnv(env: Readonly<Record<string, string | undefined>>): EngineEnv {
  const workers = env['RAVENLAB_LOCAL_WORKERS'];
  const engineId = env['RAVENLAB_ENGINE_ID'];
  const max = ENGINE_LIMITS.localWorkersMax;
  if (workers !== undefined && (!/^\d{1,4}$/.test(workers) || Number(workers) > max)) {
    throw new RavenError(
      'limit',
      `RAVENLAB_LOCAL_WORKERS is '${workers}', expected 0 … ${String(max)}`,
    );
  }
  if (engineId !== undefined && !/^[0-9a-f]{16}$/.test(engineId)) {
    throw new RavenError('cluster', `RAVENLAB_ENGINE_ID is '${engineId}', expected 16 hex digits`);
  }
  return {
    localWorkers: workers === undefined ? defaultLocalWorkers() : Number(workers),
    host: env['RAVENLAB_HOST'] ?? null,
    engineId: engineId === undefined ? null : (engineId as EngineId),
  };
}
