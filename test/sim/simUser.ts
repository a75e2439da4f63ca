/** @file The user at the panel: drains, pauses and bans workers, whatever they are doing, and thinks better of it. */
import type { WorkerId } from '@ravenlab/protocol';
import type { ClusterEvent } from '../../kernel/src/core/cluster/events.js';
import type { ClusterState } from '../../kernel/src/core/cluster/state.js';
import type { SimContext } from './context.js';

const DRAIN_MS = 1_000;
const PAUSE_MS = 1_000;

export class SimUser {
  private readonly context: SimContext;
  private readonly state: ClusterState;
  private readonly apply: (event: ClusterEvent) => void;
  /** As long as the engine lives. */
  private readonly after: (delayMs: number, act: () => void) => void;

  constructor(options: {
    readonly context: SimContext;
    readonly state: ClusterState;
    readonly apply: (event: ClusterEvent) => void;
    readonly after: (delayMs: number, act: () => void) => void;
  }) {
    this.context = options.context;
    this.state = options.state;
    this.apply = options.apply;
    this.after = options.after;
  }

  /**
   * A stall shows in the panel; the user does not wait for the scheduler to sort it out. Nor for faults to last: most leases that run out
   * do so when they have ceased.
   */
  reactTo(worker: WorkerId): void {
    const { faults, plan } = this.context;
    if (!this.context.occurs('userReacts', plan.rates.userReacts)) return;
    const isPause = faults.chance(500);
    this.after(faults.between(0, 1_500), () => {
      if (isPause) this.pause(worker);
      else this.drain(worker, DRAIN_MS);
    });
  }

  /** Workers that the panel shows in another state than the usual. */
  oddWorkers(): WorkerId[] {
    const members = [...this.state.members.values()];
    return members.filter(({ status }) => status !== 'active').map(({ id }) => id);
  }

  /** The user drains a worker, whatever it is doing, and takes it back later. */
  drain(worker: WorkerId, durationMs: number): void {
    this.apply({ kind: 'drain', worker });
    this.after(durationMs, () => {
      this.apply({ kind: 'resume', worker });
    });
  }

  /** The user stops a worker at once, and lets it go on later. */
  pause(worker: WorkerId): void {
    this.apply({ kind: 'pause', worker });
    this.after(PAUSE_MS, () => {
      this.apply({ kind: 'resume', worker });
    });
  }

  /** @param isBanned false: the user thought better of it. */
  ban(worker: WorkerId, isBanned: boolean): void {
    this.apply({ kind: isBanned ? 'ban' : 'unban', worker });
  }
}
