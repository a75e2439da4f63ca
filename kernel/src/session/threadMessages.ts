/** @file What the kernel's main thread and the user thread say to each other. Plain, clonable data. */

import type { MessagePort } from 'node:worker_threads';
import type { EngineReply, EngineRequest, ErrorMeta, WireError } from '@ravenlab/protocol';
import type { CellScript } from './transform/cellTransform.js';

/** Number of a run of a cell, from 1; also the epoch that the engine client refuses after Stop. */
export type CellId = number;

/** MIME type to data, as in display_data. */
export type Bundle = Record<string, unknown>;

/** A user expression of an execute request, translated like a cell. */
export interface UserExpression {
  readonly name: string;
  readonly filename: string;
  readonly body: CellScript;
  readonly isAsync: boolean;
}

/** Everything the user thread needs to run one cell. */
export interface CellRun {
  readonly cellId: CellId;
  /** Shown in stacks: `cell[3].ts`. */
  readonly filename: string;
  readonly hoisted: CellScript | null;
  readonly body: CellScript;
  /** Top-level names that the cell is about to define. */
  readonly names: readonly string[];
  readonly userExpressions: readonly UserExpression[];
  readonly allowStdin: boolean;
}

/** An exception of user code as far as it can be cloned; main turns it into a traceback. */
export interface CapturedError {
  readonly name: string;
  readonly message: string;
  /** V8's stack text; empty for a value that is no Error. */
  readonly stack: string;
  readonly cause: CapturedError | null;
  /** The error is the answer to Stop. */
  readonly isInterrupt: boolean;
}

/** How a cell ended. */
export type CellOutcome =
  | {
      readonly status: 'ok';
      readonly result: DisplayBundle | null;
      readonly userExpressions: Readonly<Record<string, ExpressionOutcome>>;
    }
  | { readonly status: 'error'; readonly error: CapturedError };

export type ExpressionOutcome =
  | { readonly status: 'ok'; readonly bundle: DisplayBundle }
  | { readonly status: 'error'; readonly error: CapturedError };

export interface DisplayBundle {
  readonly data: Bundle;
  readonly metadata: Bundle;
}

/** One piece of output, in the order in which the cell produced it. */
export type OutputItem =
  | { readonly kind: 'stream'; readonly name: 'stdout' | 'stderr'; readonly text: string }
  | {
      readonly kind: 'display';
      readonly bundle: DisplayBundle;
      readonly displayId: string | null;
      readonly isUpdate: boolean;
    }
  | { readonly kind: 'clear'; readonly wait: boolean }
  /** An error outside the cell's own run: a timer, a rejection nobody handled. */
  | { readonly kind: 'lateError'; readonly error: CapturedError };

/** From the user thread. */
export type FromUser =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'output';
      /** Null: made before any cell ran. */
      readonly cellId: CellId | null;
      readonly item: OutputItem;
      /** Charged against the output in flight. */
      readonly sizeBytes: number;
    }
  | { readonly kind: 'done'; readonly cellId: CellId; readonly outcome: CellOutcome }
  | { readonly kind: 'stopped' }
  | {
      readonly kind: 'engine';
      readonly requestId: number;
      readonly cellId: CellId;
      readonly request: EngineRequest;
    }
  | {
      readonly kind: 'input';
      readonly requestId: number;
      readonly cellId: CellId;
      readonly prompt: string;
      readonly isPassword: boolean;
    };

/** To the user thread, on the port that its event loop reads. */
export type ToUser = { readonly kind: 'run'; readonly run: CellRun } | { readonly kind: 'stop' };

export type EngineAnswer =
  | { readonly ok: true; readonly reply: EngineReply }
  | { readonly ok: false; readonly error: WireError; readonly meta: ErrorMeta };

/** To the user thread, on the port that it also reads while it is blocked. */
export type HostAnswer =
  | { readonly kind: 'engine'; readonly requestId: number; readonly answer: EngineAnswer }
  | { readonly kind: 'input'; readonly requestId: number; readonly value: string | null };

/** Words of the shared control block. */
export const CONTROL = {
  /** Bumped and notified for every HostAnswer. */
  answerSignal: 0,
  /** The last cell that Stop ended; its code must not go on. */
  stoppedCell: 1,
  /** All cells up to this one were stopped. */
  stoppedThrough: 2,
  /** Output on its way to the sockets, bytes; bumped down and notified as it is sent. */
  outputInFlight: 3,
  /** 1 while Stop is under way. */
  isStopping: 4,
  words: 5,
} as const;

/** What a user thread is born with. */
export interface UserThreadData {
  readonly port: MessagePort;
  readonly answerPort: MessagePort;
  readonly control: Int32Array;
  /** Directory of the notebook. */
  readonly notebookDir: string;
  /** Entry of the package `ravenlab`, absolute path. */
  readonly apiPath: string;
  readonly isInteractive: boolean;
}
