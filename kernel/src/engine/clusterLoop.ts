/** @file The shell around the scheduler machine: events in order, effects carried out, one timer at its deadline. */
import type { DoneMessage } from '@ravenlab/protocol';
import type { ClusterEffect, ClusterEvent } from '../core/cluster/events.js';
import { deadline, step } from '../core/cluster/machine.js';
import type { ClusterState } from '../core/cluster/state.js';
import { DeadlineTimer } from './deadlineTimer.js';

type EffectKind = ClusterEffect['kind'];
type EffectOf<K extends EffectKind> = Extract<ClusterEffect, { kind: K }>;

/** What each effect does; `done` is the message of the event that caused it, when it was a DONE. */
export type Performers = {
  readonly [K in EffectKind]: (effect: EffectOf<K>, done: DoneMessage | null) => void;
};

export class ClusterLoop {
  readonly state: ClusterState;
  private readonly now: () => number;
  private readonly performers: Performers;
  private readonly onFatal: (error: unknown) => void;
  private readonly queue: { readonly event: ClusterEvent; readonly done: DoneMessage | null }[] =
    [];
  private isRunning = false;
  private nextEventId = 1;
  private readonly timer: DeadlineTimer;

  /** @param onFatal an invariant broke: the state cannot be trusted, the process has to stop. */
  constructor(options: {
    readonly state: ClusterState;
    readonly now: () => number;
    readonly performers: Performers;
    readonly onFatal: (error: unknown) => void;
  }) {
    this.state = options.state;
    this.now = options.now;
    this.performers = options.performers;
    this.onFatal = options.onFatal;
    this.timer = new DeadlineTimer(this.now, () => {
      this.feed({ kind: 'tick' });
    });
  }

  /** Handles the event, now or after the one that is being handled. */
  feed(event: ClusterEvent, done: DoneMessage | null = null): void {
    this.queue.push({ event, done });
    if (this.isRunning) return;
    this.isRunning = true;
    try {
      this.drain();
    } catch (error) {
      this.onFatal(error);
    } finally {
      this.isRunning = false;
    }
    this.timer.arm(deadline(this.state));
  }

  stop(): void {
    this.timer.stop();
  }

  private drain(): void {
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      const effects = step(this.state, next.event, this.nextEventId++, this.now());
      for (const effect of effects) {
        const perform = this.performers[effect.kind] as (
          effect: ClusterEffect,
          done: DoneMessage | null,
        ) => void;
        perform(effect, next.done);
      }
    }
  }
}
