/** @file What a worker keeps between starts: its key pair, how often it started, how fast the machine is. Owner's eyes only. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { WorkerId } from '@ravenlab/protocol';
import { RavenError, z85ToHex } from '@ravenlab/protocol';
import { curveKeyPair } from 'zeromq';

const PRIVATE_FOLDER = 0o700;
const PRIVATE_FILE = 0o600;
/** Workers of one person on one machine at the same time. */
export const IDENTITIES = 64;

export interface Identity {
  /** Hex of the public key. */
  readonly workerId: WorkerId;
  readonly publicKey: string;
  readonly secretKey: string;
  /** Starts so far, this one included. */
  readonly incarnation: number;
  /** Which of this machine's identities it is; counts from 1. */
  readonly slot: number;
  /** Lets another process of this machine use the identity. */
  release(): void;
}

/** RAVENLAB_HOME, or .ravenlab in the home folder. */
export function workerHome(): string {
  const home = process.env['RAVENLAB_HOME'];
  const base = home === undefined || home === '' ? join(homedir(), '.ravenlab') : home;
  return join(base, 'worker');
}

/** A key pair for this process only: local workers are known by their engine anyway. */
export function temporaryIdentity(): Identity {
  const { publicKey, secretKey } = curveKeyPair();
  return {
    workerId: z85ToHex(publicKey) as WorkerId,
    publicKey,
    secretKey,
    incarnation: 1,
    slot: 0,
    release: () => undefined,
  };
}

/**
 * The identity that this machine had last time. A second worker beside a running one gets an identity of its own.
 * @throws RavenError when the folder cannot be written or its file is damaged.
 */
export function persistentIdentity(home: string): Identity {
  mkdirSync(home, { recursive: true, mode: PRIVATE_FOLDER });
  for (let slot = 1; slot <= IDENTITIES; slot++) {
    const lock = join(home, `identity-${slot}.lock`);
    if (!tryLock(lock)) continue;
    const release = (): void => rmSync(lock, { force: true });
    try {
      return { ...readIdentity(join(home, `identity-${slot}.json`)), slot, release };
    } catch (error) {
      release();
      throw error;
    }
  }
  throw new RavenError('cluster', `${IDENTITIES} workers of yours run on this machine already`);
}

function tryLock(path: string): boolean {
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx', mode: PRIVATE_FILE });
    return true;
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  }
  const owner = Number(readText(path));
  if (isAlive(owner)) return false;
  // Its owner was killed. Of two that find this out at once, `wx` lets one through.
  rmSync(path, { force: true });
  return tryLock(path);
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isCode(error, 'EPERM');
  }
}

function readIdentity(path: string): Omit<Identity, 'release' | 'slot'> {
  const known = readJson(path);
  const { publicKey, secretKey, incarnation } = known ?? { ...curveKeyPair(), incarnation: 0 };
  const isWhole =
    typeof publicKey === 'string' &&
    typeof secretKey === 'string' &&
    typeof incarnation === 'number' &&
    Number.isSafeInteger(incarnation);
  if (!isWhole) {
    throw new RavenError(
      'data',
      `${path} is not a worker's identity; put back its backup, or delete it to get a new identity`,
    );
  }
  const next = { publicKey, secretKey, incarnation: incarnation + 1 };
  writeJson(path, next);
  return { ...next, workerId: z85ToHex(publicKey) as WorkerId };
}

/** Speed measured earlier for this key, GFLOP/s; null when there is none. */
export function knownSpeed(home: string, key: string): number | null {
  const speed = readJson(join(home, 'speeds.json'))?.[key];
  return typeof speed === 'number' && speed > 0 ? speed : null;
}

/** Best effort: a speed that is not written is measured again. */
export function rememberSpeed(home: string, key: string, gflops: number): void {
  try {
    mkdirSync(home, { recursive: true, mode: PRIVATE_FOLDER });
    const path = join(home, 'speeds.json');
    writeJson(path, { ...readJson(path), [key]: gflops });
  } catch {
    // A read-only home is no reason not to work.
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return '';
    throw error;
  }
}

function readJson(path: string): Readonly<Record<string, unknown>> | null {
  const text = readText(path);
  if (text === '') return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' ? (value as Record<string, unknown> | null) : {};
  } catch {
    return {};
  }
}

/** Whole or not at all: a crash in between leaves the old file. */
function writeJson(path: string, value: Readonly<Record<string, unknown>>): void {
  const draft = `${path}.${process.pid}.tmp`;
  writeFileSync(draft, `${JSON.stringify(value, null, 2)}\n`, { mode: PRIVATE_FILE });
  renameSync(draft, path);
}

function isCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}
