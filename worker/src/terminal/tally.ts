/** @file Counts what was done and how fast of late. Time is an argument. */

interface Mark {
  readonly atMs: number;
  readonly units: number;
  readonly samples: number;
}

/** Rates are over this long; ms. */
const WINDOW_MS = 5_000;
/** Marks are at least this far apart; ms. */
const SPACING_MS = 250;

export class Tally {
  units = 0;
  failed = 0;
  samples = 0;
  private marks: Mark[] = [];

  add(done: { readonly units: number; readonly failed: number; readonly samples: number }): void {
    this.units += done.units;
    this.failed += done.failed;
    this.samples += done.samples;
  }

  /** Units and samples per second over the last seconds. Call at a steady pace. */
  rates(nowMs: number): { readonly units: number; readonly samples: number } {
    const last = this.marks[this.marks.length - 1];
    if (last === undefined || nowMs - last.atMs >= SPACING_MS) {
      this.marks.push({ atMs: nowMs, units: this.units, samples: this.samples });
    }
    this.marks = this.marks.filter(({ atMs }) => nowMs - atMs <= WINDOW_MS);
    const [first] = this.marks;
    const seconds = first === undefined ? 0 : (nowMs - first.atMs) / 1000;
    if (first === undefined || seconds === 0) return { units: 0, samples: 0 };
    return {
      units: (this.units - first.units) / seconds,
      samples: (this.samples - first.samples) / seconds,
    };
  }
}
