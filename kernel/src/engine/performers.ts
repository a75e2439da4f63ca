/** @file What each effect of the scheduler does to workers, runs, audits, pay and the journal: a table, nothing is decided here. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { Auditor } from './auditor.js';
import type { Performers } from './clusterLoop.js';
import type { Durability } from './durability.js';
import type { LocalWorkers } from './localWorkers.js';
import { fromShard, runOf } from './runOf.js';
import type { Runner } from './runner.js';
import type { Treasury } from './treasury/treasury.js';
import type { WorkerHub } from './workerHub.js';
import { shortIdOf } from './workerHub.js';

export interface PerformerTargets {
  readonly hub: WorkerHub;
  readonly runner: Runner;
  readonly auditor: Auditor;
  readonly durability: Durability;
  readonly treasury: Treasury;
  /** Integer ms that never go back. */
  readonly now: () => number;
  readonly locals: () => LocalWorkers;
  readonly log: (text: string) => void;
  readonly warn: (text: string) => void;
  /** The cell waits: in the panel and below the cell. */
  readonly starved: (text: string) => void;
  readonly relieved: () => void;
}

export function performersOf(targets: PerformerTargets): Performers {
  const { hub, runner, auditor } = targets;
  return {
    provide: ({ worker, resources }) => hub.session(worker)?.provide(resources),
    run: ({ worker, execution, program, groups, leaseMs }) => {
      const audited = auditor.planOf(execution);
      const bound = audited?.whole ?? runner.executionOf(execution)?.bound ?? null;
      if (bound === null) return;
      const granted = audited === null ? groups : fromShard(groups, audited.firstShard);
      const session = hub.session(worker);
      if (session === undefined) return;
      if (audited === null) runner.advances.offer(session, bound, execution, groups);
      targets.locals().leased();
      session.run({ leaseMs, ...runOf(bound, execution, program, granted) });
    },
    drop: ({ worker, resources }) => hub.session(worker)?.drop(resources),
    revoke: ({ worker, leases }) => {
      runner.discard(leases);
      auditor.discard(leases);
      const session = hub.session(worker);
      session?.digests.forget(leases);
      session?.cancel([], leases);
    },
    revokeExecution: ({ worker, execution }) => {
      hub.session(worker)?.cancel([execution], []);
    },
    accept: (effect, done) => {
      if (!auditor.accepted(effect, done)) runner.accept(effect, done);
    },
    meter: meterTo(targets),
    complete: ({ execution, workers }) => {
      if (!auditor.complete(execution)) runner.complete(execution, workers);
    },
    committed: ({ execution }) => {
      runner.committed(execution);
    },
    failed: ({ execution, failure }) => {
      if (!auditor.failed(execution, failure)) runner.failed(execution, failure);
    },
    expel: ({ worker, reason }) => {
      hub.expel(worker, reason);
    },
    ping: ({ worker }) => hub.session(worker)?.ping(targets.now()),
    drained: ({ worker }) => {
      targets.log(`worker ${worker.slice(0, 8)} is drained`);
    },
    quarantined: ({ worker, forMs }) => {
      const name = shortIdOf(worker);
      targets.warn(
        `Worker ${name} failed ${String(ENGINE_LIMITS.flapFailures)} times within a minute; it gets no work for ${String(Math.ceil(forMs / 1000))} s.`,
      );
    },
    starved: ({ bitClass }) => {
      targets.starved(starvedText(bitClass, targets.locals().count));
    },
    relieved: targets.relieved,
  };
}

/**
 * A unit's row, and its pay. The text of an amount is nearly always that of the unit before: a program's units cost the same.
 */
function meterTo({ runner, auditor, durability, treasury }: PerformerTargets): Performers['meter'] {
  const last = { amount: 0n, text: '0' };
  return ({ entry, execution, shard: which, program: programIndex, index }, done) => {
    const audited = auditor.paidAs(execution, which);
    const point = audited ?? runner.paid(execution, which);
    if (point === null) return;
    const { session, request } = point;
    const shard = audited?.shard ?? which;
    const { worker, lease, flops, amount } = entry;
    if (amount !== last.amount) {
      last.amount = amount;
      last.text = String(amount);
    }
    const atMs = Date.now();
    // Once a unit, for thousands a second: spreading the point here took a fifth of the loop.
    durability.paid({ session, request, shard, worker, flops, amount: last.text, atMs });
    const bound = auditor.planOf(execution)?.whole ?? runner.executionOf(execution)?.bound;
    const program = bound?.programs[programIndex];
    if (program === undefined || !treasury.pays(worker)) return;
    const result = done?.units[index];
    const digest = result?.status === 'ok' ? result.digest : null;
    const { hash, sizeBytes } = program;
    const unit = { session, request, shard, worker, lease, program: hash, flops, sizeBytes };
    treasury.committed({ ...unit, amount, digest }, auditor.judges(worker) ? null : 'accepted');
  };
}

function starvedText(bitClass: string | null, localWorkers: number): string {
  if (bitClass !== null) {
    return `No worker of the class that this run's bits come from is left (${bitClass}): the cell waits. Start such a worker again, or give up exact bits with cluster.configure({ mixClasses: true }).`;
  }
  return localWorkers === 0
    ? 'No worker is connected: the cell waits. Call cluster.scale(2), or invite a machine from the panel.'
    : 'No worker is connected yet: the cell waits for the local workers to start.';
}
