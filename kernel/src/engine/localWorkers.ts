/** @file Worker processes of this engine on this machine: started, counted, restarted with a back-off, ended with it. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpus } from 'node:os';
import type { BackendName } from '@ravenlab/protocol';
import { ENGINE_LIMITS, RavenError } from '@ravenlab/protocol';
import { LifeWatch, openProcPulse } from './lifeWatch.js';

export interface LocalWorkerOptions {
  /** Program and leading arguments of a worker. */
  readonly command: readonly string[];
  /** What they compute on, in turns; empty: what a worker takes by itself. */
  readonly backends: readonly BackendName[];
  /** Endpoint of the local worker port. */
  readonly endpoint: string;
  /** Whether any worker has leases: only then is anybody in a hurry to know that one has ended. */
  readonly isWorkLeased: () => boolean;
  /** The process of a worker has ended, and its socket may not have closed yet. @param token by which it said HELLO */
  readonly onGone: (token: string) => void;
  readonly log: (text: string) => void;
  readonly onCrash: (text: string) => void;
}

interface Slot {
  /** Options of the worker, the same at each of its starts. */
  readonly options: readonly string[];
  /** Secret of the process that runs, given in its environment: by it a connection is known to be its. */
  token: string;
  child: ChildProcess | null;
  restartTimer: NodeJS.Timeout | null;
  delayMs: number;
  startedAtMs: number;
}

/** One per two cores, at least 2, at most 4. */
export function defaultLocalWorkers(): number {
  return Math.min(4, Math.max(2, Math.floor(cpus().length / 2)));
}

/** Cores that a lone worker leaves to the kernel, which traces the next step meanwhile, and the engine, which sums and updates. */
const CORES_LEFT = 2;

/** An equal share of the cores each. */
function threadsFor(workers: number): number {
  const cores = cpus().length;
  return Math.max(1, workers <= 1 ? cores - CORES_LEFT : Math.floor(cores / workers));
}

/** A worker that ran this long has earned a quick restart. */
const STEADY_MS = 10_000;

export class LocalWorkers {
  private readonly options: LocalWorkerOptions;
  private readonly slots: Slot[] = [];
  private readonly watch: LifeWatch;
  private closing = false;

  constructor(options: LocalWorkerOptions) {
    this.options = options;
    this.watch = new LifeWatch({
      open: openProcPulse,
      isNeeded: options.isWorkLeased,
      everyMs: ENGINE_LIMITS.pulseMs,
      onGone: (pid) => {
        const slot = this.slots.find(({ child }) => child?.pid === pid);
        if (slot !== undefined) options.onGone(slot.token);
      },
    });
  }

  get count(): number {
    return this.slots.length;
  }

  /** Process ids of those that run. */
  pids(): number[] {
    return this.slots.flatMap(({ child }) => (child?.pid === undefined ? [] : [child.pid]));
  }

  /** The process that says HELLO with this token; null when it is none of these. */
  pidOf(token: string): number | null {
    return this.slots.find((slot) => slot.token === token)?.child?.pid ?? null;
  }

  /** Somebody was given a lease. */
  leased(): void {
    this.watch.wake();
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
        token: '',
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
    this.watch.close();
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
    slot.token = randomBytes(18).toString('base64url');
    const child = spawn(program, args, {
      // The pipe to stdin is the life line: it closes with this process, however that ends.
      stdio: ['pipe', 'ignore', 'pipe'],
      env: { ...process.env, RAVENLAB_WORKER_TOKEN: slot.token },
    });
    slot.child = child;
    slot.startedAtMs = performance.now();
    this.observe(child);
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

  /** For as long as its number is its own, which is until its end is reported here. */
  private observe(child: ChildProcess): void {
    const { pid } = child;
    if (pid === undefined) return;
    this.watch.add(pid);
    child.once('exit', () => {
      this.watch.forget(pid);
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
