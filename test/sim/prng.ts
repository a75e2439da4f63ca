/** @file Seeded random numbers for the simulator: sfc32, integers only, one forked stream a concern. */

/**
 * sfc32 (Chris Doty-Humphrey, PractRand). A fork has its own stream, so that one more draw in the network does not
 * reshuffle the crashes.
 */
export class Prng {
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  constructor(seed: number, stream = 0) {
    this.a = seed | 0;
    this.b = stream | 0;
    this.c = 0x9e3779b9 | 0;
    this.d = 1;
    for (let i = 0; i < 12; i++) this.next();
  }

  /** Integer in 0 … 2³² - 1. */
  next(): number {
    const t = (((this.a + this.b) | 0) + this.d) | 0;
    this.d = (this.d + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = ((this.c << 21) | (this.c >>> 11)) + t;
    return t >>> 0;
  }

  /** Integer in `low … high`, both included. */
  between(low: number, high: number): number {
    return low + (this.next() % (high - low + 1));
  }

  /** True `perMille` times of 1,000. */
  chance(perMille: number): boolean {
    return this.next() % 1000 < perMille;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.next() % items.length];
    if (item === undefined) throw new RangeError('pick from nothing');
    return item;
  }

  fork(stream: number): Prng {
    return new Prng(this.next(), stream);
  }
}
