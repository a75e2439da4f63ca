/**
 * @file The shell around the journal machine: its effects carried out by the journal thread, one timer at its deadline, the
 * bytes that an image needs kept until they are read. Decides nothing.
 */
import { randomBytes } from 'node:crypto';
import type { Worker } from 'node:worker_threads';
import { ENGINE_LIMITS, RavenError } from '@ravenlab/protocol';
import type {
  ImageRef,
  JournalEffect,
  JournalEvent,
  JournalMode,
  JournalState,
} from '../core/journal/journal.js';
import {
  createJournal,
  isFull,
  isSettled,
  journalDeadline,
  journalStep,
} from '../core/journal/journal.js';
import type { RequestPoint } from '../core/journal/paidBook.js';
import type {
  ImagePart,
  JournalBlob,
  JournalRecord,
  JournalRequest,
  JournalResponse,
  JournalRow,
  JournalSite,
  Restored,
} from './journalMessages.js';
import { DeadlineTimer } from './deadlineTimer.js';
import { packRows } from './ledgerBatch.js';
import type { Capture } from './snapshot.js';
import type { LogCursor, LogPage, SettlementRow, VoucherRow } from './treasury/payRows.js';
import type { SharedMemory } from './wasm/memory.js';

export interface EngineJournalOptions {
  readonly folder: string;
  readonly mode: JournalMode;
  readonly bootId: string;
  readonly memory: SharedMemory;
  /** Integer ms that never go back. */
  readonly now: () => number;
  /** The engine as it is now; called between two requests with effects. */
  readonly capture: (point: RequestPoint) => Capture & { readonly client: string };
  /** Slots and what else changes in place may change again. */
  readonly onCopied: () => void;
  readonly onDurable: (point: RequestPoint) => void;
  /** A transaction is done. */
  readonly onWritten: () => void;
  /** Vouchers and settlements are on the disk itself: they may leave. */
  readonly onStored: (rows: readonly StoredRow[]) => void;
  /** Files that images which can still be restored from need. */
  readonly onFiles: (kept: ReadonlySet<string>) => void;
  /** Work that waited for room may go on. */
  readonly onRoom: () => void;
  readonly onTrouble: (message: string) => void;
  readonly onRecovered: () => void;
  /** The thread died. */
  readonly onFatal: (error: Error) => void;
  /** Runs journalThread.js. It may be on its way yet, and is the journal's from now on. */
  readonly thread: Worker;
}

/** Rows that somebody waits for, and that have to survive the machine. */
export type StoredRow = VoucherRow | SettlementRow;

interface Waiting {
  readonly resolve: (response: JournalResponse) => void;
  readonly reject: (error: Error) => void;
}

interface Making {
  readonly ref: ImageRef;
  readonly record: JournalRecord;
  readonly capture: Capture;
}

const BOUNDS = {
  imageMs: ENGINE_LIMITS.imageMs,
  imageRest: ENGINE_LIMITS.imageRest,
  syncMs: ENGINE_LIMITS.syncMs,
  flushMs: ENGINE_LIMITS.journalMs,
  retryMs: ENGINE_LIMITS.journalRetryMs,
  rows: ENGINE_LIMITS.journalRows,
};

export class EngineJournal {
  private readonly options: EngineJournalOptions;
  private readonly thread: Worker;
  private state: JournalState<JournalRow>;
  private readonly timer: DeadlineTimer;
  private making: Making | null = null;
  private copying = false;
  private wasFull = false;
  /** Paid since the machine was last fed: it takes those of a turn of the loop at once. */
  private fresh: JournalRow[] = [];
  private readonly writtenBlobs = new Set<string>();
  private inFlightBlobs: readonly JournalBlob[] = [];
  private inFlightRows: readonly StoredRow[] = [];
  /** Files of each slot that a record names. */
  private readonly files = new Map<number, readonly string[]>();
  /** Requests outside the machine that wait for their answer. */
  private readonly waiting = new Map<JournalRequest['kind'], Waiting>();
  private onClosed: (() => void) | null = null;

  constructor(options: EngineJournalOptions) {
    this.options = options;
    this.state = createJournal(BOUNDS, options.mode);
    this.timer = new DeadlineTimer(options.now, () => {
      this.feed({ kind: 'tick' });
    });
    this.thread = options.thread;
    this.thread.on('message', (response: JournalResponse) => {
      this.take(response);
    });
    this.thread.on('error', (error) => {
      const cause = error instanceof Error ? error : new Error(String(error));
      const text = `the journal's thread crashed: ${cause.message}`;
      for (const { reject } of this.waiting.values()) reject(cause);
      options.onFatal(new RavenError('ledger', text, { fault: 'local', cause }));
    });
  }

