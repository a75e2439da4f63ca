/**
 * @file The disk below the simulated engine: a ring of image slots and a journal of transactions. A killed process loses
 * nothing that was written, but a write that it had begun is torn; a machine that loses power loses what was not forced out.
 */
import type { ImageRef } from '../../kernel/src/core/journal/journal.js';
import { IMAGE_SLOTS } from '../../kernel/src/core/journal/journal.js';
import type { PaidKey, RequestPoint } from '../../kernel/src/core/journal/paidBook.js';
import { FIRST_WEIGHT } from './values.js';

/** All that an engine needs to go on. */
export interface SimImage {
  readonly version: number;
  readonly weight: number;
  /** Name of that version on the wire. */
  readonly wire: number;
  /** Data set in use and its value. */
  readonly dataId: number;
  readonly data: number;
  /** Bit class of the run; null before it has one. */
  readonly pin: string | null;
  /** Salt of the step that made the version: where the loop is. */
  readonly bookmark: number;
}

/** What an engine begins with that never was before. */
export const FIRST_IMAGE: SimImage = {
  version: 0,
  weight: FIRST_WEIGHT,
  wire: 0,
  dataId: 0,
  data: 0,
  pin: null,
  bookmark: 0,
};

export interface SimRow extends PaidKey {
  readonly worker: string;
  readonly amount: bigint;
}

export interface Transaction {
  readonly rows: readonly SimRow[];
  readonly image: ImageRef | null;
}

interface Slot {
  image: SimImage | null;
  isSynced: boolean;
}

/** What a start finds. */
export interface Restored {
  readonly image: SimImage | null;
  readonly current: ImageRef | null;
  readonly lastSynced: ImageRef | null;
  readonly rows: readonly SimRow[];
}

export class SimDisk {
  /** Counts the starts of the machine: an image that was not forced out is good for the same start only. */
  boot = 1;
  /** Writes are refused until then. */
  fullUntilMs = 0;
  private readonly slots: Slot[] = [];
  private transactions: { readonly transaction: Transaction; readonly boot: number }[] = [];
  /** Transactions that a loss of power spares. */
  private synced = 0;
  private readonly isAnyBoot: boolean;

  /** @param isAnyBoot planted: an image that was not forced out is trusted after a loss of power. */
  constructor(isAnyBoot = false) {
    this.isAnyBoot = isAnyBoot;
    for (let slot = 0; slot < IMAGE_SLOTS; slot++)
      this.slots.push({ image: null, isSynced: false });
  }

  beginImage(slot: number): void {
    this.slots[slot] = { image: null, isSynced: false };
  }

  endImage(slot: number, image: SimImage, isSynced: boolean): void {
    this.slots[slot] = { image, isSynced };
  }

  commit(transaction: Transaction, isSynced: boolean): void {
    this.transactions.push({ transaction, boot: this.boot });
    if (isSynced) this.synced = this.transactions.length;
  }

  /** @param isWrittenBack what was not forced out happens to be on the disk all the same: of the journal, not of images. */
  losePower(isWrittenBack: boolean): void {
    this.boot++;
    if (!isWrittenBack) this.transactions = this.transactions.slice(0, this.synced);
    this.synced = this.transactions.length;
    for (const slot of this.slots) if (!slot.isSynced) slot.image = null;
  }

  /** What a cheat was paid above an image is refused. */
  refuse(worker: string): void {
    const { session, request } = this.restore().current?.point ?? { session: 0, request: 0 };
    const isRefused = (row: SimRow): boolean =>
      row.worker === worker &&
      (row.session > session || (row.session === session && row.request > request));
    this.transactions = this.transactions.map(({ transaction, boot }) => {
      const rows = transaction.rows.filter((row) => !isRefused(row));
      return { transaction: { ...transaction, rows }, boot };
    });
  }

  /** Every row, each once. @returns null when a unit of work is paid twice. */
  rows(): Map<number, SimRow> | null {
    const rows = new Map<number, SimRow>();
    for (const { transaction } of this.transactions) {
      for (const row of transaction.rows) {
        const key = rowKey(row, row.shard);
        if (rows.has(key)) return null;
        rows.set(key, row);
      }
    }
    return rows;
  }

  /** The newest image that can be trusted, and everything that was paid. */
  restore(): Restored {
    const rows: SimRow[] = [];
    let newest: { readonly image: ImageRef; readonly boot: number } | null = null;
    let lastSynced: ImageRef | null = null;
    for (const { transaction, boot } of this.transactions) {
      rows.push(...transaction.rows);
      const { image } = transaction;
      if (image === null) continue;
      newest = { image, boot };
      if (image.isSynced) lastSynced = image;
    }
    const isTrusted =
      newest !== null && (newest.image.isSynced || newest.boot === this.boot || this.isAnyBoot);
    const current = isTrusted && newest !== null ? newest.image : lastSynced;
    const image = current === null ? null : (this.slots[current.slot]?.image ?? null);
    return { image, current, lastSynced, rows };
  }
}

/** One number for a row: schedules are small. */
export function rowKey({ session, request }: RequestPoint, shard: number): number {
  return (session * 2 ** 16 + request) * 2 ** 16 + shard;
}
