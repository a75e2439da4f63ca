/** @file What training steps report as they are committed: losses, samples and their rate. Feeds progress bars. */

export interface StepReport {
  /** Null when the step had no loss. */
  readonly loss: number | null;
  readonly samples: number;
  /** Its gradients overflowed float16: the weights are as before. */
  readonly isSkipped: boolean;
}

type Listener = (report: StepReport) => void;

export class TrainingMeter {
  private readonly listeners = new Set<Listener>();

  /** Calls `listener` for every committed step until the returned function is called. */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  report(report: StepReport): void {
    for (const listener of this.listeners) listener(report);
  }
}
