/** @file Shows a worker to its owner: a view redrawn in place on a terminal, plain lines anywhere else. */
import type { Writable } from 'node:stream';
import { WriteStream } from 'node:tty';
import type { WelcomeMessage, WireError } from '@ravenlab/protocol';
import { WORKER_LIMITS, formatGflops } from '@ravenlab/protocol';
import type { ComputeReady } from '../compute/computeMessages.js';
import type { RuntimeEvents, RuntimeOptions } from '../net/workerRuntime.js';
import type { PayView } from '../wallet/payDesk.js';
import type { LinkState, WorkerReport } from './report.js';
import { reportLines, summaryLine } from './report.js';
import { Screen, terminalPaint } from './screen.js';
import { Tally } from './tally.js';

/** What the display reads of the runtime. */
export interface Watched {
  readonly queuedUnits: number;
}

const MS_PER_S = 1000;

export class Display implements RuntimeEvents {
  private readonly options: RuntimeOptions;
  private readonly output: Writable;
  private readonly screen: Screen | null;
  private readonly paint = terminalPaint(process.env);
  private readonly timer: NodeJS.Timeout | undefined;
  private readonly tally = new Tally();
  private readonly startedMs = performance.now();
  private runtime: Watched = { queuedUnits: 0 };
  private compute: ComputeReady | null = null;
  private link: LinkState = 'starting';
  private shortId: string | null = null;
  private price: string | null = null;
  private amount = 0n;
  private pay: PayView | null = null;
  private notice: string | null = null;
  private wasWelcome = false;

  constructor(options: RuntimeOptions, output: Writable) {
    this.options = options;
    this.output = output;
    this.screen = output instanceof WriteStream && output.isTTY ? new Screen(output) : null;
    if (this.screen !== null) {
      this.timer = setInterval(() => this.redraw(), MS_PER_S / WORKER_LIMITS.viewHz);
    }
  }

  attach(runtime: Watched): void {
    this.runtime = runtime;
    this.redraw();
  }

  ready(ready: ComputeReady): void {
    this.compute = ready;
    this.link = 'connecting';
    const { backend } = this.options.compute;
    this.say(`${ready.deviceName}, ${backend}, ${formatGflops(ready.gflops)}`);
    this.say(`connecting to ${this.options.link.endpoint}`);
  }

  welcome({ shortId, price }: WelcomeMessage): void {
    this.shortId = shortId;
    this.price = price;
    this.link = 'working';
    this.notice = null;
    this.say(`${this.wasWelcome ? 'joined again' : 'joined'} as ${shortId}; price ${price}`);
    this.wasWelcome = true;
  }

  disconnected(): void {
    if (this.link !== 'draining') this.link = 'reconnecting';
    this.say('connection lost, trying again');
  }

  draining(): void {
    this.link = 'draining';
    this.say('finishing the units in work, then leaving');
    this.redraw();
  }

  unitsDone(done: {
    readonly units: number;
    readonly failed: number;
    readonly samples: number;
  }): void {
    this.tally.add(done);
  }

  earned(_units: number, amount: bigint): void {
    this.amount = amount;
  }

  paid(view: PayView): void {
    const isFirst = this.pay === null;
    this.pay = view;
    if (isFirst) this.say(`paid in ${view.tokenSymbol} on ${view.address}`);
  }

  problem(error: WireError): void {
    this.notice = error.message;
    this.say(error.message);
  }

  ended(): void {
    this.link = 'left';
  }

  /** Draws the last picture and says what was done. */
  close(): void {
    clearInterval(this.timer);
    this.redraw();
    this.screen?.close();
    this.output.write(`${summaryLine(this.report())}\n`);
  }

  private say(line: string): void {
    if (this.screen === null) this.output.write(`${line}\n`);
  }

  private redraw(): void {
    this.screen?.draw(reportLines(this.report(), this.screen.columns, this.paint));
  }

  private report(): WorkerReport {
    const nowMs = performance.now();
    const rates = this.tally.rates(nowMs);
    const { backend, threads } = this.options.compute;
    return {
      device: this.compute?.deviceName ?? '…',
      backend,
      threads,
      gflops: this.compute?.gflops ?? null,
      cluster: this.options.link.endpoint,
      shortId: this.shortId,
      link: this.link,
      queuedUnits: this.runtime.queuedUnits,
      units: this.tally.units,
      failed: this.tally.failed,
      samples: this.tally.samples,
      samplesPerSecond: rates.samples,
      unitsPerSecond: rates.units,
      earned: this.amount,
      price: this.price,
      pay: this.pay,
      upMs: nowMs - this.startedMs,
      notice: this.notice,
    };
  }
}

/** For workers of an engine: the panel shows them. */
export function silentDisplay(): RuntimeEvents & Pick<Display, 'attach' | 'draining' | 'close'> {
  const nothing = (): void => undefined;
  return {
    attach: nothing,
    ready: nothing,
    welcome: nothing,
    disconnected: nothing,
    draining: nothing,
    unitsDone: nothing,
    earned: nothing,
    paid: nothing,
    problem: nothing,
    ended: nothing,
    close: nothing,
  };
}
