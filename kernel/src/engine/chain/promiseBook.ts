/**
 * @file What vouchers promise, looked at by the spend limits and written before a signature leaves. Vouchers of one turn of the loop share
 * one write, which is most of what each of them would cost.
 */
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import type { SpendCaps } from '../../core/chain/spendCaps.js';
import type { ChainDatabase } from './chainDatabase.js';

interface Unwritten {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const MINUTE_MS = 60_000;

export class PromiseBook {
  readonly caps: SpendCaps;
  private readonly database: ChainDatabase;
  private readonly wallMs: () => number;
  private lanes = new Map<string, bigint>();
  private minutes = new Map<number, bigint>();
  private readonly unwritten: Unwritten[] = [];

  constructor(caps: SpendCaps, database: ChainDatabase, wallMs: () => number) {
    this.caps = caps;
    this.database = database;
    this.wallMs = wallMs;
  }

  /**
   * Takes a promise into account.
   * @param lane names job and payee
   * @throws ChainError when a limit forbids it; then nothing has changed.
   */
  promise(lane: string, cumulative: bigint): void {
    const answer = this.caps.spend(lane, cumulative, this.wallMs());
    if (!answer.ok) throw new ChainError(answer.reason, { fault: 'user' });
    this.lanes.set(lane, answer.promised);
    this.minutes.set(answer.minute, answer.spentInMinute);
  }

  /** Resolves when all that was promised is on the disk; rejects when it is not. */
  written(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.unwritten.push({ resolve, reject }) > 1) return;
      setImmediate(() => {
        this.flush();
      });
    });
  }

  /** Writes what waits now. */
  flush(): void {
    const waiting = this.unwritten.splice(0);
    const { lanes, minutes } = this;
    if (lanes.size === 0 && waiting.length === 0) return;
    this.lanes = new Map();
    this.minutes = new Map();
    const oldest = Math.floor(this.wallMs() / MINUTE_MS) - CHAIN_LIMITS.spendMinutes;
    try {
      this.database.promise(lanes, minutes, oldest);
      for (const { resolve } of waiting) resolve();
    } catch (cause) {
      // Not signed, as far as anybody will know.
      const text = `what is promised cannot be written: ${String(cause)}`;
      for (const { reject } of waiting) reject(new ChainError(text, { cause }));
    }
  }
}
