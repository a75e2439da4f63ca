/** @file What the result of one more worker says about an answer under audit. Pure: who asks next, and what follows, is the shell's. */

/** clean: it is right · caught: it is wrong · undecided: the next one has to be asked. */
export type Finding = 'clean' | 'caught' | 'undecided';

export interface Repetition {
  /** The user's own worker: its word is enough. */
  readonly isTrusted: boolean;
  readonly agreesWithAnswer: boolean;
  /** With the one who disagreed before; null when nobody has. */
  readonly agreesWithRival: boolean | null;
}

/**
 * Two of different owners decide. Three results that all differ decide nothing: two of them may be lies, and each liar may
 * have been the other's judge.
 */
export function findingOf({ isTrusted, agreesWithAnswer, agreesWithRival }: Repetition): Finding {
  if (agreesWithAnswer) return 'clean';
  return isTrusted || agreesWithRival === true ? 'caught' : 'undecided';
}
