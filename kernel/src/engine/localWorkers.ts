/** @file Worker processes of this engine on this machine: started, counted, restarted with a back-off, ended with it. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { cpus } from 'node:os';
import type { BackendName } from '@ravenlab/protocol';
import { ENGINE_LIMITS, RavenError } from '@ravenlab/protocol';

export interface LocalWorkerOptions {
  /** Program and leading arguments of a worker. */
  readonly command: readonly string[];
  /** What they compute on, in turns; empty: what a worker takes by itself. */
  readonly backends: readonly BackendName[];
  /** Endpoint of the local worker port. */
  readonly endpoint: string;
  /** Secret that admits them, given in the environment. */
  readonly token: string;
  readonly log: (text: string) => void;
  readonly onCrash: (text: string) => void;
}

interface Slot {
  /** Options of the worker, the same at each of its starts. */
  readonly options: readonly string[];
  child: ChildProcess | null;
  restartTimer: NodeJS.Timeout | null;
  delayMs: number;
  startedAtMs: number;
}

/** One per two cores, at least 2, at most 4. */
export function defaultLocalWorkers(): number {
  return Math.min(4, Math.max(2, Math.floor(cpus().length / 2)));
}

/** An equal share of the cores each; a lone worker leaves one to the engine, which sums and updates meanwhile. */
function threadsFor(workers: number): number {
  const cores = cpus().length;
  return Math.max(1, workers <= 1 ? cores - 1 : Math.floor(cores / workers));
}

/** A worker that ran this long has earned a quick restart. */
const STEADY_MS = 10_000;

export class LocalWorkers {
  private readonly options: LocalWorkerOptions;
  private readonly slots: Slot[] = [];
  private closing = false;

  constructor(options: LocalWorkerOptions) {
    this.options = options;
  }

  get count(): number {
    return this.slots.length;
  }

  /** Process ids of those that run. */
  pids(): number[] {
    return this.slots.flatMap(({ child }) => (child?.pid === undefined ? [] : [child.pid]));
  }

  /**
   * Starts or ends workers until there are `count`; the newest end first. Threads are divided at the start of a worker.
   * @throws RavenError when the number is out of range.
   */
  scale(count: number): void {
    if (!Number.isInteger(count) || count < 0 || count > ENGINE_LIMITS.localWorkersMax) {
      throw new RavenError(
        'limit',
        `scale: ${String(count)} local workers, expected 0 … ${String(ENGINE_LIMITS.localWorkersMax)}`,
      );
    }
    while (this.slots.length > count) {
      const slot = this.slots.pop();
      if (slot !== undefined) endSlot(slot);
    }
    const threads = threadsFor(count);
    while (this.slots.length < count) {
      const slot: Slot = {
        options: this.optionsOf(this.slots.length, threads),
        child: null,
        restartTimer: null,
        delayMs: ENGINE_LIMITS.restartMinMs,
        startedAtMs: 0,
      };
      this.slots.push(slot);
      this.start(slot);
    }
  }

  close(): void {
    this.closing = true;
    for (const slot of this.slots.splice(0)) endSlot(slot);
  }

  private optionsOf(index: number, threads: number): string[] {
    const { backends } = this.options;
    const backend = backends[index % backends.length];
    return ['--threads', String(threads), ...(backend === undefined ? [] : ['--backend', backend])];
  }

  private start(slot: Slot): void {
    const [program = process.execPath, ...leading] = this.options.command;
    const args = [...leading, 'run', '--connect', this.options.endpoint, ...slot.options];
    const child = spawn(program, args, {
      // The pipe to stdin is the life line: it closes with this process, however that ends.
      stdio: ['pipe', 'ignore', 'pipe'],
      env: { ...process.env, RAVENLAB_WORKER_TOKEN: this.options.token },
    });
    slot.child = child;
    slot.startedAtMs = performance.now();
    let lastWords = '';
    child.stderr.on('data', (text: Buffer) => {
      lastWords = (lastWords + text.toString('utf8')).slice(-2_000);
    });
    child.stdin.on('error', () => {
      // The worker is gone; 'exit' tells.
    });
    child.on('error', (error) => {
      lastWords += error.message;
    });
    child.on('close', (code, signal) => {
      slot.child = null;
      if (this.closing || !this.slots.includes(slot)) return;
      this.restart(slot, `${signal ?? `code ${String(code)}`}: ${lastWords.trim()}`);
    });
  }

  private restart(slot: Slot, why: string): void {
    const isSteady = performance.now() - slot.startedAtMs >= STEADY_MS;
    const delayMs = isSteady ? ENGINE_LIMITS.restartMinMs : slot.delayMs;
    slot.delayMs = Math.min(ENGINE_LIMITS.restartMaxMs, delayMs * 2);
    this.options.log(`local worker ended (${why}); restart in ${String(delayMs)} ms`);
    this.options.onCrash(`A local worker ended (${why.slice(0, 200)}); it starts again.`);
    slot.restartTimer = setTimeout(() => {
      slot.restartTimer = null;
      this.start(slot);
    }, delayMs);
  }
}

function endSlot(slot: Slot): void {
  if (slot.restartTimer !== null) clearTimeout(slot.restartTimer);
  const { child } = slot;
  if (child === null) return;
  child.stdin?.end();
  const timer = setTimeout(() => child.kill('SIGKILL'), ENGINE_LIMITS.exitMs);
  timer.unref();
  child.once('exit', () => {
    clearTimeout(timer);
  });
}
