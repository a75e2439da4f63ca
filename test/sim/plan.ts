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
  /** How long the engine's answers are on their way to the kernel; 1 without it. */
  readonly answerMs?: number;
  /** Times the rates of what kills engine or kernel, drawn once more when a step is committed; 0 without it. */
  readonly commitFactor?: number;
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

/** How large a schedule is, and how much it suffers. */
interface Size {
  readonly perMille: number;
  readonly workers: number;
  /** Upper bound of the shards, by the number of steps less one: its length bounds the steps. */
  readonly shards: readonly number[];
  /** Bounds of healAtMs; the second pair where every message goes through the codec. */
  readonly healMs: readonly [number, number];
  readonly encodedHealMs: readonly [number, number];
  /** Times the rates of what strikes workers and their connections with time. */
  readonly hurry: number;
}

/**
 * Most bugs show in a small schedule, and it costs a third of a usual one. It is healed early, so that what strikes with time
 * has to come more often in it.
 */
const SMALL: Size = {
  perMille: 951,
  workers: 3,
  shards: [8, 4, 3],
  healMs: [200, 3_000],
  encodedHealMs: [200, 1_500],
  hurry: 2,
};
const USUAL: Size = {
  perMille: 32,
  workers: 6,
  shards: [10, 10, 10],
  healMs: [500, 8_000],
  encodedHealMs: [500, 3_000],
  hurry: 1,
};
/** Few workers have much to do: what goes wrong between several units of one worker. */
const WIDE: Size = {
  perMille: 14,
  workers: 2,
  shards: [32],
  healMs: [200, 2_500],
  encodedHealMs: [200, 1_500],
  hurry: 2,
};
const LARGE: Size = {
  perMille: 3,
  workers: 6,
  shards: [64, 64, 64, 64, 64, 64, 64, 64],
  healMs: [10_000, 40_000],
  encodedHealMs: [10_000, 40_000],
  hurry: 1,
};

/** When a step is committed is the worst moment for engine and kernel to die, and one that beats seldom meet. */
const COMMIT_FACTOR = 40;

/** Some engines die among workers that fail, for long enough: what was answered must not fail when it is asked again. */
const FAILING_MS = 6_000;

/** As frequent in a short schedule as in a long one: drawn once a unit, connection, stall or effect, or the end of all work. */
const UNHURRIED: ReadonlySet<Fault> = new Set([
  'hang',
  'failUnit',
  'stray',
  'skew',
  'lateJoin',
  'userReacts',
  'engineCrash',
  'kernelCrash',
  'powerCut',
  'diskFull',
  'cancel',
]);

/** Put together once: what is drawn for every schedule is a table. */
const SIZES = [LARGE, WIDE, USUAL, SMALL].map((size) => ({
  size,
  hazards: FAULTS.map((fault) => ({
    fault,
    factor: (FACTORS[fault] ?? 1) * (UNHURRIED.has(fault) ? 1 : size.hurry),
  })),
}));

/** Swarm testing: about half of the faults are off in a schedule, so that some runs have nothing but one kind. */
export function drawPlan(seed: number): SimPlan {
  const random = new Prng(seed, 1);
  let left = random.between(1, 1_000);
  const drawn = SIZES.find(({ size }) => (left -= size.perMille) <= 0);
  if (drawn === undefined) throw new RangeError('the sizes of schedules do not add up to 1,000');
  const { size, hazards } = drawn;
  const rates = { ...NO_RATES };
  for (const { fault, factor } of hazards) {
    rates[fault] = random.chance(500) ? Math.ceil(random.between(1, 50) * factor) : 0;
  }
  // Some crowds are on a network that loses them again and again.
  if (random.chance(60)) rates.disconnect = random.between(100, 400);
  const isFailing = random.chance(80);
  if (isFailing) {
    rates.failUnit = random.between(300, 700);
    rates.engineCrash = Math.max(rates.engineCrash, 10);
  }
  const isEncoded = random.chance(45);
  const [fromMs, toMs] = isEncoded ? size.encodedHealMs : size.healMs;
  const steps = random.between(1, size.shards.length);
  const plan: SimPlan = {
    seed,
    workers: random.between(1, size.workers),
    bitClasses: random.chance(400) ? 2 : 1,
    steps,
    shards: random.between(1, random.between(1, size.shards[steps - 1] ?? 1)),
    isMergeable: random.chance(500),
    isSyncMode: random.chance(200),
    isEncoded,
    rates,
    healAtMs: isFailing ? FAILING_MS : random.between(fromMs, toMs),
    latencyMs: random.between(0, 40),
    jitterMs: random.between(0, 30),
    bytesPerMs: random.pick([10, 100, 10_000, 1_000_000]),
    unitMs: random.pick(isFailing ? [1, 20] : [1, 20, 100, 400, 1_500]),
    thinkMs: random.pick([0, 0, 0, 400]),
    answerMs: random.pick([1, 1, 20]),
    commitFactor: COMMIT_FACTOR,
  };
  if (plan.workers < 2 || !random.chance(100)) return plan;
  const lie = { worker: random.between(1, plan.workers - 1), from: random.pick([0, 0, 5, 15, 30]) };
  return { ...plan, lie, bitClasses: 1 };
}
