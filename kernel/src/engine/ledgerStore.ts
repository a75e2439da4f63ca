/** @file The journal of committed units: rows gathered for at most LIMITS' journalMs, written on a thread of its own. */
import { Worker } from 'node:worker_threads';
import { ENGINE_LIMITS, RavenError } from '@ravenlab/protocol';
import type { LedgerEntry } from '../core/ledger/ledger.js';

export interface LedgerRow {
  readonly unit: number;
  readonly worker: string;
  readonly flops: number;
  /** Base units, decimal. */
  readonly amount: string;
  readonly atMs: number;
}

export interface LedgerTotals {
  readonly accounts: readonly {
    readonly worker: string;
    readonly posted: string;
    readonly units: number;
  }[];
  /** Highest unit id that is journaled; 0 when there is none. */
  readonly lastUnit: number;
}

export type LedgerRequest =
  | { readonly kind: 'totals' }
  | { readonly kind: 'write'; readonly rows: readonly LedgerRow[] }
  | { readonly kind: 'close' };

export type LedgerResponse =
  | ({ readonly kind: 'totals' } & LedgerTotals)
  | { readonly kind: 'written'; readonly rows: number }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'closed' };

export interface LedgerThreadData {
  readonly file: string;
}

export interface LedgerStoreOptions {
  readonly file: string;
  readonly nowMs: () => number;
  /** A batch was not written; it is tried again. */
  readonly onTrouble: (message: string) => void;
  /** The backlog is full, or the thread died. */
  readonly onFatal: (error: Error) => void;
  /** Compiled entry of the thread; for tests. */
  readonly entry?: string | URL;
}

const RETRY_MS = 1_000;

export class LedgerStore {
  private readonly options: LedgerStoreOptions;
  private readonly thread: Worker;
  private rows: LedgerRow[] = [];
  private inFlight: readonly LedgerRow[] | null = null;
  private timer: NodeJS.Timeout | null = null;
  private onTotals: ((totals: LedgerTotals) => void) | null = null;
  private onIdle: (() => void) | null = null;
  private onClosed: (() => void) | null = null;

  constructor(options: LedgerStoreOptions) {
    this.options = options;
    const workerData: LedgerThreadData = { file: options.file };
    const entry = options.entry ?? new URL('./ledgerThread.js', import.meta.url);
    this.thread = new Worker(entry, { workerData });
    this.thread.on('message', (response: LedgerResponse) => {
      this.take(response);
    });
    this.thread.on('error', (error) => {
      options.onFatal(
        new RavenError('ledger', `the ledger's thread crashed: ${String(error)}`, {
          fault: 'local',
          cause: error,
        }),
      );
    });
  }

  /** What earlier engines with the same journal have posted. */
  totals(): Promise<LedgerTotals> {
    return new Promise((resolve) => {
      this.onTotals = resolve;
      this.ask({ kind: 'totals' });
    });
  }

  /** Notes a committed unit; on disk within journalMs. */
  append(entry: LedgerEntry): void {
    const { unit, worker, flops, amount } = entry;
    this.rows.push({ unit, worker, flops, amount: amount.toString(), atMs: this.options.nowMs() });
    if (this.rows.length > ENGINE_LIMITS.journalRows) {
      this.options.onFatal(
        new RavenError(
          'ledger',
          `${String(this.rows.length)} paid units wait for the journal ${this.options.file}; free space on its disk`,
          { fault: 'local' },
        ),
      );
    }
    this.schedule(ENGINE_LIMITS.journalMs);
  }

  /** Writes what is left, then ends. */
  async close(): Promise<void> {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.flush();
    if (this.inFlight !== null) {
      await new Promise<void>((resolve) => {
        this.onIdle = resolve;
      });
    }
    await new Promise<void>((resolve) => {
      this.onClosed = resolve;
      this.ask({ kind: 'close' });
    });
    await this.thread.terminate();
  }

  private schedule(delayMs: number): void {
    if (this.timer !== null || this.inFlight !== null) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.flush();
    }, delayMs);
  }

  private flush(): void {
    if (this.inFlight !== null || this.rows.length === 0) return;
    this.inFlight = this.rows;
    this.rows = [];
    this.ask({ kind: 'write', rows: this.inFlight });
  }

  private take(response: LedgerResponse): void {
    switch (response.kind) {
      case 'totals':
        this.onTotals?.(response);
        this.onTotals = null;
        return;
      case 'written':
        this.inFlight = null;
        if (this.rows.length > 0) this.schedule(ENGINE_LIMITS.journalMs);
        break;
      case 'refused':
        this.rows = [...(this.inFlight ?? []), ...this.rows];
        this.inFlight = null;
        this.options.onTrouble(response.message);
        this.schedule(RETRY_MS);
        break;
      case 'closed':
        this.onClosed?.();
        return;
    }
    if (this.onIdle === null) return;
    if (this.rows.length > 0 && response.kind === 'written') this.flush();
    else this.onIdle();
  }

  private ask(request: LedgerRequest): void {
    this.thread.postMessage(request);
  }
}
