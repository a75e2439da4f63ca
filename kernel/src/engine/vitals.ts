/** @file How the engine's process is doing: event-loop delay, memory, open files. Costs nothing until it is asked for. */
import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { IntervalHistogram } from 'node:perf_hooks';

export interface VitalSigns {
  readonly rssBytes: number;
  /** Files, sockets and pipes that are open; null where the system does not tell. */
  readonly openFiles: number | null;
  /** Processor time since the start of the process, ms. */
  readonly cpuMs: number;
  /** How late a timer was since the last reading; ms. Null in the first one, which starts the measurement. */
  readonly loopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number } | null;
}

/** A timer of this period is what is measured; ms. */
const RESOLUTION_MS = 5;
const OPEN_FILES = '/proc/self/fd';

export class Vitals {
  private histogram: IntervalHistogram | null = null;

  /** Signs now, and the delays since the last call. */
  read(): VitalSigns {
    const { user, system } = process.cpuUsage();
    return {
      rssBytes: process.memoryUsage.rss(),
      openFiles: countOpenFiles(),
      cpuMs: (user + system) / 1000,
      loopDelayMs: this.loopDelay(),
    };
  }

  close(): void {
    this.histogram?.disable();
  }

  private loopDelay(): VitalSigns['loopDelayMs'] {
    const { histogram } = this;
    if (histogram === null) {
      this.histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
      this.histogram.enable();
      return null;
    }
    // The histogram holds whole intervals: the delay is what exceeds the period.
    const late = (ns: number): number => Math.max(0, ns / 1e6 - RESOLUTION_MS);
    const delays = {
      p50: late(histogram.percentile(50)),
      p99: late(histogram.percentile(99)),
      max: late(histogram.max),
    };
    histogram.reset();
    return delays;
  }
}

function countOpenFiles(): number | null {
  try {
    // Reading the folder opens it.
    return readdirSync(OPEN_FILES).length - 1;
  } catch {
    return null;
  }
}
