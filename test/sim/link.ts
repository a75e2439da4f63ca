/**
 * @file One connection between engine and worker, both directions: in order and whole while it lives, like TCP. What
 * breaks is the connection: with notice (reset) or without (half-open). Latency, jitter and bandwidth delay messages.
 */
import type { EventHeap } from './eventHeap.js';
import type { SimPlan } from './plan.js';
import type { Prng } from './prng.js';

export class Link {
  isOpen = true;
  /** Half-open: messages of this direction vanish and nobody is told. */
  readonly isDeaf = { up: false, down: false };
  private readonly freeAtMs = { up: 0, down: 0 };
  private readonly heap: EventHeap;
  private readonly random: Prng;
  private readonly plan: SimPlan;

  constructor(heap: EventHeap, random: Prng, plan: SimPlan) {
    this.heap = heap;
    this.random = random;
    this.plan = plan;
  }

  /** `deliver` runs at the other end, unless the connection has broken by then. */
  send(direction: 'up' | 'down', sizeBytes: number, deliver: () => void): void {
    const { heap, plan } = this;
    if (!this.isOpen || this.isDeaf[direction]) return;
    const sendMs = Math.trunc(sizeBytes / plan.bytesPerMs);
    const jitterMs = this.random.between(0, plan.jitterMs);
    // In order: a message never overtakes the one before it.
    const atMs = Math.max(
      this.freeAtMs[direction] + sendMs,
      heap.nowMs + plan.latencyMs + jitterMs + sendMs,
    );
    this.freeAtMs[direction] = atMs;
    heap.at(atMs, () => {
      if (this.isOpen && !this.isDeaf[direction]) deliver();
    });
  }
}
