/** @file Worker processes that a drill starts and then kills, stops, slows or lets go. They join by invite, as people do. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { decodeInvite, encodeInvite } from '@ravenlab/protocol';
import { CHEATER, WORKER_CLI } from './paths.js';
import { nowMs, until } from './clock.js';

/** Of the duty cycle of a slowed worker; ms. */
const PERIOD_MS = 24;

/** A worker that a drill may kill, whoever started it. */
export interface Victim {
  readonly name: string;
  readonly pid: number;
  readonly isRunning: boolean;
  /** What it last said, for a report. */
  readonly words: string;
  /** When its end was seen here, ms; null while it runs. */
  readonly endedAtMs: number | null;
  signal(name: 'SIGKILL'): number;
}

/** One of the engine's own. The engine starts another one in its place. */
export class LocalWorker implements Victim {
  readonly name: string;
  readonly pid: number;
  readonly words = 'a worker of the engine says nothing here';
  endedAtMs: number | null = null;

  constructor(pid: number) {
    this.name = `process ${String(pid)} of the engine`;
    this.pid = pid;
  }

  get isRunning(): boolean {
    return exists(this.pid);
  }

  /** @returns when, ms. */
  signal(name: 'SIGKILL'): number {
    process.kill(this.pid, name);
    const at = nowMs();
    const look = setInterval(() => {
      if (this.isRunning) return;
      clearInterval(look);
      this.endedAtMs = nowMs();
    }, 1);
    return at;
  }
}

/** Also while it is dead and its parent does not know yet. */
function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

export class WorkerProcess implements Victim {
  readonly name: string;
  readonly home: string;
  private readonly child: ChildProcess;
  private lastWords = '';
  endedAtMs: number | null = null;
  private duty: NodeJS.Timeout | null = null;
  private readonly slowed = { runMs: 0, totalMs: 0 };

  /** @param invite as the engine made it; @param port of a proxy to go through, else the engine's own */
  constructor(options: {
    readonly name: string;
    readonly invite: string;
    readonly port?: number;
    readonly folder: string;
    /** Comes back as who it was before. */
    readonly home?: string;
    /** Sends wrong results, in this way. */
    readonly lie?: string;
    /** Further arguments of `join`. */
    readonly args?: readonly string[];
  }) {
    const { name, invite, port, folder, lie } = options;
    this.name = name;
    this.home = options.home ?? mkdtempSync(join(folder, `${name}-`));
    const way = port === undefined ? invite : encodeInvite({ ...decodeInvite(invite), port });
    const args = [
      lie === undefined ? WORKER_CLI : CHEATER,
      'join',
      way,
      '--threads',
      '1',
      '--name',
      name,
      ...(options.args ?? []),
    ];
    this.child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, RAVENLAB_HOME: this.home, ...(lie === undefined ? {} : { LIE: lie }) },
    });
    const note = (text: Buffer): void => {
      this.lastWords = (this.lastWords + text.toString()).slice(-2_000);
    };
    this.child.once('exit', () => {
      this.endedAtMs = nowMs();
    });
    this.child.stdout?.on('data', note);
    this.child.stderr?.on('data', note);
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** What it last said, for a report. */
  get words(): string {
    return this.lastWords;
  }

  /** SIGKILL, SIGSTOP, SIGCONT or SIGINT. @returns when, ms. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGINT'): number {
    this.child.kill(name);
    return nowMs();
  }

  /** Lets it run only this share of every 24 ms, by SIGSTOP and SIGCONT, until `steady`. */
  slowDown(share: number): void {
    if (this.duty !== null) clearTimeout(this.duty);
    this.duty = null;
    // What computes is a process of its own: a worker is slow when that one is.
    const pids = [this.pid, ...childrenOf(this.pid)];
    signalAll(pids, 'SIGCONT');
    let isOn = true;
    let since = nowMs();
    const turn = (): void => {
      const now = nowMs();
      if (isOn) this.slowed.runMs += now - since;
      this.slowed.totalMs += now - since;
      since = now;
      isOn = !isOn;
      signalAll(pids, isOn ? 'SIGCONT' : 'SIGSTOP');
      this.duty = setTimeout(turn, PERIOD_MS * (isOn ? share : 1 - share));
    };
    this.duty = setTimeout(turn, PERIOD_MS * share);
  }

  /** Full speed again. @returns the share of time that it really had. */
  steady(): number {
    if (this.duty !== null) clearTimeout(this.duty);
    this.duty = null;
    if (this.isRunning) signalAll([this.pid, ...childrenOf(this.pid)], 'SIGCONT');
    const { runMs, totalMs } = this.slowed;
    this.slowed.runMs = 0;
    this.slowed.totalMs = 0;
    return totalMs === 0 ? 1 : runMs / totalMs;
  }

  /** Ends it for good; resolves when it is gone. */
  async end(): Promise<void> {
    this.steady();
    if (this.isRunning) this.child.kill('SIGKILL');
    await until(`end of ${this.name}`, () => !this.isRunning, { timeoutMs: 5_000 });
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** Processes that a process has started, and theirs; none where the system does not tell. */
function childrenOf(pid: number): number[] {
  try {
    const folder = `/proc/${String(pid)}/task`;
    const children = readdirSync(folder)
      .flatMap((thread) => readFileSync(`${folder}/${thread}/children`, 'latin1').split(' '))
      .filter((word) => word.trim() !== '')
      .map(Number);
    return children.flatMap((child) => [child, ...childrenOf(child)]);
  } catch {
    // It has ended meanwhile, or this is no Linux.
    return [];
  }
}

function signalAll(pids: readonly number[], name: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // It has ended meanwhile.
    }
  }
}
