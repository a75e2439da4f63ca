/** @file Commands of cells and of the panel: a table from name to action. Arguments are checked here. */
import { PANEL_LIMITS, RavenError } from '@ravenlab/protocol';
import type { ClusterEvent } from '../core/cluster/events.js';
import type { ClusterState } from '../core/cluster/state.js';
import { rulesOf } from '../core/cluster/rules.js';
import type { Audits } from './audits.js';
import type { SharedHeap } from './heap.js';
import type { Durability } from './durability.js';
import type { LocalWorkers } from './localWorkers.js';
import type { PanelView } from './panelView.js';
import { inviteCommands } from './inviteCommands.js';
import { paymentCommands } from './paymentCommands.js';
import type { RemoteAccess } from './remoteAccess.js';
import type { Resources } from './resources.js';
import type { Runner } from './runner.js';
import type { RulesStore } from './rulesStore.js';
import type { RunTable } from './runs.js';
import type { TreasuryView } from './treasuryView.js';
import type { Vitals } from './vitals.js';
import type { WorkerHub } from './workerHub.js';

export interface CommandTargets {
  readonly cluster: ClusterState;
  readonly feed: (event: ClusterEvent) => void;
  readonly runner: Runner;
  readonly hub: WorkerHub;
  readonly panel: PanelView;
  readonly runs: RunTable;
  readonly locals: LocalWorkers;
  readonly remote: RemoteAccess;
  readonly treasury: TreasuryView;
  readonly audits: Audits;
  readonly resources: Resources;
  readonly heap: SharedHeap;
  readonly vitals: Vitals;
  readonly durability: Durability;
  readonly rules: RulesStore;
  /** Where local workers connect. */
  readonly endpoint: string;
}

type Args = Readonly<Record<string, unknown>>;
type Command = (args: Args) => unknown;

export class Commands {
  private readonly targets: CommandTargets;
  private readonly table: ReadonlyMap<string, Command>;

  constructor(targets: CommandTargets) {
    this.targets = targets;
    const commands: Readonly<Record<string, Command>> = {
      status: () => this.status(),
      vitals: () => targets.vitals.read(),
      scale: (args) => {
        const workers = wholeNumber(args, 'workers', PANEL_LIMITS.workersPerScale);
        targets.locals.scale(workers);
        return { workers: targets.locals.count };
      },
      ...inviteCommands(targets),
      drain: (args) => this.moveWorker('drain', args),
      pause: (args) => this.moveWorker('pause', args),
      resume: (args) => this.moveWorker('resume', args),
      ban: (args) => this.moveWorker('ban', args),
      unban: (args) => this.moveWorker('unban', args),
      ...paymentCommands(targets.treasury),
      configure: (args) => this.configure(args),
      stopRun: () => {
        const run = targets.panel.currentRun;
        if (run === null) return { stopped: false };
        targets.runner.cancelRun(run);
        targets.panel.ended(run, 'stopped', 'stopped from the panel');
        targets.runs.ended(run, 'stopped');
        return { stopped: true };
      },
      endRun: (args) => {
        const state =
          args['state'] === 'stopped' || args['state'] === 'failed' ? args['state'] : 'done';
        const message = typeof args['message'] === 'string' ? args['message'] : null;
        targets.panel.ended(text(args, 'runId'), state, message);
        targets.runs.ended(text(args, 'runId'), state);
        return {};
      },
    };
    this.table = new Map(Object.entries(commands));
  }

  /** Rejects with RavenError for an unknown command or arguments that do not fit. */
  run(op: string, args: Args): Promise<unknown> {
    const command = this.table.get(op);
    if (command === undefined) {
      const known = [...this.table.keys()].join(', ');
      return Promise.reject(
        new RavenError('cluster', `unknown command '${op}'; the engine knows ${known}`),
      );
    }
    // Refusals of arguments are rejections too.
    return new Promise((resolve) => {
      resolve(command(args));
    });
  }

