/**
 * @file One schedule: the real scheduler under the faults of a seed (safety), then healed until all is committed
 * (liveness), then compared with the undisturbed result.
 */
import type { WorkerId } from '@ravenlab/protocol';
import { ShardTree } from '../../kernel/src/core/cluster/shardTree.js';
import { InvariantError } from '../../kernel/src/core/cluster/transition.js';
import type { Canary } from './canaries.js';
import { SimContext } from './context.js';
import type { Fault, SimPlan } from './plan.js';
import { drawPlan, livenessMs } from './plan.js';
import { SimEngine, SimViolation } from './simEngine.js';
import { SimWorker } from './simWorker.js';

/** A schedule that needs more is going round in circles. */
const EVENTS_MAX = 20_000;

export interface SimOptions {
  readonly canary?: Canary;
  readonly isTracing?: boolean;
  readonly onTransition?: (cell: string) => void;
}

export interface SimReport {
  readonly plan: SimPlan;
  /** What broke; null when every promise held. */
  readonly violation: string | null;
  readonly events: number;
  readonly virtualMs: number;
  readonly leasesLost: number;
  readonly struck: ReadonlyMap<Fault, number>;
  readonly trace: readonly string[];
}

/** Runs the schedule of a seed. A pure function of (seed, options). */
export function simulate(seed: number, options: SimOptions = {}): SimReport {
  return simulatePlan(drawPlan(seed), options);
}

/** Runs a plan as given; what shrinking works on. */
export function simulatePlan(plan: SimPlan, options: SimOptions = {}): SimReport {
  const context = new SimContext(plan);
  const engine = new SimEngine(context, options.canary ?? null, options.isTracing ?? false);
  const { onTransition } = options;
  if (onTransition !== undefined) {
    engine.state.trace.watch = (table, status, cause) => {
      onTransition(`${table}.${status}.${cause}`);
    };
  }
  let violation: string | null = null;
  try {
    drive(context, engine);
    compare(context, engine);
  } catch (error) {
    if (!(error instanceof InvariantError || error instanceof SimViolation)) throw error;
    violation = error.message;
  }
  return {
    plan,
    violation,
    events: engine.events,
    virtualMs: context.heap.nowMs,
    leasesLost: engine.state.counters.leasesLost,
    struck: context.struck,
    trace: engine.trace,
  };
}

function drive(context: SimContext, engine: SimEngine): void {
  const { heap, plan } = context;
  const workers = Array.from({ length: plan.workers }, (_, index) => {
    const worker = new SimWorker(
      `worker-${String(index)}` as WorkerId,
      context,
      engine,
      `class-${String(index % plan.bitClasses)}`,
    );
    const delayMs =
      index > 0 && context.strikes('lateJoin') ? context.work.between(1, 5_000) : index;
    heap.at(delayMs, () => {
      worker.start();
    });
    return worker;
  });
  heap.at(0, () => {
    engine.submitNext();
  });
  userActs(context, engine, workers);
  heap.at(plan.healAtMs, () => {
    context.isHealed = true;
    for (const worker of workers) worker.heal();
  });
  const endMs = plan.healAtMs + livenessMs(plan);
  while (!engine.isFinished) {
    if (!heap.runNext()) throw new SimViolation('liveness: nothing is left to happen');
    if (heap.nowMs > endMs) {
      throw new SimViolation(
        `liveness: not finished at ${String(endMs)} ms, healed at ${String(plan.healAtMs)} ms`,
      );
    }
    if (engine.events > EVENTS_MAX) throw new SimViolation('liveness: endless events');
  }
}

const USER_LOOKS_MS = 100;

/** The user looks at the panel now and then and drains, pauses or bans somebody. */
function userActs(context: SimContext, engine: SimEngine, workers: readonly SimWorker[]): void {
  context.heap.after(USER_LOOKS_MS, () => {
    if (context.isHealed) return;
    if (context.strikes('drain')) engine.drain(context.work.pick(workers).id);
    if (context.strikes('userPause'))
      engine.pause(engine.stalled() ?? context.work.pick(workers).id);
    if (context.strikes('userBan')) engine.ban(context.work.pick(workers).id);
    userActs(context, engine, workers);
  });
}

/** The undisturbed result: every unit once, summed by the tree. */
function compare(context: SimContext, engine: SimEngine): void {
  const { plan } = context;
  for (let execution = 0; execution < plan.executions; execution++) {
    const tree = new ShardTree<{ sum: number }>(plan.shards);
    for (let shard = 0; shard < plan.shards; shard++) {
      for (const { target, source } of tree.insert(shard, {
        sum: context.valueOf(execution, shard),
      })) {
        target.sum = Math.fround(target.sum + source.sum);
      }
    }
    const actual = engine.sums[execution];
    if (!Object.is(actual, tree.root.sum)) {
      throw new SimViolation(
        `execution ${String(execution)}: sum ${String(actual)}, undisturbed ${String(tree.root.sum)}`,
      );
    }
  }
  if (engine.paidTotal !== engine.state.ledger.totalPosted) {
    throw new SimViolation(
      `paid ${String(engine.paidTotal)}, the ledger says ${String(engine.state.ledger.totalPosted)}`,
    );
  }
}
