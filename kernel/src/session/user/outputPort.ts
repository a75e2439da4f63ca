/** @file Output of user code on its way to the main thread: ordered, never lost, bounded in memory. */

import type { MessagePort } from 'node:worker_threads';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import { CONTROL } from '../threadMessages.js';
import type { FromUser, OutputItem } from '../threadMessages.js';
import type { CellScope } from './cellScope.js';

/** A blocked writer looks again after this long, in case the notification came first. */
const RECHECK_MS = 100;

/** Posts output items; a cell that prints faster than the sockets take it waits here. */
export class OutputPort {
  private readonly port: MessagePort;
  private readonly control: Int32Array;
  private readonly scope: CellScope;

  constructor(port: MessagePort, control: Int32Array, scope: CellScope) {
    this.port = port;
    this.control = control;
    this.scope = scope;
  }

  /** Sends one item as output of the cell that the running code belongs to. */
  emit(item: OutputItem): void {
    const sizeBytes = sizeOf(item);
    // Posting first: a termination between the two lines can only make the bound a little wider.
    this.post({ kind: 'output', cellId: this.scope.current?.cellId ?? null, item, sizeBytes });
    Atomics.add(this.control, CONTROL.outputInFlight, sizeBytes);
    this.waitForRoom();
  }

  /** Sends text of a stream. */
  write(name: 'stdout' | 'stderr', text: string): void {
    for (let at = 0; at < text.length; at += KERNEL_LIMITS.streamMessageChars) {
      const part = text.slice(at, at + KERNEL_LIMITS.streamMessageChars);
      this.emit({ kind: 'stream', name, text: part });
    }
  }

  /** Sends anything that is not output. */
  post(message: FromUser): void {
    this.port.postMessage(message);
  }

  private waitForRoom(): void {
    for (;;) {
      const inFlight = Atomics.load(this.control, CONTROL.outputInFlight);
      if (inFlight <= KERNEL_LIMITS.outputInFlightBytes) return;
      Atomics.wait(this.control, CONTROL.outputInFlight, inFlight, RECHECK_MS);
    }
  }
}

function sizeOf(item: OutputItem): number {
  const overhead = KERNEL_LIMITS.outputOverheadBytes;
  if (item.kind === 'stream') return overhead + item.text.length;
  if (item.kind !== 'display') return overhead;
  const values = Object.values(item.bundle.data);
  return values.reduce<number>(
    (sum, value) => sum + (typeof value === 'string' ? value.length : overhead),
    overhead,
  );
}
