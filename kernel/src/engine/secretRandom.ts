/** @file Numbers that nobody outside can foresee. */
import { randomFillSync } from 'node:crypto';

const WORDS = 256;

/** @returns a source of numbers that are uniform in [0, 1), with 32 bits each. */
export function secretRandom(): () => number {
  const words = new Uint32Array(WORDS);
  let at = WORDS;
  return () => {
    if (at === WORDS) {
      randomFillSync(words);
      at = 0;
    }
    const word = words[at++] ?? 0;
    return word * 2 ** -32;
  };
}
