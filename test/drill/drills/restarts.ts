/** @file Drills in which the engine or the kernel dies and another one takes its place. */
import { sleep } from '../lib/clock.js';
import type { Drill, DrillContext } from '../lib/drill.js';
import { Rig, medianStep, promisesOf } from '../lib/rig.js';
import type { Figure } from '../lib/verdict.js';
import { note, time } from '../lib/verdict.js';

export const ENGINE_BACK_MS = 3_000;
export const KERNEL_BACK_MS = 2_000;

/** kill -9 of the engine. @returns time to the first commit of the new one, ms. */
export async function crashEngine(rig: Rig): Promise<number> {
  const { kernel } = rig;
  const at = await rig.killEngine();
  // Replies that were on their way when it died are the old engine's.
  await sleep(20);
  const next = await kernel.reached(kernel.lastStep + 1);
  return next.atMs - at;
}

async function engineDies({ prng, isShort, say }: DrillContext): Promise<Figure[]> {
  const rig = await Rig.start({ model: 'mlp', workers: 3 });
  try {
    rig.train();
    const backMs: number[] = [];
    const count = isShort ? 2 : 4;
    for (let i = 0; i < count; i++) {
      const { kernel } = rig;
      await kernel.reached(kernel.lastStep + prng.between(8, 24));
      await sleep(prng.between(0, 60));
      backMs.push(await crashEngine(rig));
      say(`killed the engine; first new commit after ${backMs.at(-1)?.toFixed(0) ?? ''} ms`);
    }
    await rig.kernel.reached(rig.kernel.lastStep + 5);
    const stepMs = medianStep(rig.kernel.steps);
    const figures = await promisesOf(rig);
    return [
      note('kills of the engine', count),
      note('median step ms', stepMs),
      time('engine killed to first new commit ms', Math.max(...backMs), ENGINE_BACK_MS),
      ...figures,
    ];
  } finally {
    await rig.close();
  }
}

export interface KernelBack {
  /** From the new process's first line of ours to the weights in its hands. */
  readonly attachMs: number;
  /** From its start, the loading of sources included. */
  readonly startMs: number;
  readonly step: number;
}

/** kill -9 of the kernel; the next one goes on with the run. */
export async function crashKernel(rig: Rig): Promise<KernelBack> {
  const before = rig.kernel.lastStep;
  await rig.replaceKernel();
  const { kernel } = rig;
  const attached = await kernel.reattached();
  await kernel.reached(attached.step);
  const lost = before + 1 - attached.step;
  if (lost > 0) throw new Error(`${String(lost)} committed steps are gone with the kernel`);
  return {
    attachMs: attached.atMs - (kernel.upAtMs ?? kernel.startedAtMs),
    startMs: attached.atMs - kernel.startedAtMs,
    step: attached.step,
  };
}

async function kernelDies({ prng, isShort, say }: DrillContext): Promise<Figure[]> {
  const rig = await Rig.start({ model: 'cnn', workers: 2 });
  try {
    rig.train();
    const backs: KernelBack[] = [];
    for (let i = 0; i < (isShort ? 1 : 3); i++) {
      const { kernel } = rig;
      await kernel.reached(kernel.lastStep + prng.between(8, 24));
      backs.push(await crashKernel(rig));
      say(`killed the kernel; reattached at step ${String(backs.at(-1)?.step)}`);
    }
    await rig.kernel.reached(rig.kernel.lastStep + 5);
    const figures = await promisesOf(rig);
    return [
      note('kills of the kernel', backs.length),
      note('start to reattached ms', Math.max(...backs.map(({ startMs }) => startMs))),
      time('reattached ms', Math.max(...backs.map(({ attachMs }) => attachMs)), KERNEL_BACK_MS),
      ...figures,
    ];
  } finally {
    await rig.close();
  }
}

export const RESTARTS: readonly Drill[] = [
  { name: 'engine', title: 'kill -9 of the engine', isInShort: true, run: engineDies },
  { name: 'kernel', title: 'kill -9 of the kernel', isInShort: true, run: kernelDies },
];
