/**
 * @file What follows when a stranger's result is found wrong. It is banned, and this life of the engine ends before anything
 * of what it did is in an image: the next one goes on from the last weights that are known to be right.
 */
import type { WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { Caught } from './auditCase.js';
import { shortIdOf } from './workerHub.js';

export interface CheatsOptions {
  /** Without a journal there is nothing to go back to. */
  readonly isJournaled: boolean;
  /** Bans it; on disk before anything else happens. */
  readonly ban: (worker: WorkerId) => void;
  /** It gets no work until the user says so; on disk as well. */
  readonly pause: (worker: WorkerId) => void;
  /** No image is taken any more. */
  readonly abandon: () => void;
  /** Ends this life of the engine. */
  readonly rewind: () => void;
  /** In the panel, and below the cell that runs. */
  readonly tell: (level: 'warning' | 'error', text: string) => void;
}

export class Cheats {
  private readonly options: CheatsOptions;
  private readonly told = new Set<WorkerId>();
  private timer: NodeJS.Timeout | null = null;

  constructor(options: CheatsOptions) {
    this.options = options;
  }

  get isRewinding(): boolean {
    return this.timer !== null;
  }

  caught(caught: Caught): void {
    const { worker, answer, why } = caught;
    this.options.ban(worker);
    this.goBack(
      caught,
      `Worker ${shortIdOf(worker)} sent a wrong result (request ${String(answer.point.request)}, micro-shard ${String(answer.shard)}: ${why}). It is banned, and not paid for it.`,
    );
  }

  /** Nobody can tell whether its result is right. */
  withheld(withheld: Caught): void {
    const { worker, answer, why } = withheld;
    this.options.pause(worker);
    const name = shortIdOf(worker);
    this.goBack(
      withheld,
      `A result of worker ${name} cannot be checked (request ${String(answer.point.request)}, micro-shard ${String(answer.shard)}: ${why}). It is paused, and what nobody vouches for is done again, unpaid. Start a worker of your own with cluster.scale(1), then resume it with cluster.resume('${name}').`,
    );
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
  }

  /** The run goes back, if weights were made of it and there is a way back. @param what has happened, in words. */
  private goBack({ isBuiltOn }: Caught, what: string): void {
    const { isJournaled, abandon, rewind, tell } = this.options;
    if (!isBuiltOn) {
      tell(
        'warning',
        `${what} No weights were made of it; what was evaluated lately may be wrong.`,
      );
      return;
    }
    if (!isJournaled) {
      tell(
        'error',
        `${what} The journal is off, so the run cannot go back: load a checkpoint from before.`,
      );
      return;
    }
    tell(
      'warning',
      `${what} The run goes back to the last weights that are known to be right and does the rest again.`,
    );
    if (this.timer !== null) return;
    abandon();
    // Audits that are under way may find others meanwhile: one return for all of them.
    this.timer = setTimeout(rewind, ENGINE_LIMITS.auditGraceMs);
  }

  /** Told once for each worker. */
  unverified(worker: WorkerId): void {
    if (this.told.has(worker)) return;
    this.told.add(worker);
    this.options.tell(
      'warning',
      `Results of worker ${shortIdOf(worker)} cannot be checked: nobody else is here who could repeat them. Start a worker of your own with cluster.scale(1), or invite another owner's.`,
    );
  }
}
