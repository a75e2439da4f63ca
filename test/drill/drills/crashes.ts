/** @file Drills in which worker processes die, come and go. */
import type { Drill, DrillContext } from '../lib/drill.js';
import { nowMs, sleep, until } from '../lib/clock.js';
import { Rig, medianStep, promisesOf } from '../lib/rig.js';
import type { Figure } from '../lib/verdict.js';
import { note, time } from '../lib/verdict.js';
import type { Victim } from '../lib/workers.js';

const NOTICED_MS = 50;
const RUNNING_ELSEWHERE_MS = 500;

export interface Loss {
  /** From SIGKILL until the engine has no such member. */
  readonly noticedMs: number;
  /** From SIGKILL until the system was through with the process: none of it is the engine's. */
  readonly endedMs: number;
  /** From SIGKILL to the next commit: what the dead one held has been leased, run and added up elsewhere. */
  readonly recoveredMs: number;
}

/** Kills a worker with kill -9 while it holds leases. */
export async function killBusy(rig: Rig, worker: Victim): Promise<Loss> {
  await rig.busy(worker);
  const at = worker.signal('SIGKILL');
  const noticed = await rig.absent(worker);
  const { kernel } = rig;
  const next = await kernel.reached(kernel.lastStep + 1);
  const endedAtMs = await until(`the end of ${worker.name}`, () => worker.endedAtMs);
  const endedMs = endedAtMs - at;
  return { noticedMs: noticed - at, endedMs, recoveredMs: next.atMs - at };
}

/** The value that this share of them keeps within; percent. */
function within(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil((sorted.length * percent) / 100) - 1] ?? NaN;
}

function noticesOf(whose: string, losses: readonly Loss[]): Figure[] {
  const noticed = losses.map(({ noticedMs }) => noticedMs);
  const ended = losses.map(({ endedMs }) => endedMs);
  const what = `SIGKILL of ${whose}`;
  return [
    note(`${what}: kills`, losses.length),
    note(`${what} to the end of the process ms, median`, within(ended, 50)),
    note(`${what} to the end of the process ms, worst`, within(ended, 100)),
    note(`${what} noticed ms, least`, within(noticed, 1)),
    note(`${what} noticed ms, median`, within(noticed, 50)),
    note(`${what} noticed ms, 90 % within`, within(noticed, 90)),
    time(`${what} noticed ms, worst`, within(noticed, 100), NOTICED_MS),
  ];
}

function judge(own: readonly Loss[], invited: readonly Loss[], stepMs: number): Figure[] {
  const recovered = [...own, ...invited].map(({ recoveredMs }) => recoveredMs);
  return [
    note('median step ms', stepMs),
    ...noticesOf("the engine's own", own),
    ...noticesOf('an invited one', invited),
    // A step was under way in any case: its own time is not recovery. One that was nearly done ends sooner than the median.
    time(
      'work running elsewhere ms',
      Math.max(0, within(recovered, 100) - stepMs),
      RUNNING_ELSEWHERE_MS,
    ),
  ];
}

/** Of each kind: enough for a distribution, and in the short form for a look. */
const KILLS = 20;
const KILLS_SHORT = 1;
/** So many that one has run for a while when its turn comes, and its engine starts the next one without a pause. */
const LOCALS = 3;

/** Workers of the engine and invited ones are killed in turns: the same machine, the same load, the same minute. */
async function kills({ prng, isShort, say }: DrillContext): Promise<Figure[]> {
  const rig = await Rig.start({
    model: 'mlp',
    workers: 1,
    env: { RAVENLAB_LOCAL_WORKERS: String(LOCALS) },
  });
  try {
    rig.train();
    const own: Loss[] = [];
    const invited: Loss[] = [];
    const kill = async (victim: Victim, losses: Loss[]): Promise<void> => {
      const { kernel } = rig;
      await kernel.reached(kernel.lastStep + prng.between(6, 18));
      const loss = await killBusy(rig, victim);
      losses.push(loss);
      say(`killed ${victim.name}, noticed after ${loss.noticedMs.toFixed(1)} ms`);
    };
    while (invited.length < (isShort ? KILLS_SHORT : KILLS)) {
      // The crowd is whole again before the next one dies, so that it is the kill that is measured and not a start.
      const [oldest] = await rig.locals(LOCALS);
      if (oldest !== undefined) await kill(oldest, own);
      await rig.locals(LOCALS);
      await kill(prng.pick(rig.running), invited);
      await rig.present(rig.spawn());
    }
    const figures = await promisesOf(rig);
    return [...judge(own, invited, medianStep(rig.kernel.steps)), ...figures];
  } finally {
    await rig.close();
  }
}

async function joins(): Promise<Figure[]> {
  const rig = await Rig.start({ model: 'gru', workers: 1 });
  try {
    rig.train();
    await rig.kernel.reached(2);
    const { kernel } = rig;
    const startedMs = nowMs();
    const [worker] = await rig.join(1);
    const joinedMs = nowMs();
    if (worker !== undefined) await rig.busy(worker);
    const workingMs = nowMs();
    const stepsBefore = kernel.steps.length;
    await rig.join(2);
    const stepsAfter = kernel.steps.length;
    const figures = await promisesOf(rig);
    return [
      note('step at the first join', stepsBefore),
      note('step at the third join', stepsAfter),
      note('start to member ms', joinedMs - startedMs),
      time('member to first lease ms', workingMs - joinedMs, 1_000),
      ...figures,
    ];
  } finally {
    await rig.close();
  }
}

const CHURN_WORKERS = 6;
/** 10 % a minute of six workers is one departure in 100 s; the drill makes one in 1.25 s. */
const CHURN_EVERY_MS = 1_250;
const CHURN_DEPARTURES = 20;
const CHURN_COMPRESSION = 60_000 / (0.1 * CHURN_WORKERS) / CHURN_EVERY_MS;

async function churn({ prng, isShort, say }: DrillContext): Promise<Figure[]> {
  const rig = await Rig.start({ model: 'cnn', workers: CHURN_WORKERS });
  try {
    rig.train();
    await rig.kernel.reached(1);
    const departures = isShort ? 6 : CHURN_DEPARTURES;
    for (let i = 0; i < departures; i++) {
      await sleep(CHURN_EVERY_MS);
      // Half of those who go say so.
      prng.pick(rig.running).signal(prng.chance(500) ? 'SIGKILL' : 'SIGINT');
      rig.spawn();
    }
    say(`${String(departures)} departures`);
    const figures = await promisesOf(rig);
    const figure = (name: string): number =>
      Number(figures.find((each) => each.name === name)?.value ?? 0);
    const againShare = figure('units leased again') / figure('units');
    return [
      note('departures', departures),
      note('time compressed by', CHURN_COMPRESSION),
      time('units leased again at 10 %/min, percent', (againShare * 100) / CHURN_COMPRESSION, 3),
      ...figures,
    ];
  } finally {
    await rig.close();
  }
}

export const CRASHES: readonly Drill[] = [
  { name: 'kill', title: 'kill -9 of workers in mid-step', isInShort: true, run: kills },
  { name: 'join', title: 'workers join in mid-step', isInShort: false, run: joins },
  {
    name: 'churn',
    title: '10 % a minute come and go, time compressed',
    isInShort: false,
    run: churn,
  },
];
