/** @file Names and folders of one engine: its random id, its data folder, its socket folder. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EngineId } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import { signFolder } from './socketOwner.js';

/** Name of a socket folder, before its random end. */
export const SOCKET_FOLDER = 'ravenlab-';

const PRIVATE = 0o700;
/** sun_path of Linux, less the terminator; macOS has 103. */
const SOCKET_PATH_MAX = 103;

export function newEngineId(): EngineId {
  return randomBytes(8).toString('hex') as EngineId;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Everything that this person's engines keep; RAVENLAB_HOME moves it. */
export function dataHome(env: Env = process.env): string {
  const home = env['RAVENLAB_HOME'];
  return home === undefined || home === '' ? join(homedir(), '.ravenlab') : home;
}

/** Folder of one engine, readable by its owner only. */
export function engineFolder(engineId: EngineId, env: Env = process.env): string {
  const folder = join(dataHome(env), 'engines', engineId);
  mkdirSync(folder, { recursive: true, mode: PRIVATE });
  chmodSync(folder, PRIVATE);
  return folder;
}

/**
 * A fresh folder for sockets: who cannot enter it cannot connect.
 * @throws RavenError when the temporary folder's path leaves no room for a socket's name.
 */
export function socketFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), SOCKET_FOLDER));
  chmodSync(folder, PRIVATE);
  signFolder(folder);
  const longest = join(folder, 'workers.sock');
  if (longest.length > SOCKET_PATH_MAX) {
    throw new RavenError(
      'internal',
      `socket path ${longest} has ${String(longest.length)} characters, at most ${String(SOCKET_PATH_MAX)} work; set TMPDIR to a shorter folder`,
      { fault: 'user' },
    );
  }
  return folder;
}
