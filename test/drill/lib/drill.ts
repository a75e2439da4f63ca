/** @file What a drill is: a row of the table. */
import type { Prng } from '../../sim/prng.js';
import type { Figure } from './verdict.js';

export interface DrillContext {
  /** Who is struck, and when; its seed is printed. */
  readonly prng: Prng;
  /** The short form: fewer strikes, smaller courses. */
  readonly isShort: boolean;
  readonly say: (text: string) => void;
}

/** A machine cannot give what the drill needs: root rights, a file system. */
export class Skip extends Error {}

export interface Drill {
  readonly name: string;
  /** One line for people. */
  readonly title: string;
  /** Belongs to the short form too. */
  readonly isInShort: boolean;
  /** @throws Skip with the reason. */
  readonly run: (context: DrillContext) => Promise<Figure[]>;
}