  /**
   * Takes the folder and reads what an earlier life left. Rejects when another engine has the folder.
   * @param caught workers whose rows above the image are removed first.
   */
  async open(caught: readonly string[] = []): Promise<Restored> {
    const { folder, bootId, memory } = this.options;
    const site: JournalSite = { folder, bootId, memory };
    const response = await this.ask({ kind: 'open', site, caught });
    if (response.kind !== 'opened') throw new Error(`the journal answered ${response.kind}`);
    const { restored } = response;
    const current = restored.current?.image ?? null;
    const lastSynced = restored.lastSynced?.image ?? null;
    this.state = createJournal(BOUNDS, this.options.mode, { current, lastSynced });
    for (const { key } of restored.blobs) this.writtenBlobs.add(key);
    return restored;
  }

  /** Which images of an earlier life count, when it is not those that the journal named. */
  useImage(current: ImageRef | null, lastSynced: ImageRef | null): void {
    this.state = createJournal(BOUNDS, this.options.mode, { current, lastSynced });
  }

  /** Removes all images: only the ledger stays. */
  async forget(): Promise<void> {
    this.state = createJournal<JournalRow>(BOUNDS, 'off');
    await this.ask({ kind: 'forget' });
  }

  /** Names the files of an image that was restored. */
  keepFiles(slot: number, files: readonly string[]): void {
    this.files.set(slot, files);
  }

  /** Reads an image back. Rejects when it is not there or not whole. */
  async load(record: JournalRecord, parts: readonly ImagePart[]): Promise<void> {
    await this.ask({ kind: 'load', slot: record.image.slot, nonce: record.nonce, parts });
  }

  /** Keys of the remote access, on the disk when it resolves. */
  saveRemote(text: string): Promise<unknown> {
    return this.ask({ kind: 'remote', text });
  }

  /** Receipts that are on the disk; one page is asked for at a time. */
  async log(cursor: LogCursor | null, limit: number): Promise<LogPage> {
    const response = await this.ask({ kind: 'log', cursor, limit });
    if (response.kind !== 'log') throw new Error(`the journal answered ${response.kind}`);
    return response.page;
  }

  /** What changes in place is being copied: no update may begin. */
  get isCopying(): boolean {
    return this.copying;
  }

  /** So many rows wait for the disk that no work may be started. */
  get isFull(): boolean {
    return isFull(this.state, this.fresh.length);
  }

  /** A restart would find everything that was done so far. */
  get isSettled(): boolean {
    return isSettled(this.state);
  }

  /** What waits for the disk, for `status`. */
  lag(): { readonly rows: number; readonly imageAgeMs: number | null } {
    const { rows, inFlight, imageAtMs, current } = this.state;
    const age = this.options.now() - imageAtMs + ENGINE_LIMITS.imageMs;
    return {
      rows: this.fresh.length + rows.length + (inFlight?.rows.length ?? 0),
      imageAgeMs: current === null ? null : Math.max(0, age),
    };
  }

  /** A unit is paid; written with whatever is written next. */
  paid(row: JournalRow): void {
    if (this.fresh.push(row) > 1) return;
    queueMicrotask(() => {
      if (this.fresh.length > 0) this.feed({ kind: 'tick' });
    });
  }

  /** Rows go first: an image must never count before what was paid on the way to it. */
  feed(event: JournalEvent<JournalRow>): void {
    if (this.fresh.length > 0) {
      const rows = this.fresh;
      this.fresh = [];
      this.step({ kind: 'paid', rows });
    }
    this.step(event);
    this.timer.arm(journalDeadline(this.state));
    const isNowFull = this.isFull;
    if (this.wasFull && !isNowFull) this.options.onRoom();
    this.wasFull = isNowFull;
  }

  private step(event: JournalEvent<JournalRow>): void {
    const effects = journalStep(this.state, event, this.options.now());
    for (const effect of effects) this.perform(effect);
  }

