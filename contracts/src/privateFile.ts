/** @file Files that nobody else may read: written whole or not at all, and refused when their rights have been loosened. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
const OTHERS = 0o077;

const octal = (mode: number): string => `0${(mode & 0o777).toString(8)}`;

/**
 * Writes a file of the owner's alone: beside it first, forced to the disk, then renamed, so that a crash leaves the old one or the new
 * one. Rights of an existing file do not matter, because it is replaced.
 * @param options.isNew refuses to replace a file that is there
 */
export function writePrivate(
  file: string,
  text: string,
  options: { readonly isNew?: boolean } = {},
): void {
  mkdirSync(dirname(file), { recursive: true, mode: FOLDER_MODE });
  const beside = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  const fd = openSync(beside, 'wx', FILE_MODE);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  try {
    // A rename replaces what is there; a link does not.
    if (options.isNew === true) linkSync(beside, file);
    else renameSync(beside, file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    throw new ChainError(`${file} exists already and is not replaced; move it away first`, {
      fault: 'user',
      cause,
    });
  } finally {
    rmSync(beside, { force: true });
  }
  forceFolder(dirname(file));
}

/**
 * Reads a file that must be its owner's alone.
 * @param what the file is, for the message: 'keystore'
 * @throws ChainError when it is missing, too long, another user's, or open to others.
 */
export function readPrivate(file: string, what: string): string {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (cause) {
    throw new ChainError(`${what} ${file} cannot be read: ${(cause as Error).message}`, {
      fault: 'user',
      cause,
    });
  }
  try {
    const { mode, uid, size } = fstatSync(fd);
    checkOwner(file, what, { mode, uid });
    if (size > CHAIN_LIMITS.privateFileBytes) {
      throw new ChainError(
        `${what} ${file} has ${String(size)} bytes, at most ${String(CHAIN_LIMITS.privateFileBytes)} are expected: ` +
          'it is another kind of file',
        { fault: 'user' },
      );
    }
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function checkOwner(
  file: string,
  what: string,
  { mode, uid }: { readonly mode: number; readonly uid: number },
): void {
  // Windows has no such bits.
  if (process.getuid === undefined) return;
  if ((mode & OTHERS) !== 0) {
    throw new ChainError(
      `${what} ${file} can be used by others: its mode is ${octal(mode)}, expected ${octal(FILE_MODE)}. Run: ` +
        `chmod 600 '${file}'; and take what is in it for known if others have accounts on this machine`,
      { fault: 'user' },
    );
  }
  const self = process.getuid();
  if (uid !== self) {
    throw new ChainError(
      `${what} ${file} belongs to user ${String(uid)}, expected ${String(self)}, who runs this program`,
      { fault: 'user' },
    );
  }
}

/** The name is on the disk too; not every file system can do this. */
function forceFolder(folder: string): void {
  try {
    const fd = openSync(folder, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    // The content is safe; the name will be, as soon as the system writes it.
  }
}
