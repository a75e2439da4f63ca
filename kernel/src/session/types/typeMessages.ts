/** @file What the main thread and the type thread say to each other. */

import type { Completions, Inspection, TypeDiagnostic, TypedCell } from './typeService.js';

/** A question; `reset` has no answer. */
export type TypeQuestion =
  | { readonly kind: 'complete'; readonly code: string; readonly offset: number }
  | { readonly kind: 'inspect'; readonly code: string; readonly offset: number }
  | { readonly kind: 'addCell'; readonly cell: TypedCell; readonly check: boolean }
  | { readonly kind: 'reset' };

export interface NumberedQuestion {
  readonly id: number;
  readonly question: TypeQuestion;
}

/** The answer; null for none, or if the compiler failed. */
export type TypeAnswer = Completions | Inspection | readonly TypeDiagnostic[] | null;

export type FromTypes =
  | { readonly kind: 'ready' }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: TypeAnswer }
  | { readonly kind: 'failure'; readonly id: number; readonly message: string };
