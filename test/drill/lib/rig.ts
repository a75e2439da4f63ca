/** @file One engine with its kernel and its workers, for one drill; and the promises that every drill ends with. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Invite } from '@ravenlab/protocol';
import { ENGINE_LIMITS, decodeInvite } from '@ravenlab/protocol';
import type { Audit } from './audit.js';
import { audit } from './audit.js';
import { nowMs, sleep, until } from './clock.js';
import type { EngineStatus } from './kernel.js';
import { KernelProcess } from './kernel.js';
import type { Finish } from './messages.js';
import type { ModelName } from './models.js';
import { RECIPES } from './models.js';
import { Proxy } from './proxy.js';
import type { Figure } from './verdict.js';
import { atMost, holds, none, note } from './verdict.js';
import type { Victim } from './workers.js';
import { LocalWorker, WorkerProcess } from './workers.js';

/** Most drills are not about pay, and a wallet's key takes a second of computing for each fresh home. */
const UNPAID = ['--no-pay', '--backend', 'onnx-cpu'] as const;

export interface RigOptions {
  readonly model: ModelName;
  /** Null: the course goes on until the drill ends it. */
  readonly epochs?: number;
  readonly workers: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Further arguments of each worker's `join`; without pay and on the processor unless given. */
  readonly workerArgs?: readonly string[];
  /** Where the engine keeps its files; a fresh folder unless given. */
  readonly home?: string;
}

/** What an undisturbed run with one worker gives. */
export interface Reference {
  readonly finish: Finish;
  readonly audit: Audit;
}

/** Second leases for what is late: this share of all other leases at most, and what may be owed for who is away. */
const BACKUP_SHARE = 1 / ENGINE_LIMITS.backupShare;

/** Between two questions to the engine while something is awaited; ms. */
const PROBE_MS = 4;

export class Rig {
  readonly options: RigOptions;
  readonly folder: string;
  readonly home: string;
  kernel: KernelProcess;
  readonly workers: WorkerProcess[] = [];
  /** Units of steps that a killed engine had committed and no image held yet. */
  replayedUnits = 0;
  private readonly proxies: Proxy[] = [];
  private invite = '';
  private nextName = 1;

  private constructor(options: RigOptions) {
    this.options = options;
    this.folder = mkdtempSync(join(tmpdir(), 'ravenlab-drill-'));
    this.home = options.home ?? this.folder;
    this.kernel = this.startKernel();
  }

  /** Starts engine and workers, waits until all are members. Nothing trains yet. */
  static async start(options: RigOptions): Promise<Rig> {
    const rig = new Rig(options);
    try {
      const { command } = (await rig.kernel.command('invite')) as { readonly command: string };
      rig.invite = command.split(' ').at(-1) ?? '';
      await rig.join(options.workers);
      return rig;
    } catch (error) {
      await rig.close();
      throw error;
    }
  }

  get running(): WorkerProcess[] {
    return this.workers.filter((worker) => worker.isRunning);
  }

  /** By which workers join; attackers may know it too. */
  get invitation(): Invite {
    return decodeInvite(this.invite);
  }

  startKernel(): KernelProcess {
    return new KernelProcess({
      RAVENLAB_HOME: this.home,
      RAVENLAB_LOCAL_WORKERS: '0',
      // The machines of most drills are honest and break: whoever lies has a drill of its own.
      RAVENLAB_AUDITS: 'off',
      // What Jupyter sets for every kernel of a notebook: by it a restarted kernel finds its engine.
      JPY_SESSION_NAME: join(this.folder, 'drill.ipynb'),
      ...this.options.env,
    });
  }

  train(isResuming = false): void {
    const { model, epochs = null } = this.options;
    this.kernel.train({ model, epochs, isResuming });
  }

  /** Starts a worker; it is not a member yet. */
  spawn(
    options: { readonly port?: number; readonly home?: string; readonly lie?: string } = {},
  ): WorkerProcess {
    const name = `w${String(this.nextName++)}`;
    const worker = new WorkerProcess({
      name,
      invite: this.invite,
      folder: this.folder,
      args: this.options.workerArgs ?? UNPAID,
      ...options,
    });
    this.workers.push(worker);
    return worker;
  }

