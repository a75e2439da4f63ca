/** @file Commands of cells and of the panel: a table from name to action. Arguments are checked here. */
import { PANEL_LIMITS, RavenError } from '@ravenlab/protocol';
import type { ClusterEvent } from '../core/cluster/events.js';
import type { ClusterState } from '../core/cluster/state.js';
import type { SharedHeap } from './heap.js';
import type { Durability } from './durability.js';
import type { LocalWorkers } from './localWorkers.js';
import type { PanelView } from './panelView.js';
import type { RemoteAccess } from './remoteAccess.js';
import type { Resources } from './resources.js';
import type { Runner } from './runner.js';
import type { RunTable } from './runs.js';
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
  readonly resources: Resources;
  readonly heap: SharedHeap;
  readonly vitals: Vitals;
  readonly durability: Durability;
  /** Where local workers connect. */
  readonly endpoint: string;
}

type Args = Readonly<Record<string, unknown>>;
type Command = (args: Args) => unknown;

/** What a person types to join; `npm run worker` is a script of the workspace. */
function joinCommand(invite: string): string {
  return `npm run worker -- join ${invite}`;
}

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
      invite: async () => {
        const command = joinCommand(await targets.remote.invite());
        return { command, expiresAtMs: null };
      },
      drain: (args) => this.moveWorker('drain', args),
      resume: (args) => this.moveWorker('resume', args),
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
    const sessions = [...hub.sessions()].map((session) => ({
      workerId: session.worker,
      threads: session.hello.capabilities.threads,
      leases: cluster.members.get(session.worker)?.leases.size ?? 0,
      ...session.counters,
      inFlightBytes: session.inFlightBytes,
    }));
    return {
      panel: panel.snapshot(),
      counters: { ...cluster.counters, badMessages: hub.badMessages },
      sessions,
      departures: hub.departures,
      enginePid: process.pid,
      journal: durability.status(),
      endpoint,
      localPids: locals.pids(),
      resources: resources.count,
      heapBytes: heap.usedBytes,
    };
  }

  private moveWorker(kind: 'drain' | 'resume', args: Args): { readonly workerId: string } {
    const { cluster, feed } = this.targets;
    const workerId = text(args, 'workerId');
    const worker = [...cluster.members.keys()].find(
      (id) => id === workerId || id.startsWith(workerId),
    );
    if (worker === undefined || workerId.length < 4) {
      throw new RavenError('cluster', `${kind}: no worker ${workerId} is connected`);
    }
    feed({ kind, worker });
    return { workerId: worker };
  }
}

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
