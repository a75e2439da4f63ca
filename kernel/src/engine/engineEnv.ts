/** @file What the environment may say about an engine. */
import type { BackendName, EngineId } from '@ravenlab/protocol';
import { BACKENDS, ENGINE_LIMITS, RavenError } from '@ravenlab/protocol';
import type { JournalMode } from '../core/journal/journal.js';
import { defaultLocalWorkers } from './localWorkers.js';

export const DEFAULT_ENGINE_HOST = '127.0.0.1';

export interface EngineEnv {
  readonly localWorkers: number;
  /** RAVENLAB_LOCAL_BACKENDS: what local workers compute on, in turns; empty: what a worker takes by itself. */
  readonly localBackends: readonly BackendName[];
  readonly host: string | null;
  /** Continues the ledger of an earlier engine. */
  readonly engineId: EngineId | null;
  /** RAVENLAB_JOURNAL: 'cache' survives the process at once and the machine within seconds, 'sync' both at once. */
  readonly journal: JournalMode;
  /** How long an engine waits for a kernel when its own has vanished; ms. */
  readonly lingerMs: number;
  /** RAVENLAB_AUDITS=off: whoever has an invite is trusted like a worker of this machine. */
  readonly isAuditing: boolean;
}

const JOURNAL_MODES: readonly JournalMode[] = ['cache', 'sync', 'off'];
const LINGER_MAX_MS = 86_400_000;

function journalMode(text: string | undefined): JournalMode {
  const mode = JOURNAL_MODES.find((each) => each === (text ?? 'cache'));
  if (mode !== undefined) return mode;
  throw new RavenError(
    'cluster',
    `RAVENLAB_JOURNAL is '${String(text)}', expected ${JOURNAL_MODES.join(', ')}`,
  );
}

function lingerMs(text: string | undefined): number {
  if (text === undefined) return ENGINE_LIMITS.lingerMs;
  if (/^\d{1,8}$/.test(text) && Number(text) <= LINGER_MAX_MS) return Number(text);
  throw new RavenError(
    'limit',
    `RAVENLAB_LINGER_MS is '${text}', expected 0 … ${String(LINGER_MAX_MS)}`,
  );
}

function isAuditing(text: string | undefined): boolean {
  if (text === undefined || text === 'on' || text === 'off') return text !== 'off';
  throw new RavenError('cluster', `RAVENLAB_AUDITS is '${text}', expected on or off`);
}

function localBackends(text: string | undefined): readonly BackendName[] {
  const words = text === undefined || text === '' ? [] : text.split(',').map((word) => word.trim());
  return words.map((word) => {
    const name = BACKENDS.find((each) => each === word);
    if (name !== undefined) return name;
    throw new RavenError(
      'cluster',
      `RAVENLAB_LOCAL_BACKENDS names '${word}', expected some of ${BACKENDS.join(',')}, with commas between; ` +
        'npm run worker -- doctor shows which work here',
    );
  });
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
    localBackends: localBackends(env['RAVENLAB_LOCAL_BACKENDS']),
    host: env['RAVENLAB_HOST'] ?? null,
    engineId: engineId === undefined ? null : (engineId as EngineId),
    journal: journalMode(env['RAVENLAB_JOURNAL']),
    lingerMs: lingerMs(env['RAVENLAB_LINGER_MS']),
    isAuditing: isAuditing(env['RAVENLAB_AUDITS']),
  };
}
