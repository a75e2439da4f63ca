/**
 * @file Data tensors on disk: each is written once, when it is created, beside the loop and without a copy, and read back when
 * the engine starts again. Names are never used twice.
 */
import { open, readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DataTensor } from './dataStore.js';

/** Buffers of one gathered write; Linux takes 1,024. */
const GATHER = 256;
const PATTERN = /^data-\d+-(\d+)\.bin$/;

/** A data tensor's file. */
export interface DataFile {
  readonly name: string;
  /** Resolves when it is whole, and on the disk itself if `isSynced`; rejects with the file system's error. */
  ready(isSynced: boolean): Promise<void>;
}

export class DataFiles {
  private readonly folder: string;
  private readonly stored = new WeakMap<DataTensor, DataFile>();
  private serial: number;

  /** @param serial no file of an earlier life has it in its name. */
  constructor(folder: string, serial: number) {
    this.folder = folder;
    this.serial = serial;
  }

  /** The file of a tensor, which starts to be written now if it is not written yet. */
  fileOf(tensor: DataTensor, blocks: () => readonly (readonly Uint8Array[])[]): DataFile {
    const known = this.stored.get(tensor);
    if (known !== undefined) return known;
    const name = `data-${String(tensor.dataId)}-${String(this.serial++)}.bin`;
    const written = this.write(name, blocks());
    // Whoever needs it asks `ready`; the next one who does gets a new try.
    written.catch(() => this.stored.delete(tensor));
    return this.remember(tensor, name, written);
  }

  /** A tensor that was read back from its file. */
  adopt(tensor: DataTensor, name: string): void {
    this.remember(tensor, name, Promise.resolve());
  }

  /** Whole content of a file, in frames that can be sent on. */
  async read(file: string, sizeBytes: number): Promise<Uint8Array> {
    if (!PATTERN.test(file)) throw new Error(`${file} is no name of a data file`);
    const bytes = await readFile(join(this.folder, file));
    if (bytes.byteLength !== sizeBytes) {
      throw new Error(
        `${file} has ${String(bytes.byteLength)} bytes, the journal says ${String(sizeBytes)}`,
      );
    }
    return bytes;
  }

  /** Removes every data file that is none of `kept`. */
  async sweep(kept: ReadonlySet<string>): Promise<void> {
    const { serial } = this;
    for (const file of await readdir(this.folder)) {
      const number = Number(PATTERN.exec(file)?.[1] ?? Infinity);
      // Those that came to be since belong to images in the making.
      if (number < serial && !kept.has(file)) await rm(join(this.folder, file), { force: true });
    }
  }

  private remember(tensor: DataTensor, name: string, written: Promise<void>): DataFile {
    let synced: Promise<void> | null = null;
    const file: DataFile = {
      name,
      ready: async (isSynced) => {
        await written;
        if (!isSynced) return;
        synced ??= this.sync(name);
        await synced;
      },
    };
    this.stored.set(tensor, file);
    return file;
  }

  private async write(file: string, blocks: readonly (readonly Uint8Array[])[]): Promise<void> {
    const path = join(this.folder, file);
    const frames = blocks.flat();
    const handle = await open(path, 'wx', 0o600);
    try {
      for (let at = 0; at < frames.length; at += GATHER) {
        await writeWhole(handle, frames.slice(at, at + GATHER));
      }
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
  }

  private async sync(file: string): Promise<void> {
    const handle = await open(join(this.folder, file), 'r+');
    try {
      await handle.datasync();
    } finally {
      await handle.close();
    }
  }
}

/** A gathered write may take less than all of it. */
async function writeWhole(
  handle: Awaited<ReturnType<typeof open>>,
  frames: Uint8Array[],
): Promise<void> {
  let left = frames;
  while (left.length > 0) {
    let { bytesWritten } = await handle.writev(left);
    while (left[0] !== undefined && bytesWritten >= left[0].byteLength) {
      bytesWritten -= left[0].byteLength;
      left = left.slice(1);
    }
    if (left[0] !== undefined && bytesWritten > 0) {
      left = [left[0].subarray(bytesWritten), ...left.slice(1)];
    }
  }
}
