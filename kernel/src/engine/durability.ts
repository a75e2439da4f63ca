/**
 * @file What lets the engine be killed: journal, images, the kernels that replay onto it, and what was paid before. The engine
 * tells it what happens; it tells the engine when to go on and when to end.
 */
import type { Worker } from 'node:worker_threads';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { ClusterState } from '../core/cluster/state.js';
import type { JournalMode } from '../core/journal/journal.js';
import { PaidBook } from '../core/journal/paidBook.js';
import type { RequestPoint } from '../core/journal/paidBook.js';
import { machineBootId } from './bootId.js';
import type { StoredRow } from './engineJournal.js';
import { EngineJournal } from './engineJournal.js';
import type { JournalRecord, JournalRow, Restored } from './journalMessages.js';
import { KernelSessions } from './kernelSessions.js';
import type { ToKernel } from './kernelWire.js';
import type { PanelView } from './panelView.js';
import { Persistence } from './persistence.js';
import type { PersistenceParts } from './persistence.js';
import type { Runner } from './runner.js';
import type { RunnerJournal } from './runnerJournal.js';
import type { LogCursor, LogPage } from './treasury/payRows.js';
import type { SharedMemory } from './wasm/memory.js';

type Level = 'info' | 'warning' | 'error';

export interface DurabilityOptions {
  readonly folder: string;
  readonly mode: JournalMode;
  readonly thread: Worker;
  /** How long the engine waits for a kernel when it has none; ms. */
  readonly lingerMs: number;
  readonly memory: SharedMemory;
  /** Integer ms that never go back. */
  readonly now: () => number;
  readonly stores: Omit<PersistenceParts, 'folder' | 'panel' | 'cluster' | 'versionLag'>;
  readonly runner: () => Runner;
  /** The kernel need not keep requests up to this one any more. */
  readonly onDurable: (watermark: number) => void;
  /** Vouchers and settlements that may leave now. */
  readonly onStored: (rows: readonly StoredRow[]) => void;
  readonly onAttached: () => void;
  /** No kernel came. */
  readonly onAbandoned: () => void;
  /** In the panel and below the cell that runs. */
  readonly tell: (level: Level, text: string) => void;
  readonly log: (text: string) => void;
  readonly onFatal: (error: unknown) => void;
}

export class Durability implements RunnerJournal {
  private readonly options: DurabilityOptions;
  private readonly journal: EngineJournal;
  private persistence!: Persistence;
  private sessions!: KernelSessions;
  private book = new PaidBook();
  private boot = 0;
  private releaseSlots: (() => void) | null = null;
  /** Why the disk refuses what it should hold; null when it does not. */
  private trouble: string | null = null;
  /** Runs while a new kernel waits for the journal. */
  private settling: NodeJS.Timeout | null = null;
  private isOverdue = false;

  constructor(options: DurabilityOptions) {
    this.options = options;
    this.journal = new EngineJournal({
      ...{ folder: options.folder, mode: options.mode, memory: options.memory, now: options.now },
      thread: options.thread,
      bootId: machineBootId(),
      capture: ({ session }) => {
        this.releaseSlots = this.options.stores.states.holdSlots();
        return { ...this.persistence.capture(), client: this.sessions.clientOf(session) };
      },
      onCopied: () => {
        this.releaseSlots?.();
        this.releaseSlots = null;
        options.runner().resume();
      },
      onDurable: (point) => {
        this.sessions.settle(point);
        this.book.settle(point);
        options.onDurable(this.sessions.watermark);
      },
      onWritten: () => {
        this.settledOrNot();
      },
      onStored: options.onStored,
      onFiles: (kept) => {
        this.persistence.sweep(kept).catch((error: unknown) => {
          options.log(`data files could not be removed: ${String(error)}`);
        });
      },
      onRoom: () => {
        options.runner().resume();
      },
      onTrouble: (message) => {
        this.trouble = message;
        options.tell(
          'error',
          `The journal could not be written (${message}). Training goes on as long as what is not journaled fits into memory, then it waits. Free space for ${options.folder}.`,
        );
        this.settledOrNot();
      },
      onRecovered: () => {
        this.trouble = null;
        options.tell('info', 'The journal is written again; nothing is lost.');
      },
      onFatal: options.onFatal,
    });
  }

  /**
   * Takes the folder. Rejects when another engine has it.
   * @param caught workers that cheated: what they did since the last image is paid to nobody.
   */
  async open(caught: readonly string[]): Promise<Restored> {
    const restored = await this.journal.open(caught);
    this.boot = restored.boot;
    this.book = new PaidBook(restored.paid);
    return restored;
  }

