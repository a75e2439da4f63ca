/** @file Drills in which a worker is there and yet is not: stopped, slow, cut off. */
import { ENGINE_LIMITS, LIMITS } from '@ravenlab/protocol';
import { nowMs, sleep } from '../lib/clock.js';
import type { Drill, DrillContext } from '../lib/drill.js';
import type { Cut, Proxy } from '../lib/proxy.js';
import { Rig, longestPause, medianStep, promisesOf } from '../lib/rig.js';
import type { Figure } from '../lib/verdict.js';
import { note, time } from '../lib/verdict.js';
import type { WorkerProcess } from '../lib/workers.js';

const STOPPED_MS = 10_000;
/** Silence is a fact after the timeout; it is looked for once a heartbeat. */
const SILENCE_MS = LIMITS.heartbeatTimeoutMs + LIMITS.heartbeatMs;
/** A step that waits for a silent worker alone is done elsewhere once that has missed a beat; and it has to be computed. */
const AWAY_STEP_MS = ENGINE_LIMITS.missedBeatMs + 1_000;
/** Back within the longest pause between two attempts of a worker to connect, and its answer. */
const BACK_MS = 8_000;

async function stopped({ prng, say }: DrillContext): Promise<Figure[]> {
  const rig = await Rig.start({ model: 'mlp', workers: 3 });
  try {
    rig.train();
    await rig.kernel.reached(5);
    const worker = prng.pick(rig.running);
    await rig.busy(worker);
    const stepMs = medianStep(rig.kernel.steps);
    const at = worker.signal('SIGSTOP');
    const gone = await rig.absent(worker);
    say(`stopped; given up after ${(gone - at).toFixed(0)} ms`);
    await sleep(at + STOPPED_MS - nowMs());
    const pause = longestPause(rig.kernel, at - stepMs);
    const again = worker.signal('SIGCONT');
    const back = await rig.present(worker);
    await rig.busy(worker);
    const figures = await promisesOf(rig);
    return [
      note('median step ms', stepMs),
      time('SIGSTOP noticed ms', gone - at, SILENCE_MS),
      time('longest step ms', pause, AWAY_STEP_MS),
      time('back after SIGCONT ms', back - again, BACK_MS),
      ...figures,
    ];
  } finally {
    await rig.close();
  }
}

/** Equal workers run half of the time, so that four of them leave two of four cores to everyone else. */
const EQUAL_SHARE = 0.5;
const SLOW_SHARE = EQUAL_SHARE / 5;
const SLOW_BAR = 1.1;
/** Steps of one measured stretch, and stretches of each kind in turns. */
const STRETCH_STEPS = 12;
const STRETCHES = 4;
/** Steps after a change that teach the scheduler; they are not measured. */
const LEARNING_STEPS = 4;

/** Runs a stretch with these shares. @returns time of a step, ms, and the sum of the shares that the workers really had. */
async function stretch(
  rig: Rig,
  shares: readonly number[],
): Promise<{ readonly stepMs: number; readonly speed: number }> {
  const { kernel, running } = rig;
  running.forEach((worker, i) => {
    worker.slowDown(shares[i] ?? 1);
  });
  const from = kernel.lastStep + LEARNING_STEPS;
  await kernel.reached(from + STRETCH_STEPS);
  const speed = running.reduce((sum, worker) => sum + worker.steady(), 0);
  return { stepMs: medianStep(kernel.steps.filter(({ step }) => step >= from)), speed };
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

async function slow({ isShort, say }: DrillContext): Promise<Figure[]> {
  const rig = await Rig.start({ model: 'slow', workers: 4 });
  try {
    rig.train();
    await rig.kernel.reached(4);
    const equal = [EQUAL_SHARE, EQUAL_SHARE, EQUAL_SHARE, EQUAL_SHARE];
    const ratios: number[] = [];
    const ideals: number[] = [];
    for (let i = 0; i < (isShort ? 1 : STRETCHES); i++) {
      const even = await stretch(rig, equal);
      const uneven = await stretch(rig, [SLOW_SHARE, ...equal.slice(1)]);
      ratios.push(uneven.stepMs / even.stepMs);
      ideals.push(even.speed / uneven.speed);
      say(`${even.stepMs.toFixed(0)} ms a step, ${uneven.stepMs.toFixed(0)} ms with a slow worker`);
    }
    const figures = await promisesOf(rig);
    return [
      note('step with one slow worker, ratio', mean(ratios)),
      note('ideal ratio by the time that workers had', mean(ideals)),
      time('step against ideal, ratio', mean(ratios) / mean(ideals), SLOW_BAR),
      ...figures,
    ];
  } finally {
    await rig.close();
  }
}

interface Cutting {
  readonly noticedMs: number;
  readonly backMs: number;
}

/** Cuts the worker off until the engine has given it up, then lets it come back. */
async function cutOff(
  rig: Rig,
  worker: WorkerProcess,
  strike: () => void,
  heal: () => void,
): Promise<Cutting> {
  await rig.busy(worker);
  const at = nowMs();
  strike();
  const gone = await rig.absent(worker);
  await sleep(500);
  const healed = nowMs();
  heal();
  const back = await rig.present(worker);
  await rig.busy(worker);
  return { noticedMs: gone - at, backMs: back - healed };
}

function strikes(proxy: Proxy): readonly (readonly [string, () => void, () => void])[] {
  const cut = (directions: Cut): (() => void) => {
    return () => {
      proxy.cut(directions);
    };
  };
  const heal = (): void => {
    proxy.heal();
  };
  const forget = (): void => {
    proxy.forget();
  };
  return [
    ['partition', cut('both'), heal],
    ['nothing reaches the engine', cut('toEngine'), heal],
    ['nothing reaches the worker', cut('toWorker'), heal],
    ['half-open connection', forget, () => undefined],
  ];
}

async function partition({ isShort, say }: DrillContext): Promise<Figure[]> {
  const rig = await Rig.start({ model: 'mlp', workers: 2 });
  try {
    const proxy = await rig.openProxy();
    const [worker] = await rig.join(1, { port: proxy.port });
    if (worker === undefined) throw new Error('no worker runs');
    rig.train();
    await rig.kernel.reached(3);
    const figures: Figure[] = [];
    const chosen = strikes(proxy).filter((_, i) => !isShort || i === 0);
    for (const [name, strike, heal] of chosen) {
      const { noticedMs, backMs } = await cutOff(rig, worker, strike, heal);
      say(`${name}: noticed after ${noticedMs.toFixed(0)} ms, back after ${backMs.toFixed(0)} ms`);
      figures.push(time(`${name}: noticed ms`, noticedMs, SILENCE_MS));
      figures.push(time(`${name}: back ms`, backMs, BACK_MS));
    }
    return [...figures, ...(await promisesOf(rig))];
  } finally {
    await rig.close();
  }
}

export const SILENCES: readonly Drill[] = [
  { name: 'stop', title: 'SIGSTOP for 10 s, then SIGCONT', isInShort: false, run: stopped },
  { name: 'slow', title: 'one of four workers 5x slower', isInShort: false, run: slow },
  {
    name: 'partition',
    title: 'links cut in one direction or both, and half-open connections',
    isInShort: true,
    run: partition,
  },
];
