/**
 * @file A job's folder entry on a payee's disk: the record, replaced whole, and the receipts behind it, appended. What `save`
 * has resolved survives `kill -9` and power. One writer; readers may look at any time.
 */
import type { FileHandle } from 'node:fs/promises';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readPrivate } from '@ravenlab/contracts';
import type { JobId } from '@ravenlab/protocol';
import { RavenError, WALLET_LIMITS } from '@ravenlab/protocol';
import type { LaneRecord } from './laneRecord.js';
import { parseLaneRecord, writeLaneRecord } from './laneRecord.js';

const PRIVATE_FOLDER = 0o700;
const PRIVATE_FILE = 0o600;
const RECORD = /^0x[0-9a-f]{64}\.json$/;

/** All but how long the log is: that is the store's to know. */
export type LaneUpdate = Omit<LaneRecord, 'logBytes'>;

export class LaneStore {
  private readonly folder: string;
  private readonly job: JobId;
  private log: FileHandle;
  private logBytes: number;
  private newest: LaneRecord | null;
  private waiting: { readonly update: LaneUpdate; readonly lines: string[] } | null = null;
  private writing: Promise<void> | null = null;

  private constructor(options: {
    readonly folder: string;
    readonly job: JobId;
    readonly log: FileHandle;
    readonly logBytes: number;
    readonly record: LaneRecord | null;
  }) {
    this.folder = options.folder;
    this.job = options.job;
    this.log = options.log;
    this.logBytes = options.logBytes;
    this.newest = options.record;
  }

  /** @throws RavenError when the folder cannot be used, or what is in it is damaged or open to others. */
  static async open(folder: string, job: JobId): Promise<LaneStore> {
    await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER });
    const record = readLane(folder, job);
    const log = await open(logFile(folder, job), 'a+', PRIVATE_FILE);
    // What lies behind was written for a record that was not.
    const { size } = await log.stat();
    const logBytes = Math.min(size, record?.logBytes ?? 0);
    await log.truncate(logBytes);
    return new LaneStore({ folder, job, log, logBytes, record });
  }

  get record(): LaneRecord | null {
    return this.newest;
  }

  /**
   * Keeps the record and appends the receipts that it adds; resolves when all that was asked for until now is on the disk. While
   * one is written later ones wait together, so that a disk that is slow is not asked more often.
   */
  save(update: LaneUpdate, lines: readonly string[] = []): Promise<void> {
    const before = this.waiting?.lines ?? [];
    this.waiting = { update, lines: [...before, ...lines] };
    this.writing ??= this.write().finally(() => (this.writing = null));
    return this.writing;
  }

  async close(): Promise<void> {
    await this.writing?.catch(() => undefined);
    await this.log.close();
  }

  private async write(): Promise<void> {
    try {
      for (let next = this.waiting; next !== null; next = this.waiting) {
        this.waiting = null;
        await this.append(next.lines);
        const record = { ...next.update, logBytes: this.logBytes };
        await replaceFile(recordFile(this.folder, this.job), writeLaneRecord(record));
        this.newest = record;
      }
    } catch (cause) {
      throw new RavenError(
        'data',
        `a voucher could not be kept in ${this.folder}: ${(cause as Error).message}; make room, or check its rights`,
        { cause },
      );
    }
  }

  private async append(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    if (this.logBytes > WALLET_LIMITS.logBytes) await this.turnOver();
    const text = Buffer.from(`${lines.join('\n')}\n`, 'ascii');
    await this.log.appendFile(text);
    await this.log.datasync();
    this.logBytes += text.byteLength;
  }

  /** Keeps one older log beside the newest: receipts prove what was earned, vouchers alone are money. */
  private async turnOver(): Promise<void> {
    const file = logFile(this.folder, this.job);
    await this.log.close();
    await rename(file, `${file}.1`);
    this.log = await open(file, 'a+', PRIVATE_FILE);
    this.logBytes = 0;
  }
}

/** Null when nothing was ever kept of this job. @throws RavenError when it is damaged, or others can read it. */
export function readLane(folder: string, job: JobId): LaneRecord | null {
  const file = recordFile(folder, job);
  try {
    return parseLaneRecord(readPrivate(file, 'voucher'), file);
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Every job that a payee keeps something of; newest expiry first. */
export async function readLanes(folder: string): Promise<readonly LaneRecord[]> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw error;
  });
  const jobs = names.filter((name) => RECORD.test(name)).slice(0, WALLET_LIMITS.jobs);
  return jobs
    .flatMap((name) => readLane(folder, name.slice(0, -'.json'.length) as JobId) ?? [])
    .sort((a, b) => b.deal.expiry - a.deal.expiry);
}

export function logFile(folder: string, job: JobId): string {
  return join(folder, `${job}.receipts.csv`);
}

function recordFile(folder: string, job: JobId): string {
  return join(folder, `${job}.json`);
}

/** Whole or not at all, and on the disk when it resolves. Not `writePrivate`: this must not stop the network thread. */
async function replaceFile(file: string, text: string): Promise<void> {
  const beside = `${file}.${String(process.pid)}.tmp`;
  const draft = await open(beside, 'w', PRIVATE_FILE);
  try {
    await draft.writeFile(text);
    await draft.sync();
  } finally {
    await draft.close();
  }
  try {
    await rename(beside, file);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return (cause as NodeJS.ErrnoException).code === 'ENOENT';
}
