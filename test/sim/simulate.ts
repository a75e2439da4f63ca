/**
 * @file One schedule: the real scheduler, ledger and journal under the faults of a seed (safety), then healed until the
 * training is done (liveness), then compared with the undisturbed training.
 */
import type { WorkerId } from '@ravenlab/protocol';
import { InvariantError } from '../../kernel/src/core/cluster/transition.js';
import type { Canary } from './canaries.js';
import { SimContext, SimViolation } from './context.js';
import type { Fault, SimPlan } from './plan.js';
import { drawPlan, livenessMs } from './plan.js';
import { SimHost } from './simHost.js';
import { SimWorker } from './simWorker.js';
import { SimTrace } from './trace.js';

/** A schedule that needs more is going round in circles. */
const EVENTS_MAX = 40_000;
const LATE_MS = 5_000;

export interface SimOptions {
  readonly canary?: Canary;
  readonly isTracing?: boolean;
  readonly onTransition?: (cell: string) => void;
}

export interface SimReport {
  readonly plan: SimPlan;
  /** What broke; null when every promise held. */
  readonly violation: string | null;
  /** Fed to the scheduler and the journal. */
  readonly events: number;
  /** Of the event heap. */
  readonly callbacks: number;
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
  const trace = new SimTrace(options.isTracing ?? false);
  const host = new SimHost(context, options.canary ?? null, trace);
  host.onTransition = options.onTransition ?? null;
  let violation: string | null = null;
  try {
    drive(context, host, trace);
    host.compare();
  } catch (error) {
    if (!(error instanceof InvariantError || error instanceof SimViolation)) throw error;
    violation = error.message;
  }
  return {
    plan,
    violation,
    events: trace.events,
    callbacks: context.heap.ran,
    virtualMs: context.heap.nowMs,
    leasesLost: host.leasesLost + (host.engine?.state.counters.leasesLost ?? 0),
    struck: context.struck,
    trace: trace.lines,
  };
}

function drive(context: SimContext, host: SimHost, trace: SimTrace): void {
  const { heap, plan } = context;
  for (let index = 0; index < plan.workers; index++) {
    const id = `worker-${String(index)}` as WorkerId;
    const worker = new SimWorker(id, context, host, index % plan.bitClasses, index);
    host.workers.push(worker);
    const isLate = index > 0 && context.strikes('lateJoin');
    heap.at(isLate ? context.work.between(1, LATE_MS) : index, () => {
      worker.start();
    });
  }
  host.start();
  heap.at(plan.healAtMs, () => {
    context.isHealed = true;
    host.heal();
    for (const worker of host.workers) worker.heal();
  });
  const endMs = plan.healAtMs + livenessMs(plan);
  while (!host.isFinished) {
    if (!heap.runNext()) throw new SimViolation('liveness: nothing is left to happen');
    if (heap.nowMs > endMs) {
      throw new SimViolation(
        `liveness: not finished at ${String(endMs)} ms, healed at ${String(plan.healAtMs)} ms`,
      );
    }
    if (trace.events > EVENTS_MAX) throw new SimViolation('liveness: endless events');
  }
}
