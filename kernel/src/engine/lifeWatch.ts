/**
 * @file Processes of this engine whose end is seen before the system is through with them. Knows processes, not workers.
 *
 * Sockets of a killed process close when its memory has been taken apart: 20 to 60 ms for a worker of 200 MB, more on a busy
 * machine. That it has none any more can be read 1 ms after the signal, for 3 µs. Where the system tells nothing of the kind, the
 * sockets tell as before.
 */
import { closeSync, openSync, readSync } from 'node:fs';

/** One process, from its start until nobody asks any more. */
export interface Pulse {
  /** Its end has begun and cannot be stopped. False as well when that cannot be told. */
  isGone(): boolean;
  close(): void;
}

export interface LifeWatchOptions {
  /** Null where the system does not tell. */
  readonly open: (pid: number) => Pulse | null;
  /** Whether anybody waits for what the processes do: asked before each look, and nobody looks while it says no. */
  readonly isNeeded: () => boolean;
  readonly everyMs: number;
  /** Called once for a process; not for one that was forgotten before. */
  readonly onGone: (pid: number) => void;
}

export class LifeWatch {
  private readonly options: LifeWatchOptions;
  private readonly pulses = new Map<number, Pulse>();
  private timer: NodeJS.Timeout | null = null;

  constructor(options: LifeWatchOptions) {
    this.options = options;
  }

  /** @param pid of a child that runs and has not been reaped: its number cannot be another's yet. */
  add(pid: number): void {
    const pulse = this.options.open(pid);
    if (pulse === null) return;
    this.pulses.set(pid, pulse);
    this.wake();
  }

  forget(pid: number): void {
    this.pulses.get(pid)?.close();
    this.pulses.delete(pid);
  }

  /** Somebody waits from now on. */
  wake(): void {
    if (this.timer !== null || this.pulses.size === 0 || !this.options.isNeeded()) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.look();
      this.wake();
    }, this.options.everyMs);
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    for (const pid of [...this.pulses.keys()]) this.forget(pid);
  }

  private look(): void {
    for (const [pid, pulse] of this.pulses) {
      if (!pulse.isGone()) continue;
      this.forget(pid);
      this.options.onGone(pid);
    }
  }
}

const text = Buffer.alloc(64);
const ZERO = 0x30;

/**
 * Linux: `/proc/<pid>/statm` begins with the pages that a process has mapped, which is 0 from the moment at which it gives them back.
 * The open file stays that of this process: it can be read no more when the process is gone, whoever has its number then.
 */
export function openProcPulse(pid: number): Pulse | null {
  let file: number;
  try {
    file = openSync(`/proc/${String(pid)}/statm`, 'r');
  } catch {
    return null;
  }
  return {
    isGone: () => {
      try {
        return readSync(file, text, 0, text.length, 0) > 0 && text[0] === ZERO;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'ESRCH';
      }
    },
    close: () => {
      closeSync(file);
    },
  };
}
