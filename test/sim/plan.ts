/** @file What one simulated schedule is made of, drawn from its seed: crowd, work and the rates of every fault. */
import { Prng } from './prng.js';

/** Kinds of fault; a batch of schedules in which one of them never happens proves nothing and fails. */
export const FAULTS = [
  'crash',
  'disconnect',
  'halfOpen',
  'pause',
  'hang',
  'slow',
  'repeatDone',
  'forgedDone',
  'failUnit',
  'loseCache',
  'drain',
  'userPause',
  'userBan',
  'lateJoin',
  'cancel',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface SimPlan {
  readonly seed: number;
  readonly workers: number;
  /** Bit classes among them. */
  readonly bitClasses: number;
  readonly executions: number;
  readonly shards: number;
  /** Workers may add up whole subtrees of a sum. */
  readonly isMergeable: boolean;
  /** Per mille, by fault: of a worker's beat for faults of a worker, of a message or unit for the others. */
  readonly rates: Readonly<Record<Fault, number>>;
  /** Faults stop here; then everything must be finished within LIVENESS_MS. */
  readonly healAtMs: number;
  readonly latencyMs: number;
  readonly jitterMs: number;
  readonly bytesPerMs: number;
  readonly unitMs: number;
}

/** Virtual time from the heal to the last commit at most: a hang, the stalls that follow, twice all work on one worker. */
export function livenessMs(plan: SimPlan): number {
  return 120_000 + 2 * plan.executions * plan.shards * plan.unitMs;
}

/** Drawn once a unit or an execution, not once a beat: they need a higher rate to be seen. */
const RARE: ReadonlySet<Fault> = new Set([
  'hang',
  'failUnit',
  'cancel',
  'drain',
  'userPause',
  'userBan',
]);

/** Swarm testing: about half of the faults are off in a schedule, so that some runs have nothing but one kind. */
export function drawPlan(seed: number): SimPlan {
  const random = new Prng(seed, 1);
  const rates: Record<string, number> = {};
  for (const fault of FAULTS) {
    const rate = random.chance(500) ? random.between(1, 60) : 0;
    rates[fault] = RARE.has(fault) ? rate * 8 : rate;
  }
  return {
    seed,
    workers: random.between(1, 6),
    bitClasses: random.chance(300) ? 2 : 1,
    executions: random.between(1, 4),
    shards: random.between(1, 12),
    isMergeable: random.chance(500),
    rates: rates as Record<Fault, number>,
    healAtMs: random.chance(800) ? random.between(1_000, 12_000) : random.between(20_000, 60_000),
    latencyMs: random.between(0, 40),
    jitterMs: random.between(0, 30),
    bytesPerMs: random.pick([100, 10_000, 1_000_000]),
    unitMs: random.pick([1, 20, 400, 1_500]),
  };
}