  /** Goes on where an earlier life of this engine was, if it left an image. */
  async recover(
    restored: Restored,
    parts: { readonly panel: PanelView; readonly cluster: ClusterState },
  ): Promise<void> {
    const { folder, stores, lingerMs, mode, runner } = this.options;
    const versionLag = () => runner().versionLag;
    this.persistence = new Persistence({ folder, ...stores, ...parts, versionLag }, restored.boot);
    let record: JournalRecord | null = null;
    try {
      record = await this.persistence.restore(this.journal, restored);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.options.tell('error', `What an earlier life of the engine saved cannot be read: ${why}`);
      this.options.log(`nothing is restored: ${why}`);
    }
    this.sessions = new KernelSessions({
      restored: record === null ? null : { client: record.client, point: record.image.point },
      lastSession: restored.lastSession,
      boot: restored.boot,
      isJournaled: mode !== 'off',
      lingerMs,
      isBusy: () => runner().isBusy,
      onAttached: (session) => {
        stores.runs.greet(session);
        this.options.onAttached();
        this.journal.feed({ kind: 'attached', session });
      },
      onDetached: () => {
        this.journal.feed({ kind: 'detached' });
      },
      onAbandoned: this.options.onAbandoned,
    });
  }

  /** Resolves when the keys of the remote access are on the disk. */
  saveRemote(text: string): Promise<unknown> {
    return this.journal.saveRemote(text);
  }

  /** Writes what is left. @param isForgetting the notebook is over: only the ledger stays. */
  async close(isForgetting: boolean): Promise<void> {
    this.sessions.close();
    this.stopSettling();
    if (isForgetting) await this.journal.forget();
    await this.journal.close();
  }

  // ── the kernel ──────────────────────────────────────────────────────────────────────────────────────────────────

  get session(): number {
    return this.sessions.session;
  }

  hello(client: string, session: number): Extract<ToKernel, { kind: 'welcome' | 'busy' }> {
    return this.sessions.hello(client, session);
  }

  /** A kernel is expected; the engine ends if none comes. */
  expectKernel(): void {
    this.sessions.expect();
  }

  kernelGone(): void {
    this.sessions.gone();
  }

  acked(request: number): void {
    this.journal.feed({ kind: 'acked', point: { session: this.session, request } });
  }

  /** For `status`. */
  status(): Readonly<Record<string, number | null>> {
    const { session, boot } = this;
    const { watermark } = this.sessions;
    return { boot, session, watermark, ...this.journal.lag() };
  }

  // ── the runner ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** From this request on the run may be wrong; null: it is right. */
  hold(from: RequestPoint | null): void {
    this.journal.feed({ kind: 'held', from });
  }

  /** What is not in an image that counts is wrong, and is to be done again by another life of the engine. */
  abandon(): void {
    this.journal.feed({ kind: 'abandon' });
  }

  started(point: RequestPoint, isEffect: boolean): void {
    this.journal.feed({ kind: 'started', point, isEffect });
  }

  quiet(): void {
    this.journal.feed({ kind: 'quiet' });
  }

  paid(row: JournalRow): void {
    this.journal.paid(row);
  }

  log(cursor: LogCursor | null, limit: number): Promise<LogPage> {
    return this.journal.log(cursor, limit);
  }

  paidOf(point: RequestPoint): ReadonlySet<number> {
    return this.book.paidOf(point);
  }

  get isFull(): boolean {
    return this.journal.isFull;
  }

  settle(): boolean {
    const { trouble, isOverdue } = this;
    if (!this.journal.isSettled && trouble === null && !isOverdue) {
      this.settling ??= setTimeout(() => {
        this.isOverdue = true;
        this.settledOrNot();
      }, ENGINE_LIMITS.settleMs);
      this.journal.feed({ kind: 'settle' });
      return false;
    }
    if (!this.journal.isSettled) {
      const why = trouble ?? `it takes longer than ${String(ENGINE_LIMITS.settleMs)} ms`;
      this.options.tell(
        'warning',
        `What the kernel before did is not in the journal yet (${why}): it is here, but would be lost with the engine's process.`,
      );
    }
    this.stopSettling();
    return true;
  }

  /** Who waits for the journal looks again. */
  private settledOrNot(): void {
    if (this.settling !== null) this.options.runner().resume();
  }

  private stopSettling(): void {
    if (this.settling !== null) clearTimeout(this.settling);
    this.settling = null;
    this.isOverdue = false;
  }

  get isCopying(): boolean {
    return this.journal.isCopying;
  }
}
