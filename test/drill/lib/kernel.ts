/** @file The kernel process as the drill sees it: it trains, it answers commands, it can be killed. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import type { PanelState } from '@ravenlab/protocol';
import { typeScriptArgs } from '../../../scripts/lib/typescript.mjs';
import { nowMs, until } from './clock.js';
import type { Finish, FromTrainer, ToTrainer, TrainOptions } from './messages.js';
import { TRAINER } from './paths.js';

export interface SessionStatus {
  readonly workerId: string;
  /** Of a worker that the engine started itself. */
  readonly pid: number | null;
  readonly leases: number;
}

export interface EngineStatus {
  readonly panel: PanelState;
  readonly counters: Readonly<Record<string, number>>;
  readonly sessions: readonly SessionStatus[];
  readonly departures: readonly { readonly workerId: string; readonly atMs: number }[];
  readonly enginePid: number;
  readonly localPids: readonly number[];
  readonly caught: readonly string[];
  readonly audits: Readonly<Record<string, number>>;
}

export interface StepSeen {
  readonly atMs: number;
  readonly step: number;
  readonly loss: number;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class KernelProcess {
  readonly startedAtMs = nowMs();
  readonly steps: StepSeen[] = [];
  readonly notices: string[] = [];
  upAtMs: number | null = null;
  attached: { readonly atMs: number; readonly step: number } | null = null;
  private readonly child: ChildProcess;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;
  private end: Finish | null = null;
  private failure: Error | null = null;

  constructor(env: Readonly<Record<string, string>>) {
    const args = typeScriptArgs(TRAINER);
    this.child = fork(TRAINER, {
      execArgv: args.slice(0, -1),
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.child.on('message', (message: FromTrainer) => {
      this.take(message);
    });
    this.child.on('exit', (code, signal) => {
      this.fail(new Error(`the kernel process ended (${signal ?? String(code)})`));
    });
    this.child.on('error', (error) => {
      this.fail(error);
    });
  }

  get pid(): number {
    return this.child.pid ?? -1;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** The course has come to its end. */
  get isDone(): boolean {
    return this.end !== null;
  }

  get lastStep(): number {
    return this.steps.at(-1)?.step ?? -1;
  }

  train(options: TrainOptions): void {
    this.say({ kind: 'train', options });
  }

  /** Ends the course with the epoch that is under way. */
  wrapUp(): void {
    this.say({ kind: 'wrapUp' });
  }

  command(op: string, args: object = {}): Promise<unknown> {
    if (this.failure !== null) return Promise.reject(this.failure);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.say({ kind: 'command', id, op, args });
    });
  }

  async status(): Promise<EngineStatus> {
    return (await this.command('status')) as EngineStatus;
  }

  /** Resolves when this step is committed. @throws Error when the course fails. */
  async reached(step: number, timeoutMs = 120_000): Promise<StepSeen> {
    const what = `step ${String(step)}`;
    const probe = (): StepSeen | undefined => {
      this.check();
      return this.steps.find((each) => each.step >= step);
    };
    return until(what, probe, { timeoutMs, everyMs: 2 });
  }

  /** The end of the course. @throws Error when it fails. */
  async finished(timeoutMs = 180_000): Promise<Finish> {
    const probe = (): Finish | null => {
      this.check();
      return this.end;
    };
    return until('the end of the course', probe, { timeoutMs });
  }

  /** Resolves when a resumed course has its weights back. @throws Error when it fails. */
  async reattached(timeoutMs = 60_000): Promise<NonNullable<KernelProcess['attached']>> {
    const probe = (): KernelProcess['attached'] => {
      this.check();
      return this.attached;
    };
    return until('the run in the new kernel', probe, { timeoutMs });
  }

  /** As a machine dies: nothing is said, nothing is closed. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await until('end of the kernel', () => !this.isRunning, { timeoutMs: 5_000 });
  }

  async close(restart = false): Promise<void> {
    if (!this.isRunning) return;
    this.say({ kind: 'close', restart });
    const isGone = (): boolean => !this.isRunning;
    try {
      await until('end of the kernel', isGone, { timeoutMs: 10_000 });
    } finally {
      // Nothing to do for one that has ended.
      this.child.kill('SIGKILL');
    }
  }

  private check(): void {
    if (this.failure !== null && this.end === null) throw this.failure;
  }

  private say(message: ToTrainer): void {
    if (this.child.connected) this.child.send(message);
  }

  private take(message: FromTrainer): void {
    switch (message.kind) {
      case 'up':
        this.upAtMs = message.atMs;
        return;
      case 'answer':
      case 'refusal': {
        const waiting = this.waiting.get(message.id);
        this.waiting.delete(message.id);
        if (message.kind === 'answer') waiting?.resolve(message.value);
        else waiting?.reject(new Error(message.message));
        return;
      }
      case 'notice':
        this.notices.push(message.text);
        return;
      case 'attached':
        this.attached = message;
        return;
      case 'step':
        this.steps.push(message);
        return;
      case 'finished':
        this.end = message.finish;
        return;
      case 'failed':
        this.fail(new Error(message.message));
    }
  }

  private fail(error: Error): void {
    this.failure ??= error;
    for (const { reject } of this.waiting.values()) reject(this.failure);
    this.waiting.clear();
  }
}
