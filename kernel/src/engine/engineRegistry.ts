/**
 * @file Where engines are found again: an engine writes where it listens into its folder, a kernel which engine is its own under
 * the names that a restarted kernel of the same notebook has too.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { EngineId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { SOCKET_FOLDER, dataHome, engineFolder } from './engineId.js';
import { JOURNAL_FILE } from './journalMessages.js';

type Env = Readonly<Record<string, string | undefined>>;

/** A running engine. */
export interface EngineAddress {
  readonly pid: number;
  /** Path of the kernel's socket. */
  readonly endpoint: string;
}

const ADDRESS_FILE = 'engine.json';

/** Says where the engine listens. */
export function publishAddress(folder: string, address: EngineAddress): void {
  writeWhole(join(folder, ADDRESS_FILE), JSON.stringify(address));
}

/** Takes the address back, and the sockets of a life that was killed. */
export function withdrawAddress(folder: string): void {
  const address = readAddress(folder);
  if (address === null) return;
  rmSync(join(folder, ADDRESS_FILE), { force: true });
  const sockets = dirname(address.endpoint);
  if (basename(sockets).startsWith(SOCKET_FOLDER)) {
    rmSync(sockets, { recursive: true, force: true });
  }
}

export function readAddress(folder: string): EngineAddress | null {
  try {
    const value = JSON.parse(readFileSync(join(folder, ADDRESS_FILE), 'utf8')) as EngineAddress;
    const isSound = typeof value.endpoint === 'string' && Number.isInteger(value.pid);
    return isSound && value.pid > 1 ? value : null;
  } catch {
    return null;
  }
}

/** Remembers whose engine it is. */
export function rememberEngine(env: Env, keys: readonly string[], engineId: EngineId): void {
  for (const key of keys) writeWhole(keyFile(env, key), engineId);
}

/** The notebook is over. */
export function forgetEngine(env: Env, keys: readonly string[], engineId: EngineId): void {
  for (const key of keys) {
    if (readKey(env, key) === engineId) rmSync(keyFile(env, key), { force: true });
  }
}

/** Engines that kernels of these names had, if their folders are still there; the best known name first. */
export function findEngines(env: Env, keys: readonly string[]): EngineId[] {
  const found = new Set<EngineId>();
  for (const key of keys) {
    const engineId = readKey(env, key);
    if (engineId === null) continue;
    if (existsSync(join(engineFolder(engineId, env), JOURNAL_FILE))) found.add(engineId);
  }
  return [...found];
}

/**
 * Removes what engines saved for kernels that did not come back in ENGINE_LIMITS.keepSavedMs; their ledgers stay.
 * @param root folder of all engines
 */
export function sweepSaved(root: string, nowMs: number): void {
  for (const name of readdirSync(root)) {
    const folder = join(root, name);
    const journal = statSync(join(folder, JOURNAL_FILE), { throwIfNoEntry: false });
    const isOld = journal !== undefined && nowMs - journal.mtimeMs > ENGINE_LIMITS.keepSavedMs;
    if (!isOld || readAddress(folder) !== null) continue;
    removeSaved(folder);
  }
}

/** Images and data of an engine; what is in its database stays. */
export function removeSaved(folder: string): void {
  for (const file of readdirSync(folder)) {
    if (/^(image|data)-[\d-]+\.bin$/.test(file)) rmSync(join(folder, file), { force: true });
  }
}

function readKey(env: Env, key: string): EngineId | null {
  try {
    const text = readFileSync(keyFile(env, key), 'utf8');
    return /^[0-9a-f]{16}$/.test(text) ? (text as EngineId) : null;
  } catch {
    return null;
  }
}

function keyFile(env: Env, key: string): string {
  const folder = join(dataHome(env), 'kernels');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return join(folder, createHash('sha256').update(key).digest('hex').slice(0, 32));
}

/** Whole or not at all, for whoever reads it at the same time. */
function writeWhole(file: string, text: string): void {
  const draft = `${file}.${String(process.pid)}`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, file);
}
