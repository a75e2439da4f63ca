/** @file All of it at once: the bar that the others lead up to. */
import { sleep } from '../lib/clock.js';
import type { Drill, DrillContext } from '../lib/drill.js';
import type { ModelName } from '../lib/models.js';
import { Rig, promisesOf } from '../lib/rig.js';
import type { Figure } from '../lib/verdict.js';
import { note, time } from '../lib/verdict.js';
import type { WorkerProcess } from '../lib/workers.js';
import { killBusy } from './crashes.js';
import type { Loss } from './crashes.js';
import type { KernelBack } from './restarts.js';
import { crashEngine, crashKernel, ENGINE_BACK_MS, KERNEL_BACK_MS } from './restarts.js';

const WORKERS = 8;
const STOPPED_MS = 10_000;
const SLOW_SHARE = 0.2;

/** What is struck, in this order, with a few steps in between. */
const COURSE = [
  'kill',
  'join',
  'stop',
  'kill',
  'slow',
  'engine',
  'join',
  'kill',
  'kernel',
  'join',
  'kill',
  'steady',
] as const;

class Crowd {
  readonly losses: Loss[] = [];
  engineMs = 0;
  kernelBack: KernelBack | null = null;
  private readonly rig: Rig;
  private readonly prng: DrillContext['prng'];
  private stopped: WorkerProcess | null = null;
  private slow: WorkerProcess | null = null;
  private resumed: Promise<void> = Promise.resolve();

  constructor(rig: Rig, prng: DrillContext['prng']) {
    this.rig = rig;
    this.prng = prng;
  }

  /** Neither stopped nor slowed, so that a strike hits what it is meant for. */
  private healthy(): WorkerProcess {
    const { stopped, slow, rig } = this;
    return this.prng.pick(rig.running.filter((each) => each !== stopped && each !== slow));
  }

  async strike(what: (typeof COURSE)[number]): Promise<void> {
    const { rig } = this;
    switch (what) {
      case 'kill':
        this.losses.push(await killBusy(rig, this.healthy()));
        return;
      case 'join':
        rig.spawn();
        rig.spawn();
        return;
      case 'stop': {
        const worker = this.healthy();
        this.stopped = worker;
        worker.signal('SIGSTOP');
        this.resumed = sleep(STOPPED_MS).then(() => {
          worker.signal('SIGCONT');
          this.stopped = null;
        });
        return;
      }
      case 'slow':
        this.slow = this.healthy();
        this.slow.slowDown(SLOW_SHARE);
        return;
      case 'steady':
        this.slow?.steady();
        this.slow = null;
        await this.resumed;
        return;
      case 'engine':
        this.engineMs = await crashEngine(rig);
        return;
      case 'kernel':
        this.kernelBack = await crashKernel(rig);
    }
  }
}

const crowd =
  (model: ModelName) =>
  async ({ prng, say }: DrillContext): Promise<Figure[]> => {
    const rig = await Rig.start({ model, workers: WORKERS });
    try {
      rig.train();
      const scene = new Crowd(rig, prng);
      for (const what of COURSE) {
        await rig.kernel.reached(rig.kernel.lastStep + prng.between(3, 9));
        await scene.strike(what);
        say(`${what} at step ${String(rig.kernel.lastStep)}`);
      }
      await rig.kernel.reached(rig.kernel.lastStep + 5);
      const figures = await promisesOf(rig);
      return [
        note('kills', scene.losses.length),
        note('joined in mid-course', rig.workers.length - WORKERS),
        note('SIGKILL noticed ms', Math.max(...scene.losses.map(({ noticedMs }) => noticedMs))),
        time('engine killed to first new commit ms', scene.engineMs, ENGINE_BACK_MS),
        time('kernel reattached ms', scene.kernelBack?.attachMs ?? Infinity, KERNEL_BACK_MS),
        ...figures,
      ];
    } finally {
      await rig.close();
    }
  };

const TITLE = '8 workers, 4 killed, 6 join, 1 stopped, 1 slow, engine and kernel killed';

export const CROWDS: readonly Drill[] = [
  { name: 'crowd-mlp', title: `${TITLE}: MLP`, isInShort: true, run: crowd('mlp') },
  { name: 'crowd-cnn', title: `${TITLE}: CNN`, isInShort: false, run: crowd('cnn') },
  { name: 'crowd-gru', title: `${TITLE}: GRU`, isInShort: false, run: crowd('gru') },
];
