/** @file Words written one writer after the other and side by side: memory is used again, never shared. */
import { RavenError } from '@ravenlab/protocol';
import { WordWriter, wordsOf } from '../../../protocol/src/words.js';

const written = (words: readonly number[], maxWords = 100): Uint8Array => {
  const out = new WordWriter('a test', maxWords);
  for (const word of words) out.int('word', word);
  return out.finish();
};
const wordsIn = (bytes: Uint8Array): number[] => [...wordsOf(bytes, 'a test')];

describe('a writer of words', () => {
  test('gives out bytes that later writers do not touch', () => {
    const first = written([1, 2, 3]);
    const second = written([4, 5, 6]);
    expect([wordsIn(first), wordsIn(second)]).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });

  test('shares nothing with another one that writes at the same time', () => {
    const outer = new WordWriter('outer', 100);
    outer.int('word', 1);
    const inner = new WordWriter('inner', 100);
    inner.int('word', 7);
    outer.int('word', 2);
    expect([wordsIn(inner.finish()), wordsIn(outer.finish())]).toEqual([[7], [1, 2]]);
  });

  test('is empty once it is through, and works on without touching what it gave out', () => {
    const out = new WordWriter('a test', 100);
    out.int('word', 1);
    const bytes = out.finish();
    expect(out.length).toBe(0);
    const other = new WordWriter('other', 100);
    other.int('word', 3);
    out.int('word', 2);
    expect([wordsIn(bytes), wordsIn(out.finish()), wordsIn(other.finish())]).toEqual([
      [1],
      [2],
      [3],
    ]);
  });

  test('keeps its bound, however much memory is left from before', () => {
    written(
      Array.from({ length: 5_000 }, (_, i) => i),
      10_000,
    );
    expect(() => written([1, 2, 3], 2)).toThrow(RavenError);
    // The refused one took the memory with it; the next one makes its own.
    expect(wordsIn(written([1, 2]))).toEqual([1, 2]);
  });
});