  /** Writes what is left, then ends. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.onClosed = resolve;
    });
    this.feed({ kind: 'close' });
    await closed;
    this.timer.stop();
    await this.ask({ kind: 'close' }).catch(() => undefined);
    await this.thread.terminate();
  }

  private perform(effect: JournalEffect<JournalRow>): void {
    switch (effect.kind) {
      case 'image':
        this.makeImage(effect);
        return;
      case 'write': {
        const { rows, image, isSynced } = effect;
        const record = image === null ? null : (this.making?.record ?? null);
        const blobs = image === null ? [] : (this.making?.capture.blobs ?? []);
        this.inFlightBlobs = blobs.filter(({ key }) => !this.writtenBlobs.has(key));
        this.write(rows, record, isSynced);
        return;
      }
      case 'durable':
        this.imageCounts();
        this.options.onDurable(effect.point);
        return;
      case 'trouble':
        this.options.onTrouble(effect.message);
        return;
      case 'recovered':
        this.options.onRecovered();
        return;
      case 'closed':
        this.onClosed?.();
        return;
    }
  }

  private write(
    rows: readonly JournalRow[],
    record: JournalRecord | null,
    isSynced: boolean,
  ): void {
    const ledger = packRows(rows);
    this.inFlightRows = ledger.pay.rows.filter(
      (row) => row.kind === 'voucher' || row.kind === 'settlement',
    );
    const isForced = isSynced || this.inFlightRows.length > 0;
    const request: JournalRequest = {
      ...{ kind: 'write', ledger, record, blobs: this.inFlightBlobs },
      isSynced: isForced,
    };
    const { numbers, pay } = ledger;
    this.post(request, [numbers.buffer, pay.receipts.buffer, pay.works.buffer]);
  }

  private makeImage({ slot, point, isSynced }: ImageRef): void {
    const capture = this.options.capture(point);
    const { client, text, sizeBytes, volatile, stable } = capture;
    const nonce = randomBytes(16).toString('hex');
    const ref: ImageRef = { slot, point, isSynced };
    const { bootId } = this.options;
    const record: JournalRecord = { image: ref, client, bootId, nonce, snapshot: text };
    this.making = { ref, record, capture };
    this.copying = volatile.length > 0;
    this.post({ kind: 'image', slot, nonce, isSynced, sizeBytes, volatile, stable });
  }

  /** The image in the making is the one to restore from: what only older ones needed can go. */
  private imageCounts(): void {
    const { making } = this;
    if (making === null) return;
    this.making = null;
    this.files.set(making.ref.slot, making.capture.files);
    const slots = [this.state.current?.slot, this.state.lastSynced?.slot];
    const kept = slots.flatMap((slot) => (slot === undefined ? [] : (this.files.get(slot) ?? [])));
    this.options.onFiles(new Set(kept));
  }

  private take(response: JournalResponse): void {
    switch (response.kind) {
      case 'copied':
        this.copied();
        return;
      case 'imaged':
        void this.imaged();
        return;
      case 'written':
        for (const { key } of this.inFlightBlobs) this.writtenBlobs.add(key);
        this.written();
        return;
      case 'refused':
        this.refused(response.request, response.message);
        return;
      case 'opened':
        this.settle('open')?.resolve(response);
        return;
      case 'loaded':
        this.settle('load')?.resolve(response);
        return;
      case 'saved':
        this.settle('remote')?.resolve(response);
        return;
      case 'log':
        this.settle('log')?.resolve(response);
        return;
      case 'forgotten':
        this.settle('forget')?.resolve(response);
        return;
      case 'closed':
        this.settle('close')?.resolve(response);
        return;
    }
  }

  private written(): void {
    const stored = this.inFlightRows;
    this.inFlightRows = [];
    this.feed({ kind: 'written' });
    if (stored.length > 0) this.options.onStored(stored);
    this.options.onWritten();
  }

  private copied(): void {
    if (!this.copying) return;
    this.copying = false;
    this.options.onCopied();
  }

  /** The image's file is whole; the files that it refers to have to be as well. */
  private async imaged(): Promise<void> {
    const { making } = this;
    making?.capture.release();
    try {
      await making?.capture.ready(making.ref.isSynced);
      this.feed({ kind: 'imaged' });
    } catch (error) {
      this.imageRefused(error instanceof Error ? error.message : String(error));
    }
  }

  private imageRefused(message: string): void {
    this.making = null;
    this.feed({ kind: 'imageRefused', message });
  }

  private refused(request: JournalRequest['kind'], message: string): void {
    switch (request) {
      case 'image':
        this.making?.capture.release();
        this.copied();
        this.imageRefused(message);
        return;
      case 'write':
        this.feed({ kind: 'writeRefused', message });
        return;
      default:
        this.settle(request)?.reject(new RavenError('ledger', message, { fault: 'local' }));
    }
  }

  private settle(kind: JournalRequest['kind']): Waiting | undefined {
    const waiting = this.waiting.get(kind);
    this.waiting.delete(kind);
    return waiting;
  }

  private ask(request: JournalRequest): Promise<JournalResponse> {
    return new Promise((resolve, reject) => {
      this.waiting.set(request.kind, { resolve, reject });
      this.post(request);
    });
  }

  private post(request: JournalRequest, moved: readonly ArrayBuffer[] = []): void {
    this.thread.postMessage(request, moved);
  }
}