  /** Starts workers and waits until they are members. */
  async join(
    count: number,
    options: { readonly port?: number; readonly lie?: string } = {},
  ): Promise<WorkerProcess[]> {
    const workers = Array.from({ length: count }, () => this.spawn(options));
    for (const worker of workers) await this.present(worker);
    return workers;
  }

  /** A way to the engine that can be cut. */
  async openProxy(): Promise<Proxy> {
    const { host, port } = decodeInvite(this.invite);
    const proxy = await Proxy.open({ host, port });
    this.proxies.push(proxy);
    return proxy;
  }

  status(): Promise<EngineStatus> {
    return this.kernel.status();
  }

  /** The engine's own workers, once so many are members; who has been there longest is first. */
  async locals(count: number): Promise<LocalWorker[]> {
    return until(`${String(count)} workers of the engine`, async () => {
      const { sessions } = await this.status();
      const pids = sessions.flatMap(({ pid }) => (pid === null ? [] : [pid]));
      return pids.length < count ? null : pids.map((pid) => new LocalWorker(pid));
    });
  }

  /** The worker as the engine sees it; null when it is no member. */
  async memberOf(
    worker: Victim,
  ): Promise<{ readonly workerId: string; readonly leases: number } | null> {
    const status = await this.status();
    const row = status.panel.contributors.find(
      ({ name, state }) => name === worker.name && state !== 'gone',
    );
    const session = status.sessions.find(
      ({ workerId, pid }) => workerId === row?.workerId || pid === worker.pid,
    );
    return session ?? null;
  }

  /** Resolves when the worker is a member. @returns when, ms. */
  async present(worker: Victim, timeoutMs = 30_000): Promise<number> {
    await until(
      `${worker.name} as a member`,
      async () => {
        if (!worker.isRunning) throw new Error(`${worker.name} ended: ${worker.words}`);
        return this.memberOf(worker);
      },
      { timeoutMs },
    );
    return nowMs();
  }

  /** Resolves when the worker is no member any more. @returns when the engine knew, ms. */
  async absent(worker: Victim, timeoutMs = 30_000): Promise<number> {
    let workerId = '';
    return until(
      `${worker.name} gone`,
      async () => {
        const member = await this.memberOf(worker);
        if (member !== null) {
          workerId = member.workerId;
          return null;
        }
        const { departures } = await this.status();
        // The engine's own note of the time, where it has one: asking takes longer than noticing.
        return departures.filter((each) => each.workerId === workerId).at(-1)?.atMs ?? nowMs();
      },
      { timeoutMs, everyMs: PROBE_MS },
    );
  }

  /** Resolves when the worker holds leases: now is in the middle of a step of its. */
  async busy(worker: Victim): Promise<void> {
    const probe = async (): Promise<boolean> => ((await this.memberOf(worker))?.leases ?? 0) > 0;
    await until(`work for ${worker.name}`, probe, { everyMs: PROBE_MS });
  }

  /** Kills the engine in the middle of whatever it does. @returns when, ms. */
  async killEngine(): Promise<number> {
    const { enginePid, counters } = await this.status();
    process.kill(enginePid, 'SIGKILL');
    const at = nowMs();
    // The next engine begins with the counts of the image that it is restored from.
    const restored = (await this.status()).counters;
    this.replayedUnits += Math.max(0, (counters['unitsDone'] ?? 0) - (restored['unitsDone'] ?? 0));
    return at;
  }

  /** The kernel dies and another one takes its place. @returns when the old one was gone, ms. */
  async replaceKernel(): Promise<number> {
    await this.kernel.kill();
    const at = nowMs();
    this.kernel = this.startKernel();
    this.train(true);
    return at;
  }

