/** @file Text as numbers: a vocabulary of characters, or of words that a function cuts. */
import { DataError } from '@ravenlab/protocol';

/** A two-way map between tokens and the numbers 0 … size - 1, in order of code points. */
export class Vocabulary {
  readonly tokens: readonly string[];
  private readonly numbers: ReadonlyMap<string, number>;
  private readonly cut: (text: string) => string[];

  constructor(tokens: Iterable<string>, cut: (text: string) => string[]) {
    this.tokens = [...new Set(tokens)].sort();
    this.numbers = new Map(this.tokens.map((token, index) => [token, index]));
    this.cut = cut;
  }

  get size(): number {
    return this.tokens.length;
  }

  /** @throws DataError naming the first token that is not in the vocabulary. */
  encode(text: string): Int32Array {
    return Int32Array.from(this.cut(text), (token) => {
      const number = this.numbers.get(token);
      if (number !== undefined) return number;
      throw new DataError(
        `vocabulary: '${token}' is not one of its ${String(this.size)} tokens; build it from all of the text`,
        { meta: { token } },
      );
    });
  }

  decode(numbers: ArrayLike<number>): string {
    return Array.from(numbers, (number) => this.tokens[number] ?? '').join('');
  }
}

/** A vocabulary of the characters of `text`, or of what `cut` makes of it. */
export function vocabulary(
  text: string,
  cut: (text: string) => string[] = (all) => Array.from(all),
): Vocabulary {
  return new Vocabulary(cut(text), cut);
}