  private status(): unknown {
    const { cluster, hub, resources, heap, locals, panel, durability, endpoint } = this.targets;
    const { auditor } = this.targets.audits;
    const sessions = [...hub.sessions()].map((session) => ({
      workerId: session.worker,
      pid: locals.pidOf(session.hello.token),
      threads: session.hello.capabilities.threads,
      leases: cluster.members.get(session.worker)?.leases.size ?? 0,
      ...session.counters,
      inFlightBytes: session.inFlightBytes,
    }));
    return {
      panel: panel.snapshot(),
      counters: {
        ...cluster.counters,
        badMessages: hub.badMessages,
        receivedBytes: hub.receivedBytes,
      },
      sessions,
      departures: hub.departures,
      banned: rulesOf(cluster).banned,
      caught: [...cluster.caught],
      bannedWallets: [...cluster.bannedWallets.keys()],
      audits: { ...auditor.counters, open: auditor.book.openCount },
      mixClasses: cluster.mixesClasses,
      enginePid: process.pid,
      journal: durability.status(),
      endpoint,
      localPids: locals.pids(),
      resources: resources.count,
      heapBytes: heap.usedBytes,
    };
  }

  private configure(args: Args): { readonly mixClasses: boolean } {
    const { mixClasses } = args;
    const { cluster, feed, rules } = this.targets;
    if (mixClasses !== undefined && typeof mixClasses !== 'boolean') {
      throw new RavenError(
        'cluster',
        `configure: mixClasses is ${typeof mixClasses}, expected true or false`,
      );
    }
    if (mixClasses !== undefined) feed({ kind: 'mixClasses', isAllowed: mixClasses });
    rules.save(rulesOf(cluster));
    return { mixClasses: cluster.mixesClasses };
  }

  private moveWorker(kind: WorkerCommand, args: Args): { readonly workerId: string } {
    const { cluster, feed, rules, audits } = this.targets;
    const named = text(args, 'workerId');
    // A wallet stands for the worker that it was banned with.
    const given = audits.bans.workerOf(named) ?? named;
    const known = OF_THE_ABSENT.has(kind)
      ? [...cluster.members.keys(), ...cluster.standings.keys(), ...cluster.bannedWallets.values()]
      : [...cluster.members.keys()];
    const fits = new Set(known.filter((id) => id === given || id.startsWith(given)));
    const [worker] = fits;
    if (worker === undefined || given.length < SHORTEST_ID || fits.size > 1) {
      const why =
        fits.size > 1 && given.length >= SHORTEST_ID
          ? `${String(fits.size)} workers have an id that begins with ${given}; give more of it`
          : `no worker ${given} is known; ids are in cluster.workers()`;
      throw new RavenError('cluster', `${kind}: ${why}`);
    }
    if (kind === 'ban') audits.bans.ban(worker, false);
    else if (kind === 'unban') audits.bans.unban(worker);
    else {
      feed({ kind, worker });
      rules.save(rulesOf(cluster));
    }
    return { workerId: worker };
  }
}

type WorkerCommand = 'drain' | 'pause' | 'resume' | 'ban' | 'unban';
/** Commands that mean something for a worker that is not here. */
const OF_THE_ABSENT: ReadonlySet<WorkerCommand> = new Set(['pause', 'resume', 'ban', 'unban']);
/** Fewer characters of an id name nobody for sure. */
const SHORTEST_ID = 4;

function text(args: Args, name: string): string {
  const value = args[name];
  if (typeof value !== 'string' || value.length > PANEL_LIMITS.idChars) {
    throw new RavenError(
      'cluster',
      `argument ${name} is ${typeof value}, expected text of at most ${String(PANEL_LIMITS.idChars)} characters`,
    );
  }
  return value;
}

function wholeNumber(args: Args, name: string, max: number): number {
  const value = args[name];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    throw new RavenError(
      'limit',
      `argument ${name} is ${String(value)}, expected 0 … ${String(max)}`,
    );
  }
  return value;
}
