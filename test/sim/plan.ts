/** @file What one simulated schedule is made of, drawn from its seed: crowd, work and the rates of every fault. */
import { Prng } from './prng.js';

/** Kinds of fault; a batch of schedules in which one of them never happens proves nothing and fails. */
export const FAULTS = [
  // a worker
  'crash',
  'pause',
  'hang',
  'slow',
  'skew',
  'failUnit',
  'loseCache',
  'lateJoin',
  // its connection
  'disconnect',
  'halfOpen',
  'clog',
  'stray',
  // what it says
  'repeatDone',
  'forgedDone',
  'wrongSize',
  // the machine of kernel and engine
  'engineCrash',
  'kernelCrash',
  'powerCut',
  'diskFull',
  // the user
  'drain',
  'userPause',
  'userBan',
  'userReacts',
  'cancel',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface SimPlan {
  readonly seed: number;
  readonly workers: number;
  /** Bit classes among them. */
  readonly bitClasses: number;
  /** Training steps that the kernel wants. */
  readonly steps: number;
  readonly shards: number;
  /** Workers may add up whole subtrees of a sum. */
  readonly isMergeable: boolean;
  /** The journal forces everything to the disk before it counts. */
  readonly isSyncMode: boolean;
  /** Every message goes through the wire codec. */
  readonly isEncoded: boolean;
  /** Per mille, by fault: of a worker's beat for faults of a worker, of a message or unit for the others. */
  readonly rates: Readonly<Record<Fault, number>>;
  /** Faults stop here; then everything must be finished within livenessMs. */
  readonly healAtMs: number;
  readonly latencyMs: number;
  readonly jitterMs: number;
  readonly bytesPerMs: number;
  readonly unitMs: number;
  /** Strangers among the workers: all but the first, one of which lies from some answer on; null: nobody lies. */
  readonly lie?: { readonly worker: number; readonly from: number } | null;
  /** Pause of the user's loop between two requests. */
  readonly thinkMs: number;
}

/** What a worker reads for a step at most: a program, a version of the weights, three blocks; and as much again. */
const STEP_BYTES = 2 * (2_000 + 8_000 + 3 * 3_000);

/**
 * Virtual time from the heal to the end at most: a hang, the stalls that follow, twice all work on one worker, and twice all
 * that it reads over its link.
 */
export function livenessMs(plan: SimPlan): number {
  const { steps, shards, unitMs, bytesPerMs } = plan;
  return 120_000 + 4 * steps * shards * unitMs + Math.ceil((steps * STEP_BYTES) / bytesPerMs);
}

/**
 * Times the rate of the others. Some are drawn once a unit or a connection and need a higher one to be seen; some stop all
 * work, and a schedule of nothing else would be a long wait.
 */
const FACTORS: Readonly<Partial<Record<Fault, number>>> = {
  hang: 6,
  failUnit: 12,
  stray: 10,
  skew: 10,
  lateJoin: 10,
  engineCrash: 0.3,
  kernelCrash: 0.3,
  powerCut: 0.4,
  diskFull: 0.4,
  drain: 0.4,
  userPause: 0.4,
  userBan: 0.3,
  userReacts: 10,
};

/** The shape of all rates, so that a plan's are a copy and not put together name by name. */
const NO_RATES = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;

/** Swarm testing: about half of the faults are off in a schedule, so that some runs have nothing but one kind. */
export function drawPlan(seed: number): SimPlan {
  const random = new Prng(seed, 1);
  const rates = { ...NO_RATES };
  for (const fault of FAULTS) {
    const rate = random.chance(500) ? random.between(1, 50) : 0;
    rates[fault] = Math.ceil(rate * (FACTORS[fault] ?? 1));
  }
  // Some crowds are on a network that loses them again and again.
  if (random.chance(60)) rates.disconnect = random.between(100, 400);
  const isLarge = random.chance(20);
  const isEncoded = random.chance(125);
  const plan: SimPlan = {
    seed,
    workers: random.between(1, 6),
    bitClasses: random.chance(250) ? 2 : 1,
    steps: random.between(1, isLarge ? 8 : 3),
    shards: random.between(1, isLarge ? 64 : 10),
    isMergeable: random.chance(500),
    isSyncMode: random.chance(200),
    isEncoded,
    rates,
    healAtMs: isLarge
      ? random.between(10_000, 40_000)
      : random.between(500, isEncoded ? 3_000 : 8_000),
    latencyMs: random.between(0, 40),
    jitterMs: random.between(0, 30),
    bytesPerMs: random.pick([10, 100, 10_000, 1_000_000]),
    unitMs: random.pick([1, 20, 100, 400, 1_500]),
    thinkMs: random.pick([0, 0, 0, 400]),
  };
  if (plan.workers < 2 || !random.chance(200)) return plan;
  const lie = { worker: random.between(1, plan.workers - 1), from: random.pick([0, 0, 5, 15, 30]) };
  return { ...plan, lie, bitClasses: 1 };
}
