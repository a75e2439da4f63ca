/**
 * @file Follows a training loop, so that every step is committed together with the place where the loop goes on after it.
 *
 * A step is sent in the middle of a round: what comes behind `opt.step()` (a schedule's step, mostly) has not happened yet. The
 * bookmark of a step foresees the schedule's steps from the round before; where that turns out wrong, a mark corrects it as soon as
 * the loop asks for its next batch. What comes between the last batch of an epoch and the next step (an evaluation, maybe over the
 * very same loader) is never marked: a resumed loop does it again, from the state that it found the first time.
 */
import type { Aggregate, EngineRequest, RunId, WireFormat } from '@ravenlab/protocol';
import { API_LIMITS } from '@ravenlab/protocol';
import type { ComputeFormat } from '../precision.js';
import type { Bookmark, LoaderPlace, OptimizerPlace } from './bookmark.js';
import { withMicroShard } from './bookmark.js';

/** One `for` over a loader. */
export interface LoaderPass {
  readonly fingerprint: string;
  readonly epoch: number;
  /** Batches taken. */
  batch: number;
  /** The loop came to its end; false while it runs and after `break`. */
  isFinished: boolean;
}

/** An optimizer as its loop sees it. */
export interface LoopOptimizer {
  /** Steps of its schedule; 0 without one. */
  readonly scheduled: number;
  /** Settings after `ahead` more steps of its schedule. */
  place(ahead: number): OptimizerPlace;
}

/** What the loop tracker reads of its runtime. */
export interface LoopHost {
  /** `epochs` is null outside of `progress(n)`; `done` rounds of the last one are through. */
  readonly progress: {
    readonly epoch: number;
    readonly epochs: number | null;
    readonly done: number;
  };
  readonly randomPlace: Pick<Bookmark, 'seedLow' | 'seedHigh' | 'draws'>;
  readonly microShardRows: number;
  readonly wire: WireFormat;
  readonly aggregate: Aggregate;
  readonly compute: ComputeFormat;
  post(request: EngineRequest): void;
}

interface LastStep {
  readonly optimizer: LoopOptimizer;
  readonly runId: RunId;
  readonly step: number;
  /** Round of `progress` that it was made in. */
  readonly epoch: number;
  readonly scheduled: number;
  /** The pass that the loop is in; null for a loop without a loader. */
  readonly pass: LoaderPass | null;
  /** What the engine knows. */
  text: string;
}

export class LoopTracker {
  private readonly host: LoopHost;
  /** The pass that a batch was taken of last. */
  private pass: LoaderPass | null = null;
  private last: LastStep | null = null;
  /** After a step and before the next round. */
  private isInTail = false;
  /** Steps of the schedule behind the optimizer's step, in the round before. */
  private readonly ahead = new WeakMap<LoopOptimizer, number>();

  constructor(host: LoopHost) {
    this.host = host;
  }

  /** A batch goes out. */
  took(pass: LoaderPass): void {
    this.pass = pass;
  }

  /** The body of the loop is through with the batch. */
  ended(pass: LoaderPass): void {
    if (!this.isInTail || this.last?.pass !== pass) return;
    this.endTail();
    this.remark();
  }

  /** The bookmark of a step that is about to be sent; '' when the optimizer has too many groups for one. */
  stepped(optimizer: LoopOptimizer, runId: RunId, step: number): string {
    // A loop without a loader: its rounds go from step to step.
    if (this.last?.pass === null) this.endTail();
    const pass = this.pass?.isFinished === true ? null : this.pass;
    const { epoch } = this.host.progress;
    const { scheduled } = optimizer;
    this.last = { optimizer, runId, step, pass, epoch, scheduled, text: '' };
    this.isInTail = true;
    const place = optimizer.place(this.ahead.get(optimizer) ?? 0);
    // The optimizer counts the step when it is sent.
    this.last.text = this.textOf(this.last, { ...place, steps: place.steps + 1 });
    return this.last.text;
  }

  /** The bookmark of a step that is sent again because batches are cut otherwise now; `text` is what it had when it was made. */
  cutAnew(runId: RunId, step: number, text: string): string {
    const { last, host } = this;
    const isLast = last?.runId === runId && last.step === step;
    // Marks may have corrected it since.
    const bookmark = withMicroShard(isLast ? last.text : text, host.microShardRows);
    if (isLast) last.text = bookmark;
    return bookmark;
  }

  /** The schedule of this optimizer went on. */
  scheduled(optimizer: LoopOptimizer): void {
    if (this.isInTail && this.last?.optimizer === optimizer) this.remark();
  }

  /** Where the loop is now, for a file; `pass` is that of the loader to be resumed. */
  now(optimizer: LoopOptimizer | null, pass: LoaderPass | null): Bookmark {
    const { epoch, epochs, done } = this.host.progress;
    const place = optimizer?.place(0) ?? null;
    if (pass === null) {
      const isDone = this.last?.pass === null && this.last.epoch === epoch;
      return this.bookmark(epochs === null ? done : epoch + (isDone ? 1 : 0), null, place);
    }
    const { fingerprint, isFinished } = pass;
    const ahead = isFinished ? 1 : 0;
    const loader = { fingerprint, epoch: pass.epoch + ahead, batch: isFinished ? 0 : pass.batch };
    return this.bookmark(epochs === null ? loader.epoch : epoch + ahead, loader, place);
  }

  /** Another run goes on from here. */
  restart(): void {
    this.pass = null;
    this.last = null;
    this.isInTail = false;
  }

  private endTail(): void {
    if (!this.isInTail || this.last === null) return;
    this.isInTail = false;
    const { optimizer, scheduled } = this.last;
    this.ahead.set(optimizer, Math.max(0, optimizer.scheduled - scheduled));
  }

  /** Tells the engine if the loop is elsewhere than the last bookmark says. */
  private remark(): void {
    const { last } = this;
    if (last === null) return;
    const text = this.textOf(last, last.optimizer.place(0));
    if (text === last.text) return;
    last.text = text;
    this.host.post({ kind: 'mark', runId: last.runId, step: last.step, bookmark: text });
  }

  private textOf({ pass }: LastStep, place: OptimizerPlace): string {
    if (place.groups.length > API_LIMITS.optimizerGroups) return '';
    const { epoch, epochs } = this.host.progress;
    // Without a loader a round is a step, and this one is done.
    if (pass === null) {
      return JSON.stringify(this.bookmark(epochs === null ? 0 : epoch + 1, null, place));
    }
    const { fingerprint, batch } = pass;
    const loader = { fingerprint, epoch: pass.epoch, batch };
    return JSON.stringify(this.bookmark(epochs === null ? pass.epoch : epoch, loader, place));
  }

  private bookmark(
    epoch: number,
    loader: LoaderPlace | null,
    optimizer: OptimizerPlace | null,
  ): Bookmark {
    const { randomPlace, microShardRows, wire, aggregate, compute } = this.host;
    const place = { ...randomPlace, microShardRows, wire, aggregate, compute };
    return { format: 1, epoch, ...place, optimizer, loader };
  }
}
