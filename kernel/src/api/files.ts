/** @file The only door from the API to files: bounded reads, gzip, and errors that say what is there instead. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { API_LIMITS, DataError } from '@ravenlab/protocol';

/** Neighbours listed when a file is missing. */
const HINTED_FILES = 8;

/** What the folder of a missing file holds. */
function hint(path: string): string {
  const folder = dirname(path);
  try {
    const names = readdirSync(folder);
    const shown = names.slice(0, HINTED_FILES).join(', ');
    const more =
      names.length > HINTED_FILES ? ` and ${String(names.length - HINTED_FILES)} more` : '';
    return names.length === 0 ? `${folder} is empty` : `${folder} holds ${shown}${more}`;
  } catch {
    return `there is no folder ${folder}`;
  }
}

/**
 * The bytes of a file, decompressed if they are gzip. Relative paths start at the notebook's folder.
 * @param reader name of the calling function, for errors
 * @throws DataError when the file is missing, too large, not a file, or damaged gzip.
 */
export function readBytes(reader: string, path: string): Uint8Array {
  const absolute = resolve(path);
  let bytes: Uint8Array;
  try {
    const { size } = statSync(absolute);
    if (size > API_LIMITS.fileBytes) throw tooLarge(reader, path, size);
    bytes = readFileSync(absolute);
  } catch (error) {
    throw unreadable(reader, path, absolute, error);
  }
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return isGzip ? gunzip(reader, path, bytes) : bytes;
}

/** Null when there is no such file; else as `readBytes`. */
export function readBytesIfAny(reader: string, path: string): Uint8Array | null {
  return existsSync(resolve(path)) ? readBytes(reader, path) : null;
}

function unreadable(reader: string, path: string, absolute: string, error: unknown): DataError {
  if (error instanceof DataError) return error;
  // Not `instanceof Error`: errors of Node may come from another realm.
  const code =
    typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  const what =
    code === 'ENOENT'
      ? `no file '${path}' (looked at ${absolute}); ${hint(absolute)}`
      : `cannot read '${path}' (${code === '' ? String(error) : code})`;
  return new DataError(`${reader}: ${what}`, { meta: { path, absolute }, cause: error });
}

function tooLarge(reader: string, path: string, size: number): DataError {
  return new DataError(
    `${reader}: '${path}' has ${String(size)} bytes, at most ${String(API_LIMITS.fileBytes)} are read; split it into several files`,
    { meta: { path, size } },
  );
}

function gunzip(reader: string, path: string, bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: API_LIMITS.fileBytes });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DataError(
      `${reader}: '${path}' starts like gzip but does not decompress (${reason}); the file is cut short or damaged, get it again`,
      { meta: { path, bytes: bytes.length }, cause: error },
    );
  }
}

/** A UTF-8 file as text. @throws DataError like `readBytes`, and when it is not UTF-8. */
export function readText(reader: string, path: string): string {
  const bytes = readBytes(reader, path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new DataError(`${reader}: '${path}' is not UTF-8 text; convert it first`, {
      meta: { path },
      cause: error,
    });
  }
}

/**
 * Writes a file as a whole, and makes its folder: readers see the old one or the new one, and so does who starts the machine again
 * after its power failed. @throws DataError when that is not possible; the old file is still there then.
 */
export function writeBytes(writer: string, path: string, parts: readonly Uint8Array[]): void {
  const draft = new Draft(path);
  try {
    for (const part of parts) draft.append(part);
    draft.publish();
  } catch (error) {
    throw draft.discard(writer, error);
  }
}

/**
 * As `writeBytes`, of parts that come one by one; what their source throws is passed on.
 * @returns bytes that were written
 */
export async function writeParts(
  writer: string,
  path: string,
  parts: AsyncIterable<Uint8Array>,
): Promise<number> {
  const draft = new Draft(path);
  const source = parts[Symbol.asyncIterator]();
  let sizeBytes = 0;
  for (;;) {
    let next: IteratorResult<Uint8Array>;
    try {
      next = await source.next();
    } catch (error) {
      draft.discard(writer, error);
      throw error;
    }
    try {
      if (next.done === true) {
        draft.publish();
        return sizeBytes;
      }
      draft.append(next.value);
      sizeBytes += next.value.length;
    } catch (error) {
      await source.return?.();
      throw draft.discard(writer, error);
    }
  }
}

/** A file in the making, under a name of its own: two writers of one file do not meet. */
class Draft {
  private readonly path: string;
  private readonly absolute: string;
  private readonly name: string;
  private file: number | null = null;

  constructor(path: string) {
    this.path = path;
    this.absolute = resolve(path);
    this.name = `${this.absolute}.${randomBytes(6).toString('hex')}.part`;
  }

  append(part: Uint8Array): void {
    const file = this.open();
    for (let at = 0; at < part.length;) at += writeSync(file, part, at);
  }

  publish(): void {
    fsyncSync(this.open());
    this.close();
    renameSync(this.name, this.absolute);
    syncFolder(dirname(this.absolute));
  }

  /** @returns what to throw */
  discard(writer: string, error: unknown): DataError {
    this.close();
    rmSync(this.name, { force: true });
    const reason = error instanceof Error ? error.message : String(error);
    return new DataError(`${writer}: cannot write '${this.path}' (${reason})`, {
      meta: { path: this.path },
      cause: error,
    });
  }

  private open(): number {
    if (this.file !== null) return this.file;
    mkdirSync(dirname(this.absolute), { recursive: true });
    this.file = openSync(this.name, 'wx');
    return this.file;
  }

  private close(): void {
    if (this.file !== null) closeSync(this.file);
    this.file = null;
  }
}

/** The new name is on disk, too. Windows cannot open a folder and does not need to. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