  /** Waits for the end of the course, ends everything, and reads the ledger. */
  async finish(): Promise<{
    readonly finish: Finish;
    readonly audit: Audit;
    readonly counters: Readonly<Record<string, number>>;
  }> {
    if (this.options.epochs === undefined) this.kernel.wrapUp();
    const finish = await this.kernel.finished();
    const { counters, panel } = await this.status();
    const owed = panel.payments.payees.reduce((sum, { units }) => sum + units, 0);
    // The journal lags behind by a moment; a clean end may take the engine's files along.
    const books = await until(
      `${String(owed)} units in the ledger on disk`,
      () => {
        const now = audit(this.home);
        return now.units === owed ? now : null;
      },
      { timeoutMs: 5_000, everyMs: 50 },
    );
    await this.kernel.close();
    return { finish, audit: books, counters };
  }

  /** Ends what still runs and forgets the files. */
  async close(): Promise<void> {
    await this.kernel.close();
    await Promise.all(this.workers.map((worker) => worker.end()));
    for (const proxy of this.proxies) await proxy.close();
    // A worker that was just killed may still be leaving its folder.
    await sleep(10);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const references = new Map<string, Promise<Reference>>();

/** The undisturbed run with one worker; computed once in a process. */
export function referenceFor(model: ModelName, epochs: number): Promise<Reference> {
  const key = `${model} ${String(epochs)}`;
  let reference = references.get(key);
  if (reference === undefined) {
    reference = undisturbed(model, epochs);
    references.set(key, reference);
  }
  return reference;
}

async function undisturbed(model: ModelName, epochs: number): Promise<Reference> {
  const rig = await Rig.start({ model, epochs, workers: 1 });
  try {
    rig.train();
    return await rig.finish();
  } finally {
    await rig.close();
  }
}

/** Ends a drill: ends its course and holds it against the undisturbed one of the same length. */
export async function promisesOf(rig: Rig): Promise<Figure[]> {
  const { model } = rig.options;
  const { finish, audit: books, counters } = await rig.finish();
  const { epochs, tally, weightsSha, lossesSha, losses } = finish;
  const reference = await referenceFor(model, epochs);
  const count = (name: string): number => counters[name] ?? 0;
  const perUnit = RECIPES[model].microShard;
  const unitsMissing = reference.audit.units - books.units;
  const backups = count('backupsGranted');
  const trials = count('trialsDoubled');
  const first = count('leasesGranted') - backups;
  const budget = BACKUP_SHARE * first + ENGINE_LIMITS.backupUnitsOwed;
  const again = first - count('unitsDone');
  return [
    note('steps', (epochs * RECIPES[model].rows) / RECIPES[model].batch),
    note('weights', weightsSha.slice(0, 16)),
    holds('same weights as undisturbed', weightsSha === reference.finish.weightsSha),
    // A kernel that was replaced has seen the second part only.
    ...(losses === reference.finish.losses
      ? [holds('same losses as undisturbed', lossesSha === reference.finish.lossesSha)]
      : []),
    none('samples lost', tally?.lost ?? Math.max(0, unitsMissing) * perUnit),
    none('samples counted twice', tally?.twice ?? Math.max(0, -unitsMissing) * perUnit),
    none('units paid twice', books.paidTwice),
    none('units unpaid or overpaid', Math.abs(unitsMissing)),
    holds('books balance', books.rows === books.posted && books.units === books.accountUnits),
    note('units', books.units),
    note('units replayed after a crash of the engine', rig.replayedUnits),
    note('leases lost', count('leasesLost')),
    atMost('units leased again', again, count('leasesLost')),
    atMost('backup leases', backups - trials, budget),
    note('backup leases of what newcomers were tried with', trials),
    note('late answers dropped', count('staleResults')),
  ];
}

/** Longest time between two commits from `fromMs` on, ms. */
export function longestPause(kernel: KernelProcess, fromMs = 0): number {
  const times = kernel.steps.map(({ atMs }) => atMs).filter((at) => at >= fromMs);
  return times.reduce((most, at, i) => Math.max(most, at - (times[i - 1] ?? at)), 0);
}

/** Median time between two commits, ms. */
export function medianStep(steps: readonly { readonly atMs: number }[]): number {
  const gaps = steps.slice(1).map(({ atMs }, i) => atMs - (steps[i]?.atMs ?? atMs));
  gaps.sort((a, b) => a - b);
  return gaps[gaps.length >> 1] ?? 0;
}
