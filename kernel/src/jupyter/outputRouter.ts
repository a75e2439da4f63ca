/**
 * @file Output of cells on its way to IOPub: merged, rate limited, in order, never lost. Pure but for
 * the injected clock and outlet.
 */

import { KERNEL_LIMITS } from '@ravenlab/protocol';
import type { JsonObject } from './wire.js';

/** A message for IOPub without its parent. */
export interface IopubMessage {
  readonly msgType: string;
  readonly content: JsonObject;
}

/** Time for the router; injected so that tests need not sleep. */
export interface RouterClock {
  /** Monotonic, ms. */
  nowMs(): number;
  /** Calls back once; returns a function that cancels it. */
  after(delayMs: number, callback: () => void): () => void;
}

/** Outlets of an {@link OutputRouter}; `T` is what identifies a cell's parent message. */
export interface OutputRouterOptions<T> {
  readonly clock: RouterClock;
  readonly publish: (parent: T, message: IopubMessage) => void;
  /** This many bytes of output have left the router. */
  readonly onReleased: (sizeBytes: number) => void;
}

type PendingItem =
  | { kind: 'stream'; readonly name: 'stdout' | 'stderr'; text: string; sizeBytes: number }
  | {
      kind: 'message';
      message: IopubMessage;
      /** Displays with the same id replace one another while they wait. */
      readonly displayId: string | null;
      sizeBytes: number;
    };

interface CellOutlet<T> {
  readonly parent: T;
  readonly pending: PendingItem[];
  pendingChars: number;
  /** Messages that may be sent now; refills with time. */
  tokens: number;
  refilledAtMs: number;
  /** Cancels the timer of the next pump. */
  cancelTimer: (() => void) | null;
  /** Called when nothing is pending any more. */
  readonly onEmpty: (() => void)[];
}

/** One outlet per cell; `K` is the key of a cell. */
export class OutputRouter<K, T> {
  private readonly options: OutputRouterOptions<T>;
  /** Oldest first; bounded, because late output may come for ever. */
  private readonly cells = new Map<K, CellOutlet<T>>();

  constructor(options: OutputRouterOptions<T>) {
    this.options = options;
  }

  /** Makes a cell known; its output goes out with this parent, however late it comes. */
  open(key: K, parent: T): void {
    this.cells.set(key, {
      parent,
      pending: [],
      pendingChars: 0,
      tokens: KERNEL_LIMITS.iopubBurst,
      refilledAtMs: this.options.clock.nowMs(),
      cancelTimer: null,
      onEmpty: [],
    });
    for (const [oldest, outlet] of this.cells) {
      if (this.cells.size <= KERNEL_LIMITS.rememberedCells) break;
      if (outlet.pending.length === 0) this.cells.delete(oldest);
    }
  }

  /** Stream text; merged with what is waiting. */
  stream(key: K | null, name: 'stdout' | 'stderr', text: string, sizeBytes: number): void {
    const outlet = this.find(key);
    if (!outlet) return this.options.onReleased(sizeBytes);
    const last = outlet.pending.at(-1);
    const canMerge =
      last?.kind === 'stream' &&
      last.name === name &&
      last.text.length + text.length <= KERNEL_LIMITS.streamMessageChars;
    if (canMerge) {
      last.text += text;
      last.sizeBytes += sizeBytes;
    } else {
      outlet.pending.push({ kind: 'stream', name, text, sizeBytes });
    }
    outlet.pendingChars += text.length;
    const isLarge = outlet.pendingChars >= KERNEL_LIMITS.streamMergeChars;
    if (isLarge) this.pump(outlet);
    else this.schedule(outlet, KERNEL_LIMITS.streamMergeMs);
  }

  /** Any other message; goes out at once unless the cell is over its rate. */
  message(
    key: K | null,
    message: IopubMessage,
    { displayId = null, sizeBytes = 0 }: { displayId?: string | null; sizeBytes?: number } = {},
  ): void {
    const outlet = this.find(key);
    if (!outlet) return this.options.onReleased(sizeBytes);
    const superseded = displayId === null ? undefined : findWaitingDisplay(outlet, displayId);
    const isUpdate = message.msgType === 'update_display_data';
    if (superseded && isUpdate) {
      // The waiting message keeps its type: an update of a display that was never sent is that display.
      const { msgType } = superseded.message;
      superseded.message = { msgType, content: message.content };
      superseded.sizeBytes += sizeBytes;
    } else {
      outlet.pending.push({ kind: 'message', message, displayId, sizeBytes });
    }
    this.pump(outlet);
  }

  /** Calls back when everything that the cell has written so far has been published. */
  whenEmpty(key: K, callback: () => void): void {
    const outlet = this.cells.get(key);
    if (!outlet) return callback();
    outlet.onEmpty.push(callback);
    this.pump(outlet);
  }

  /** Publishes everything at once, over any rate: the kernel is about to end. */
  flushAll(): void {
    for (const outlet of this.cells.values()) {
      outlet.tokens = Infinity;
      this.pump(outlet);
    }
  }

  /** Output from before the first cell, or of a cell long forgotten, goes to the newest cell. */
  private find(key: K | null): CellOutlet<T> | undefined {
    const outlet = key === null ? undefined : this.cells.get(key);
    return outlet ?? [...this.cells.values()].at(-1);
  }

  private pump(outlet: CellOutlet<T>): void {
    outlet.cancelTimer?.();
    outlet.cancelTimer = null;
    this.refill(outlet);
    let sent = 0;
    for (const item of outlet.pending) {
      if (outlet.tokens < 1) break;
      outlet.tokens -= 1;
      sent += 1;
      const message = item.kind === 'stream' ? streamMessage(item) : item.message;
      this.options.publish(outlet.parent, message);
      this.options.onReleased(item.sizeBytes);
    }
    outlet.pending.splice(0, sent);
    outlet.pendingChars = outlet.pending.reduce(
      (sum, item) => sum + (item.kind === 'stream' ? item.text.length : 0),
      0,
    );
    if (outlet.pending.length > 0) {
      const missing = 1 - outlet.tokens;
      this.schedule(outlet, Math.ceil((missing * 1000) / KERNEL_LIMITS.iopubPerSecond));
      return;
    }
    for (const callback of outlet.onEmpty.splice(0)) callback();
  }

  private schedule(outlet: CellOutlet<T>, delayMs: number): void {
    outlet.cancelTimer ??= this.options.clock.after(delayMs, () => {
      outlet.cancelTimer = null;
      this.pump(outlet);
    });
  }

  private refill(outlet: CellOutlet<T>): void {
    const nowMs = this.options.clock.nowMs();
    const gained = ((nowMs - outlet.refilledAtMs) * KERNEL_LIMITS.iopubPerSecond) / 1000;
    outlet.refilledAtMs = nowMs;
    if (outlet.tokens !== Infinity) {
      outlet.tokens = Math.min(KERNEL_LIMITS.iopubBurst, outlet.tokens + gained);
    }
  }
}

function findWaitingDisplay<T>(
  outlet: CellOutlet<T>,
  displayId: string,
): (PendingItem & { kind: 'message' }) | undefined {
  for (let index = outlet.pending.length - 1; index >= 0; index--) {
    const item = outlet.pending[index];
    if (item?.kind !== 'message') continue;
    if (item.displayId === displayId) return item;
    if (item.message.msgType === 'clear_output') return undefined;
  }
  return undefined;
}

function streamMessage(item: PendingItem & { kind: 'stream' }): IopubMessage {
  return { msgType: 'stream', content: { name: item.name, text: item.text } };
}
