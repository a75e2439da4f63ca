/** @file The shell of the journal in simulation: the engine's real journal machine over a simulated disk that takes time. */
import type {
  JournalEffect,
  JournalEvent,
  JournalState,
} from '../../kernel/src/core/journal/journal.js';
import {
  createJournal,
  isFull,
  isSettled,
  journalDeadline,
  journalStep,
} from '../../kernel/src/core/journal/journal.js';
import type { RequestPoint } from '../../kernel/src/core/journal/paidBook.js';
import type { Canary } from './canaries.js';
import type { SimContext } from './context.js';
import type { SimTrace } from './trace.js';
import type { Restored, SimDisk, SimImage, SimRow } from './simDisk.js';

/** Small, so that every bound is met in a schedule. */
const BOUNDS = { imageMs: 100, imageRest: 4, syncMs: 2_000, flushMs: 100, retryMs: 500, rows: 80 };

export interface JournalOwner {
  isDead(): boolean;
  /** States as they are now. */
  capture(): SimImage;
  durable(point: RequestPoint): void;
  closed(): void;
  /** There is room for rows again. */
  drained(): void;
}

export class SimJournal {
  readonly state: JournalState<SimRow>;
  private readonly context: SimContext;
  private readonly disk: SimDisk;
  private readonly owner: JournalOwner;
  private readonly canary: Canary | null;
  private readonly trace: SimTrace;
  private timerAtMs = Infinity;

  constructor(options: {
    readonly context: SimContext;
    readonly disk: SimDisk;
    readonly owner: JournalOwner;
    readonly restored: Restored;
    readonly canary: Canary | null;
    readonly trace: SimTrace;
  }) {
    const { context, restored } = options;
    this.trace = options.trace;
    this.context = context;
    this.disk = options.disk;
    this.owner = options.owner;
    this.canary = options.canary;
    this.state = createJournal(BOUNDS, context.plan.isSyncMode ? 'sync' : 'cache', restored);
  }

  get isFull(): boolean {
    return isFull(this.state);
  }

  /** Everything that was started is on the disk. */
  get isSettled(): boolean {
    return isSettled(this.state);
  }

  feed(event: JournalEvent<SimRow>): void {
    this.trace.events++;
    const seen = this.canary?.journalEvent?.(event) ?? event;
    const made = journalStep(this.state, seen, this.context.heap.nowMs);
    const effects = this.canary?.journal?.(made, this.state) ?? made;
    for (const effect of effects) this.perform(effect);
    this.arm();
  }

  private arm(): void {
    const at = journalDeadline(this.state);
    if (at === null || at >= this.timerAtMs) return;
    this.timerAtMs = at;
    this.context.heap.at(at, this.onTimer);
  }

  private readonly onTimer = (): void => {
    if (this.timerAtMs > this.context.heap.nowMs || this.owner.isDead()) return;
    this.timerAtMs = Infinity;
    this.feed({ kind: 'tick' });
  };

  private perform(effect: JournalEffect<SimRow>): void {
    switch (effect.kind) {
      case 'image':
        this.writeImage(effect);
        break;
      case 'write':
        this.write(effect);
        break;
      case 'durable':
        this.owner.durable(effect.point);
        break;
      case 'closed':
        this.owner.closed();
        break;
      case 'trouble':
      case 'recovered':
        break;
    }
  }

  private writeImage({
    slot,
    isSynced,
  }: {
    readonly slot: number;
    readonly isSynced: boolean;
  }): void {
    const image = this.owner.capture();
    this.disk.beginImage(slot);
    this.later(isSynced, () => {
      if (this.isDiskFull()) {
        this.feed({ kind: 'imageRefused', message: 'no space left on device' });
        return;
      }
      this.disk.endImage(slot, image, isSynced);
      this.feed({ kind: 'imaged' });
    });
  }

  private write(effect: Extract<JournalEffect<SimRow>, { kind: 'write' }>): void {
    this.later(effect.isSynced, () => {
      if (this.isDiskFull()) {
        this.feed({ kind: 'writeRefused', message: 'no space left on device' });
        return;
      }
      this.disk.commit({ rows: effect.rows, image: effect.image }, effect.isSynced);
      this.feed({ kind: 'written' });
      this.owner.drained();
    });
  }

  private isDiskFull(): boolean {
    return this.context.heap.nowMs < this.disk.fullUntilMs;
  }

  /** A write takes its time, and is never done when the process dies before. */
  private later(isSynced: boolean, act: () => void): void {
    const { heap, work } = this.context;
    heap.after(work.between(0, isSynced ? 60 : 6), () => {
      if (!this.owner.isDead()) act();
    });
  }
}
