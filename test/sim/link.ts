/**
 * @file One connection between engine and worker, both directions: in order and whole while it lives, like TCP. What
 * breaks is the connection: with notice (reset), without (half-open), or for a while (clogged). Latency, jitter and
 * bandwidth delay messages: a large tensor holds up the beats behind it.
 */
import type { SimContext } from './context.js';
import type { ToEngine, ToWorker } from './messages.js';
import { sizeOfToEngine, sizeOfToWorker } from './messages.js';
import { encodeToEngine, encodeToWorker } from './wire.js';

export interface LinkEnds {
  /** `isStray`: it was in flight on an earlier connection of this worker. */
  toEngine(link: Link, message: ToEngine, isStray: boolean): void;
  toWorker(link: Link, message: ToWorker): void;
}

export type Direction = 'up' | 'down';

const BEATS: ReadonlySet<string> = new Set(['ping', 'pong', 'credit']);
const BEATS_ENCODED = 4;

/** When the message before gets there. */
interface Lane {
  freeAtMs: number;
}

const arriveUp = (link: Link, message: ToEngine): void => {
  link.arriveUp(message);
};
const arriveDown = (link: Link, message: ToWorker): void => {
  link.arriveDown(message);
};

export class Link {
  isOpen = true;
  /** Half-open: messages of this direction vanish and nobody is told. */
  readonly isDeaf = { up: false, down: false };
  /** Connection that what is still in flight comes out of, should this one break: a relay that holds messages. */
  heir: Link | null = null;
  private beats = 0;
  private readonly up: Lane = { freeAtMs: 0 };
  private readonly down: Lane = { freeAtMs: 0 };
  private readonly context: SimContext;
  private readonly ends: LinkEnds;

  constructor(context: SimContext, ends: LinkEnds) {
    this.context = context;
    this.ends = ends;
  }

  sendUp(message: ToEngine): void {
    if (!this.isOpen || this.isDeaf.up) return;
    const sent = this.passesCodec(message.kind) ? encodeToEngine(message) : message;
    this.context.heap.call(this.arrival(this.up, sizeOfToEngine(sent)), arriveUp, this, sent);
  }

  arriveUp(message: ToEngine): void {
    if (this.isOpen && !this.isDeaf.up) this.ends.toEngine(this, message, false);
    else if (this.heir?.isOpen === true) this.ends.toEngine(this.heir, message, true);
  }

  sendDown(message: ToWorker): void {
    if (!this.isOpen || this.isDeaf.down) return;
    const sent = this.passesCodec(message.kind) ? encodeToWorker(message) : message;
    this.context.heap.call(this.arrival(this.down, sizeOfToWorker(sent)), arriveDown, this, sent);
  }

  arriveDown(message: ToWorker): void {
    if (this.isOpen && !this.isDeaf.down) this.ends.toWorker(this, message);
  }

  /** Nothing of this direction gets through for a while; then all of it does, in order, as TCP repeats it. */
  clog(direction: Direction, durationMs: number): void {
    const untilMs = this.context.heap.nowMs + durationMs;
    const lane = this[direction];
    lane.freeAtMs = Math.max(lane.freeAtMs, untilMs);
  }

  /** In some schedules everything does, but of the beats, which are all alike, only some. */
  private passesCodec(kind: ToWorker['kind'] | ToEngine['kind']): boolean {
    if (!this.context.plan.isEncoded) return false;
    return !BEATS.has(kind) || this.beats++ % BEATS_ENCODED === 0;
  }

  /** In order: a message never overtakes the one before it. */
  private arrival(lane: Lane, sizeBytes: number): number {
    const { heap, network, plan } = this.context;
    const sendMs = Math.trunc(sizeBytes / plan.bytesPerMs);
    const jitterMs = plan.jitterMs === 0 ? 0 : network.between(0, plan.jitterMs);
    const freeMs = lane.freeAtMs + sendMs;
    const atMs = Math.max(freeMs, heap.nowMs + plan.latencyMs + jitterMs + sendMs);
    lane.freeAtMs = atMs;
    return atMs;
  }
}
