/** @file One timer for a deadline that moves: an earlier one replaces it, a later one is found when it fires. */

export class DeadlineTimer {
  private readonly now: () => number;
  private readonly onDue: () => void;
  private timer: NodeJS.Timeout | null = null;
  private atMs = Infinity;

  /**
   * @param now the clock of the deadlines, ms.
   * @param onDue called at the deadline or before it, when it has moved: whoever is called looks what is due, and arms again.
   */
  constructor(now: () => number, onDue: () => void) {
    this.now = now;
    this.onDue = onDue;
  }

  /** @param atMs the next deadline; null when nothing waits for time. */
  arm(atMs: number | null): void {
    if (atMs === null || (this.timer !== null && atMs >= this.atMs)) return;
    this.stop();
    this.atMs = atMs;
    this.timer = setTimeout(
      () => {
        this.timer = null;
        this.onDue();
      },
      Math.max(1, atMs - this.now()),
    );
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}
