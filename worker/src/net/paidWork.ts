/**
 * @file Between the runtime and the desk: which batches wait because the engine owes too much, and what has left as paid work.
 * Decides nothing about money.
 */
import type { ByeReason, RavenError, WorkerToEngine } from '@ravenlab/protocol';
import type { UnitOutcome } from '../compute/computeMessages.js';
import type { Delivery } from '../core/credit.js';
import type { WorkerEffect } from '../core/events.js';
import type { Batch } from '../core/state.js';
import type { DealMessage, PayDeskOptions, PayView } from '../wallet/payDesk.js';
import { PayDesk } from '../wallet/payDesk.js';
import { coveredUnits } from './outcomes.js';

export type PayOptions = Omit<PayDeskOptions, 'gflops' | 'nowMs' | 'recheckMs'>;

type Start = Extract<WorkerEffect, { kind: 'start' }>;
type Skip = Extract<WorkerEffect, { kind: 'skip' }>;

export interface PaidWorkEvents {
  send(message: WorkerToEngine): void;
  /** A batch that was held back, and what was skipped of it meanwhile. */
  released(start: Start, skips: readonly Skip[]): void;
  left(reason: ByeReason, error: RavenError): void;
  /** A voucher or terms were dealt with. */
  changed(): void;
  paid(view: PayView): void;
  notice(text: string): void;
}

export class PaidWork {
  private readonly events: PaidWorkEvents;
  private readonly desk: PayDesk;
  /** By batch, in the order in which they came; bounded as the machine's batches are. */
  private readonly held = new Map<number, { readonly start: Start; readonly skips: Skip[] }>();

  constructor(options: PayOptions, gflops: number, events: PaidWorkEvents) {
    this.events = events;
    this.desk = new PayDesk(
      { ...options, gflops, nowMs: Date.now },
      {
        send: (message) => events.send(message),
        changed: () => {
          this.release();
          events.changed();
        },
        shown: (view) => events.paid(view),
        notice: (text) => events.notice(text),
        left: (reason, error) => events.left(reason, error),
      },
    );
  }

  receive(message: DealMessage): void {
    this.desk.receive(message);
  }

  /** Keeps a batch back while the engine owes too much. @returns whether it does. */
  holds(start: Start): boolean {
    if (this.desk.mayWork && this.held.size === 0) return false;
    this.held.set(start.batch.id, { start, skips: [] });
    return true;
  }

  /** Notes what is skipped of a batch that is held back. @returns whether it is. */
  skips(skip: Skip): boolean {
    const held = this.held.get(skip.batch);
    held?.skips.push(skip);
    return held !== undefined;
  }

  get isOwed(): boolean {
    return this.desk.isOwed;
  }

  /** These outcomes were sent. */
  delivered({ run, program }: Batch, outcomes: readonly UnitOutcome[]): void {
    if (program === null) return;
    const { hash, work } = program;
    const units = outcomes.flatMap((outcome): Delivery[] => {
      const { digest } = outcome;
      if (outcome.status !== 'ok' || digest === undefined) return [];
      return coveredUnits(run, outcome).flatMap((unit) => {
        const lease = run.units[unit]?.lease;
        return lease === undefined ? [] : [{ lease, digest, program: hash, ...work }];
      });
    });
    if (units.length > 0) this.desk.delivered(units);
  }

  disconnected(): void {
    this.held.clear();
    this.desk.disconnected();
  }

  close(): Promise<void> {
    this.held.clear();
    return this.desk.close();
  }

  private release(): void {
    for (const [batch, { start, skips }] of this.held) {
      if (!this.desk.mayWork) return;
      this.held.delete(batch);
      // Of one that was cancelled altogether nothing is left to do.
      if (start.batch.open > 0) this.events.released(start, skips);
    }
  }
}
