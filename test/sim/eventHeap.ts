/** @file Virtual time: callbacks in order of (time, order of scheduling). */

interface Entry {
  readonly atMs: number;
  readonly seq: number;
  readonly run: (first: unknown, second: unknown) => void;
  readonly first: unknown;
  readonly second: unknown;
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs !== b.atMs ? a.atMs < b.atMs : a.seq < b.seq;
}

/** Binary heap; ties are broken by insertion, so a run is a function of its seed alone. */
export class EventHeap {
  private readonly heap: Entry[] = [];
  private seq = 0;
  nowMs = 0;
  /** Callbacks run. */
  ran = 0;

  at(atMs: number, run: () => void): void {
    this.push(atMs, run, null, null);
  }

  /** The same for a function that is there already: what happens for every message makes no function of its own. */
  call<A, B>(atMs: number, run: (first: A, second: B) => void, first: A, second: B): void {
    this.push(atMs, run as Entry['run'], first, second);
  }

  private push(atMs: number, run: Entry['run'], first: unknown, second: unknown): void {
    const { heap } = this;
    const dueMs = atMs > this.nowMs ? atMs : this.nowMs;
    const entry: Entry = { atMs: dueMs, seq: this.seq++, run, first, second };
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = heap[parent];
      // What is added last is behind all others of its time.
      if (above === undefined || above.atMs <= entry.atMs) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = entry;
  }

  after(delayMs: number, run: () => void): void {
    this.at(this.nowMs + delayMs, run);
  }

  /** Runs the earliest callback; false when there is none. */
  runNext(): boolean {
    const { heap } = this;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return false;
    if (heap.length > 0) this.siftDown(last);
    this.nowMs = first.atMs;
    this.ran++;
    first.run(first.first, first.second);
    return true;
  }

  private siftDown(entry: Entry): void {
    const { heap } = this;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      const least = right !== undefined && isBefore(right, left) ? right : left;
      if (least === right) child++;
      if (!isBefore(least, entry)) break;
      heap[i] = least;
      i = child;
    }
    heap[i] = entry;
  }
}
