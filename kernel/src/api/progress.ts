/** @file A progress bar around a loop: loss and samples/s of the steps inside, updated in place. */
import { formatCount, formatDuration, formatLoss, formatRate } from '@ravenlab/protocol';
import { escapeHtml } from './html.js';
import type { StepReport } from './meter.js';
import type { Runtime } from './runtime.js';
import { currentRuntime } from './runtime.js';
import type { Tensor } from './tensor.js';

/** Between two updates of the display. */
const RENDER_MS = 150;
/** Between two lines where nobody watches; a saved notebook keeps them all. */
const PRINT_MS = 5_000;
/** The rate shown is that of the last seconds. */
const RATE_WINDOW_MS = 3_000;
const BAR_CHARS = 24;

export interface ProgressOptions {
  /** Before the bar; 'epoch' for a number of rounds. */
  readonly label?: string;
  /** Rounds to expect of an iterable without a length. */
  readonly total?: number;
  /** Goes on with this round instead of 0: what `load` or `cluster.attach` gave. For a number of rounds only. */
  readonly resume?: { readonly epoch: number } | null | undefined;
}

interface Countable<T> extends Iterable<T> {
  readonly length?: number;
}

/**
 * `for (const epoch of progress(10))` counts 0 … 9 like `range(10)`; `for (const batch of progress(loader))` goes over an
 * iterable. Losses and samples of optimizer steps inside the loop appear by themselves; `show` adds values of your own.
 */
export function progress(rounds: number, options?: ProgressOptions): Progress<number>;
export function progress<T>(items: Countable<T>, options?: ProgressOptions): Progress<T>;
export function progress<T>(
  source: number | Countable<T>,
  options: ProgressOptions = {},
): Progress<number | T> {
  if (typeof source === 'number') {
    const first = Math.min(source, options.resume?.epoch ?? 0);
    const rounds = Array.from({ length: source - first }, (_, i) => first + i);
    return new Progress<number | T>(rounds, { label: 'epoch', ...options, total: source }, first);
  }
  const total = options.total ?? source.length;
  const known = total === undefined ? {} : { total };
  return new Progress<number | T>(source, { ...options, ...known }, null);
}

/** A running bar; made by `progress`. */
export class Progress<T> implements Iterable<T> {
  private readonly items: Iterable<T>;
  private readonly label: string;
  private readonly total: number | null;
  /** Round that the count begins with; null for an iterable. */
  private readonly firstEpoch: number | null;
  private readonly runtime: Runtime;
  private readonly displayId: string;
  private readonly values = new Map<string, string>();
  /** [time, samples] of recent steps. */
  private recent: (readonly [number, number])[] = [];
  private done: number;
  private steps = 0;
  /** Of them, those that overflowed. */
  private skipped = 0;
  private roundSteps = 0;
  private samples = 0;
  private loss: number | null = null;
  private startedMs = 0;
  private renderedMs = -Infinity;
  private isShown = false;

  constructor(items: Iterable<T>, options: ProgressOptions, firstEpoch: number | null) {
    this.items = items;
    this.label = options.label ?? '';
    this.total = options.total ?? null;
    this.firstEpoch = firstEpoch;
    this.done = firstEpoch ?? 0;
    this.runtime = currentRuntime();
    this.displayId = this.runtime.newDisplayId('progress');
  }

  *[Symbol.iterator](): IterableIterator<T> {
    const { meter, progress: place } = this.runtime;
    const stopListening = meter.listen((report) => {
      this.record(report);
    });
    this.startedMs = this.runtime.session.now();
    let isFinished = false;
    try {
      for (const item of this.items) {
        if (this.firstEpoch !== null) {
          place.epoch = this.done;
          place.epochs = this.total;
          place.done = this.done;
        }
        this.render(false);
        yield item;
        this.done++;
        if (this.firstEpoch !== null) place.done = this.done;
        this.roundSteps = 0;
      }
      isFinished = true;
    } finally {
      // Also reached when the loop is left by break or an error.
      if (isFinished) this.runtime.steps.waitForAll();
      stopListening();
      if (this.firstEpoch !== null) {
        place.epoch = 0;
        place.epochs = null;
        place.stepsPerEpoch = null;
      }
      this.render(true, isFinished ? '' : 'stopped');
    }
  }

  /** Adds values beside the loss; tensors of one element are read. */
  show(values: Readonly<Record<string, number | string | Tensor>>): void {
    for (const [name, value] of Object.entries(values)) {
      const plain = typeof value === 'object' ? value.item() : value;
      this.values.set(name, typeof plain === 'number' ? formatLoss(plain) : plain);
    }
    this.render(false);
  }

