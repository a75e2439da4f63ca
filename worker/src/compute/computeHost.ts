/** @file Where units are computed, seen from the network thread: a thread of this process, or a child process of its own. */
import type { ErrorCode } from '@ravenlab/protocol';
import type { ComputeOptions, FromCompute, ToCompute } from './computeMessages.js';

export interface HostEvents {
  message(message: FromCompute): void;
  /** It is gone, with all that it held; once. `code` is 'limit' when memory was the reason. */
  ended(end: HostEnd): void;
}

export interface HostEnd {
  readonly code: ErrorCode;
  /** Completes "the compute … ended: ". */
  readonly reason: string;
}

export interface ComputeHost {
  post(message: ToCompute, transfer: readonly ArrayBuffer[]): void;
  /** How long the unit that runs now has been running, ms; 0 when idle. */
  readonly busyMs: number;
  /** Call about once a second. @returns why it does not live any more, though it has not ended; null when it does */
  beat(): string | null;
  /** Asks it to end after the unit that runs now. */
  stop(): void;
  /** Ends it as soon as that can be done. */
  abandon(): void;
  /** Settles when it is gone. */
  readonly gone: Promise<void>;
}

export type OpenHost = (options: ComputeOptions, events: HostEvents) => ComputeHost;
