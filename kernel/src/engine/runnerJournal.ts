/** @file What the runner and the journal say to each other. */
import type { RequestPoint } from '../core/journal/paidBook.js';

/** What the journal is told, and what it asks for. */
export interface RunnerJournal {
  started(point: RequestPoint, isEffect: boolean): void;
  /** Every request with effects that was started is whole. */
  quiet(): void;
  /** Micro-shards that were paid before the engine was restarted. */
  paidOf(point: RequestPoint): ReadonlySet<number>;
  /** So much waits for the disk that no work may be started. */
  readonly isFull: boolean;
  /**
   * Whether all that was done so far outlives this process, or cannot for now and the user is told. If not, the journal makes
   * haste, and `resume` is called.
   */
  settle(): boolean;
  /** What updates change in place is being copied; `resume` is called when it is done. */
  readonly isCopying: boolean;
}
