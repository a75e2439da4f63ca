/**
 * @file Events of a chain that may take its newest blocks back: each window that is read again is compared with what was known of it.
 * An event is named by its block's hash and its place, so the same payment in another block is another event.
 */
import { CHAIN_LIMITS } from '@ravenlab/protocol';

export interface ChainEvent {
  readonly block: number;
  readonly blockHash: string;
  readonly logIndex: number;
}

export interface WindowChange<T extends ChainEvent> {
  /** Not seen before. */
  readonly added: readonly T[];
  /** Their block is no longer of the chain. */
  readonly gone: readonly T[];
}

export const eventKey = ({ blockHash, logIndex }: ChainEvent): string =>
  `${blockHash} ${String(logIndex)}`;

/** What changed in a window: `known` and `seen` are all events of the same blocks. */
export function compareWindow<T extends ChainEvent>(
  known: readonly T[],
  seen: readonly T[],
): WindowChange<T> {
  const knownKeys = new Set(known.map(eventKey));
  const seenKeys = new Set(seen.map(eventKey));
  return {
    added: seen.filter((event) => !knownKeys.has(eventKey(event))),
    gone: known.filter((event) => !seenKeys.has(eventKey(event))),
  };
}

/** Blocks to read: what is new, and the last of what was read, for it may be different by now. Null when there is none. */
export function windowOf(options: {
  /** Newest block that was read; null before the first time. */
  readonly scanned: number | null;
  /** Where there is anything at all to read. */
  readonly first: number;
  readonly head: number;
}): { readonly from: number; readonly to: number } | null {
  const { scanned, first, head } = options;
  // A head behind what was read is a chain that has become shorter: read it again as far as it goes.
  const resume = scanned === null ? first : Math.min(scanned, head) - CHAIN_LIMITS.reorgBlocks;
  const from = Math.max(first, resume);
  if (from > head) return null;
  return { from, to: Math.min(head, from + CHAIN_LIMITS.logBlocks - 1) };
}

/** The newest block whose events count, when each needs `confirmations` blocks, its own included. */
export function confirmedBlock(head: number, confirmations: number): number {
  return head - (confirmations - 1);
}

/** The chain's order. */
export function inOrder(a: ChainEvent, b: ChainEvent): number {
  return a.block - b.block || a.logIndex - b.logIndex;
}
