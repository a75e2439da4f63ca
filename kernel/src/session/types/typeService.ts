/** @file What the kernel asks about types; the TypeScript compiler behind it lives in a thread of its own. */

/** One completion. */
export interface CompletionItem {
  readonly text: string;
  /** `function`, `class`, `property`, …, as front ends show it. */
  readonly type: string;
}

/** Completions for a place; offsets count UTF-16 units. */
export interface Completions {
  readonly items: readonly CompletionItem[];
  readonly start: number;
  readonly end: number;
}

/** What is known of a name, or of the call whose arguments are being typed. */
export interface Inspection {
  /** Type or signature, as TypeScript. */
  readonly signature: string;
  /** Documentation, Markdown. */
  readonly documentation: string;
}

/** A type error of a cell; line and column count from 1. */
export interface TypeDiagnostic {
  readonly line: number;
  readonly column: number;
  readonly code: number;
  readonly message: string;
}

/** A cell that is about to run. */
export interface TypedCell {
  readonly filename: string;
  readonly code: string;
}

/** Answers questions about cells; never runs them. Every answer may be empty: types are a service, not a gate. */
export interface TypeService {
  complete(code: string, offset: number): Promise<Completions | null>;
  inspect(code: string, offset: number): Promise<Inspection | null>;
  /** Carries the declarations of a cell over to later questions and reports its type errors. */
  addCell(
    cell: TypedCell,
    options: { readonly check: boolean },
  ): Promise<readonly TypeDiagnostic[]>;
  /** The variables were lost: forget all cells. */
  reset(): void;
  /** Answers come in milliseconds; false while the compiler is still being loaded. */
  readonly isReady: boolean;
  /** Ends the service for good. */
  dispose(): Promise<void>;
}