  private record({ loss, samples, isSkipped }: StepReport): void {
    const now = this.runtime.session.now();
    this.steps++;
    if (isSkipped) this.skipped++;
    this.roundSteps++;
    this.samples += samples;
    if (loss !== null) this.loss = loss;
    this.recent.push([now, samples]);
    this.recent = this.recent.filter(([time]) => time > now - RATE_WINDOW_MS);
    this.render(false);
  }

  private render(isLast: boolean, ending = ''): void {
    const { session } = this.runtime;
    const now = session.now();
    if (!isLast && now - this.renderedMs < (session.interactive ? RENDER_MS : PRINT_MS)) return;
    this.renderedMs = now;
    const text = this.text(now, isLast, ending);
    if (!session.interactive) {
      session.write('stdout', `${text}\n`);
      return;
    }
    const bundle = { 'text/html': this.html(now, isLast, ending), 'text/plain': text };
    session.display(bundle, { displayId: this.displayId, update: this.isShown });
    this.isShown = true;
  }

  /** Share that is done, steps within the round included; null when the end is not known. */
  private fraction(): number | null {
    if (this.total === null || this.total === 0) return null;
    const perRound = this.firstEpoch === null ? null : this.runtime.progress.stepsPerEpoch;
    const partial = perRound === null ? 0 : Math.min(1, this.roundSteps / perRound);
    const whole = this.done + (this.done < this.total ? partial : 0);
    return Math.min(1, whole / this.total);
  }

  private details(now: number, isLast: boolean): string[] {
    const elapsedMs = now - this.startedMs;
    const fraction = this.fraction();
    const recent = this.recent.reduce((sum, [, samples]) => sum + samples, 0);
    const windowMs = isLast ? elapsedMs : Math.min(RATE_WINDOW_MS, elapsedMs);
    const rate = ((isLast ? this.samples : recent) / Math.max(1, windowMs)) * 1000;
    // What an earlier session did took no time here.
    const before = (this.firstEpoch ?? 0) / Math.max(1, this.total ?? 0);
    const left =
      isLast || fraction === null || fraction <= before
        ? null
        : (elapsedMs * (1 - fraction)) / (fraction - before);
    return [
      ...(this.loss === null ? [] : [`loss ${formatLoss(this.loss)}`]),
      ...[...this.values].map(([name, value]) => `${name} ${value}`),
      ...(this.samples === 0 ? [] : [`${formatRate(rate)} samples/s`]),
      ...(this.steps === 0 ? [] : [`${formatCount(this.steps)} steps`]),
      ...(this.skipped === 0 ? [] : [`${formatCount(this.skipped)} skipped (float16 overflow)`]),
      formatDuration(elapsedMs) + (left === null ? '' : `, ${formatDuration(left)} left`),
    ];
  }

  private head(): string {
    const count =
      this.total === null ? String(this.done) : `${String(this.done)}/${String(this.total)}`;
    return this.label === '' ? count : `${this.label} ${count}`;
  }

  private text(now: number, isLast: boolean, ending: string): string {
    const fraction = this.fraction();
    const filled = Math.round((fraction ?? 0) * BAR_CHARS);
    const bar = fraction === null ? '' : ` ${'█'.repeat(filled)}${'░'.repeat(BAR_CHARS - filled)}`;
    const parts = [`${this.head()}${bar}`, ...this.details(now, isLast)];
    if (ending !== '') parts.push(ending);
    return parts.join(' · ');
  }

  private html(now: number, isLast: boolean, ending: string): string {
    const fraction = this.fraction();
    const colour =
      ending === '' ? 'var(--jp-brand-color1,#1976d2)' : 'var(--jp-warn-color1,#c77700)';
    const percent = ((fraction ?? (isLast ? 1 : 0)) * 100).toFixed(1);
    const parts = [...this.details(now, isLast), ...(ending === '' ? [] : [ending])];
    return (
      `<div role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="${percent}" ` +
      'style="display:flex;align-items:center;gap:10px;font:var(--jp-code-font-size,13px) var(--jp-code-font-family,monospace);' +
      'font-variant-numeric:tabular-nums;color:var(--jp-ui-font-color1,inherit)">' +
      `<span>${escapeHtml(this.head())}</span>` +
      '<span style="flex:0 0 160px;height:6px;border-radius:3px;overflow:hidden;background:var(--jp-layout-color3,#ddd)">' +
      `<span style="display:block;height:100%;width:${percent}%;background:${colour}"></span></span>` +
      `<span style="opacity:.8">${escapeHtml(parts.join(' · '))}</span></div>`
    );
  }
}
