/**
 * @file What a kernel asked of its engine and would have to ask again if the engine died now: requests that are not answered,
 * and answered ones whose effects are not in the journal yet. Knows neither messages nor processes.
 *
 * Replaying them in order makes the same engine again, because an execution's result depends on nothing but the requests
 * before it. That is all the recovery there is.
 */

/** A request as the log needs to know it. */
export interface LoggedRequest<Body> {
  /** Its number, rising from 1 without gaps: the order of sending. */
  readonly id: number;
  /** Cell that asked. */
  readonly epoch: number;
  /** Changes what later requests see; the others are asked again only if their answer is missing. */
  readonly isEffect: boolean;
  readonly sizeBytes: number;
  readonly body: Body;
}

export interface ReplayBounds {
  /** Requests with effects that may wait for the journal. */
  readonly requests: number;
  /** ... and their bytes; a single larger one is let through alone. */
  readonly sizeBytes: number;
}

interface Entry<Body> extends LoggedRequest<Body> {
  isAnswered: boolean;
}

/** A request that a new life of the engine is sent. */
export interface ReplayedRequest<Body> extends LoggedRequest<Body> {
  /** Its answer has been seen: it must succeed again, whatever happens to its cell. */
  readonly isAnswered: boolean;
}

/** What became of an answer. */
export type AnswerVerdict =
  /** The caller waits for it. */
  | 'first'
  /** The caller has had it from an earlier life of the engine. */
  | 'repeated'
  /** It succeeded in an earlier life and failed now: the engine is not what it was. */
  | 'diverged';

export class ReplayLog<Body> {
  private readonly entries = new Map<number, Entry<Body>>();
  /** Sent and not answered by the life of the engine that runs now, oldest first. */
  private readonly open = new Set<number>();
  private readonly bounds: ReplayBounds;
  private lastId = 0;
  private effects = 0;
  private effectBytes = 0;
  private settled = 0;

  constructor(bounds: ReplayBounds) {
    this.bounds = bounds;
  }

  /** Effects of requests up to this one are in the journal. */
  get watermark(): number {
    return this.settled;
  }

  /** Every request up to this one has been answered, and its answer has arrived here. */
  get acked(): number {
    for (const oldest of this.open) return oldest - 1;
    return this.lastId;
  }

  /** Requests that a new life of the engine would be sent. */
  get size(): number {
    return this.entries.size;
  }

  get sizeBytes(): number {
    return this.effectBytes;
  }

  /** Whether a request may be sent now; if not, it has to wait until the watermark moves. */
  hasRoomFor(isEffect: boolean, sizeBytes: number): boolean {
    if (!isEffect || this.effects === 0) return true;
    const { requests, sizeBytes: most } = this.bounds;
    return this.effects < requests && this.effectBytes + sizeBytes <= most;
  }

  sent(request: LoggedRequest<Body>): void {
    const { id, epoch, isEffect, sizeBytes, body } = request;
    this.entries.set(id, { id, epoch, isEffect, sizeBytes, body, isAnswered: false });
    this.open.add(id);
    this.lastId = id;
    if (!isEffect) return;
    this.effects++;
    this.effectBytes += sizeBytes;
  }

  /** The engine has answered. A refused request had no effect and is not sent again. */
  answered(id: number, isOk: boolean): AnswerVerdict {
    this.open.delete(id);
    const entry = this.entries.get(id);
    if (entry === undefined) return 'repeated';
    const verdict = !entry.isAnswered ? 'first' : isOk ? 'repeated' : 'diverged';
    entry.isAnswered = true;
    if (!isOk || !entry.isEffect || id <= this.settled) this.remove(entry);
    return verdict;
  }

  /** The engine says what its journal holds. A watermark never goes back within one life of the kernel. */
  settle(watermark: number): void {
    if (watermark <= this.settled) return;
    this.settled = watermark;
    for (const entry of this.entries.values()) {
      if (entry.id > watermark) break;
      if (entry.isAnswered) this.remove(entry);
    }
  }

  /**
   * The engine died and another life of it runs, which has what is up to `watermark`.
   * @param isStopped whether a cell was stopped: what it asked for and nobody has seen the answer of never happens.
   * @returns what to send, in order; null when the new life has less than this log was promised, so that nothing can be
   * made whole.
   */
  replay(
    watermark: number,
    isStopped: (epoch: number) => boolean,
  ): readonly ReplayedRequest<Body>[] | null {
    if (watermark < this.settled) return null;
    this.settle(watermark);
    this.open.clear();
    for (const entry of [...this.entries.values()]) {
      if (!entry.isAnswered && isStopped(entry.epoch)) this.remove(entry);
    }
    for (const id of this.entries.keys()) this.open.add(id);
    return [...this.entries.values()];
  }

  private remove(entry: Entry<Body>): void {
    this.entries.delete(entry.id);
    if (!entry.isEffect) return;
    this.effects--;
    this.effectBytes -= entry.sizeBytes;
  }
}
