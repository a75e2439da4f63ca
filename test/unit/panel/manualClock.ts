/** @file A clock that moves when told, with timers that fire in order; not a test. */
import type { PanelClock } from '../../../kernel/src/jupyter/panelComm.js';

export class ManualClock implements PanelClock {
  now = 0;
  private timers: { atMs: number; run: () => void }[] = [];

  nowMs(): number {
    return this.now;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.now;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { atMs: this.now + delayMs, run };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  get pending(): number {
    return this.timers.length;
  }

  advance(durationMs: number): void {
    const end = this.now + durationMs;
    for (;;) {
      const due = this.timers.filter((timer) => timer.atMs <= end);
      const next = due.sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.now = next.atMs;
      next.run();
    }
    this.now = end;
  }
}
