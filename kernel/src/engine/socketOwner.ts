/**
 * @file Whose a folder of sockets is, written into it, so that a later engine removes those of engines that were killed. Knows
 * folders and processes, not what speaks over the sockets.
 */
import { constants, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { lstat, open, opendir, readdir, rmdir, unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import { machineBootId } from './bootId.js';

/** A process for good: its number alone is another's some day, and means nothing in another container or on another machine. */
export interface SocketOwner {
  readonly pid: number;
  /** When it started, in the system's own words; '' where the system does not tell. */
  readonly startedAt: string;
  readonly host: string;
  readonly bootId: string;
  /** Among which processes its number counts; '' where there is one such set only. */
  readonly pidSpace: string;
}

const OWNER_FILE = 'owner.json';
const WORDS = ['startedAt', 'host', 'bootId', 'pidSpace'] as const;
/** Fields of /proc/<pid>/stat after the name in parentheses; the 22nd of all is the start in ticks since the boot. */
const START_FIELD = 19;
const OTHERS_MODE = 0o077;

/** This process. */
export function thisOwner(): SocketOwner {
  return {
    pid: process.pid,
    startedAt: startOf(process.pid),
    host: hostname(),
    bootId: machineBootId(),
    pidSpace: pidSpace(),
  };
}

/** Signs a folder; whoever removes it removes this too. */
export function signFolder(folder: string, owner: SocketOwner = thisOwner()): void {
  writeFileSync(join(folder, OWNER_FILE), JSON.stringify(owner), { mode: 0o600, flag: 'wx' });
}

/** That the process has ended is certain; false whenever it cannot be told from here. */
export function isOver(owner: SocketOwner, here: SocketOwner): boolean {
  if (owner.host !== here.host) return false;
  if (owner.bootId !== here.bootId) return true;
  if (owner.pidSpace !== here.pidSpace) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  const startedAt = startOf(owner.pid);
  return startedAt !== '' && owner.startedAt !== '' && startedAt !== owner.startedAt;
}

/**
 * Removes folders `<prefix>??????` of engines that are over. Only what this user owns, nobody else may enter and an engine has
 * signed is touched; links are not followed, folders inside not entered. Bounded by ENGINE_LIMITS.
 * @param root the temporary folder.
 * @returns names of the folders removed.
 */
export async function sweepSockets(root: string, prefix: string): Promise<string[]> {
  const here = thisOwner();
  const removed: string[] = [];
  let seen = 0;
  for await (const { name } of await opendir(root)) {
    if (++seen > ENGINE_LIMITS.sweepNames) break;
    if (!name.startsWith(prefix) || !/^[0-9A-Za-z]{6}$/.test(name.slice(prefix.length))) continue;
    const folder = join(root, name);
    try {
      if (await isLeftBehind(folder, here)) {
        await removeFlat(folder);
        removed.push(name);
      }
    } catch {
      // Another engine sweeps as well, or it is not as we leave it: it stays.
    }
    if (removed.length >= ENGINE_LIMITS.sweepFolders) break;
  }
  return removed;
}

async function isLeftBehind(folder: string, here: SocketOwner): Promise<boolean> {
  const stat = await lstat(folder);
  const isPrivate = stat.uid === process.getuid?.() && (stat.mode & OTHERS_MODE) === 0;
  if (!stat.isDirectory() || !isPrivate) return false;
  const owner = await readOwner(join(folder, OWNER_FILE));
  return owner !== null && isOver(owner, here);
}

/** Null when no engine wrote it. */
async function readOwner(path: string): Promise<SocketOwner | null> {
  // A pipe of that name must not hold us up.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > ENGINE_LIMITS.ownerBytes) return null;
    const value = JSON.parse(await file.readFile('utf8')) as SocketOwner | null;
    if (value === null || !Number.isInteger(value.pid) || value.pid <= 1) return null;
    return WORDS.every((word) => typeof value[word] === 'string') ? value : null;
  } finally {
    await file.close();
  }
}

/** The owner's file last: a sweep that is cut off is taken up by the next. A folder inside stops it. */
async function removeFlat(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name !== OWNER_FILE) await unlink(join(folder, name));
  }
  await unlink(join(folder, OWNER_FILE));
  await rmdir(folder);
}

function startOf(pid: number): string {
  try {
    const text = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[START_FIELD] ?? '';
  } catch {
    return '';
  }
}

function pidSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}
