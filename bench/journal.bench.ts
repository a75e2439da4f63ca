/**
 * @file What an engine that can be killed costs: a training step with the journal off, in the page cache (the default), and
 * forced to the disk, side by side; and how long a killed engine is away.
 */
import { data, manualSeed, nn, optim, tensor } from '../kernel/src/api/index.js';
import type { Tensor } from '../kernel/src/api/index.js';
import { installBenchSession } from './lib/apiSession.js';
import type { Seen } from './lib/apiSession.js';
import type { BenchEngine } from './lib/engine.js';
import { startBenchEngine } from './lib/engine.js';
import { measure } from './lib/measure.js';
import { report } from './lib/report.js';
import type { Verdict } from './lib/report.js';
import type { Summary } from './lib/stats.js';

const MODES = ['off', 'cache', 'sync'] as const;
type Mode = (typeof MODES)[number];

const ROWS = 1_280;
const BATCH = 128;
const FEATURES = 784;
const STEPS = 5;
const SAMPLES = 40;
const WARM_UP = 4;
const KILLS = 5;
/** A step with the default journal, against none; the bar of the work is on the restart. */
const CACHE_RATIO = 1.15;
const RESTART_MS = 3_000;

interface Side {
  readonly engine: BenchEngine;
  readonly seen: Seen;
  readonly step: () => PromiseLike<void>;
}

function makeStep(): () => PromiseLike<void> {
  manualSeed(1);
  const model = new nn.Sequential(
    new nn.Linear(FEATURES, 512),
    new nn.ReLU(),
    new nn.Linear(512, 512),
    new nn.ReLU(),
    new nn.Linear(512, 10),
  );
  const opt = new optim.Adam(model.parameters(), { lr: 1e-3 });
  const labels = tensor(Int32Array.from({ length: ROWS }, (_, i) => (i * 7) % 10));
  const pixels = Float32Array.from({ length: ROWS * FEATURES }, (_, i) => ((i * 7919) % 251) / 251);
  const set = data.dataset(tensor(pixels, { shape: [ROWS, FEATURES] }), labels);
  const batches = function* (): Generator<readonly Tensor[]> {
    for (;;) yield* data.loader(set, { batchSize: BATCH, shuffle: true });
  };
  const source = batches();
  return () => {
    const [x, y] = source.next().value as readonly [Tensor, Tensor];
    nn.crossEntropy(model.forward(x), y).backward();
    return opt.step();
  };
}

/** A training loop of STEPS steps with two on their way at most. */
async function loop({ seen, step }: Side): Promise<void> {
  seen.use();
  let before: PromiseLike<void> = Promise.resolve();
  for (let i = 0; i < STEPS; i++) {
    const next = step();
    await before;
    before = next;
  }
  await before;
}

async function open(mode: Mode): Promise<Side> {
  const engine = await startBenchEngine(1, { RAVENLAB_JOURNAL: mode });
  await engine.firstWorker();
  const seen = await installBenchSession(engine.client);
  return { engine, seen, step: makeStep() };
}

/** Times from kill -9 to the next committed step, ms; the workers start again as well. */
async function restarts(side: Side): Promise<number[]> {
  side.seen.use();
  const times: number[] = [];
  for (let i = 0; i < KILLS; i++) {
    await loop(side);
    const { enginePid } = await side.engine.status();
    const next = side.step();
    process.kill(enginePid, 'SIGKILL');
    const killed = performance.now();
    await next;
    await side.step();
    times.push(performance.now() - killed);
  }
  return times.sort((a, b) => a - b);
}

const perStep = (summary: Summary): Summary =>
  Object.fromEntries(
    Object.entries(summary).map(([key, value]: [string, number]) => [
      key,
      key === 'count' ? value * STEPS : value / STEPS,
    ]),
  ) as unknown as Summary;

const sides = new Map<Mode, Side>();
for (const mode of MODES) sides.set(mode, await open(mode));
const runs = MODES.map((name) => ({
  name,
  run: () => loop(sides.get(name) as Side),
}));
const times = await measure(runs, { samples: SAMPLES, warmUp: WARM_UP });
const rows = MODES.map((mode) => ({ name: `journal ${mode}`, summary: perStep(times[mode]) }));
const p50Ms = (mode: Mode): number => perStep(times[mode]).p50Ns / 1e6;
const baseline = { name: 'journal off', value: p50Ms('off') };
const away = await restarts(sides.get('cache') as Side);
for (const { engine } of sides.values()) await engine.close();
const verdicts: Verdict[] = [
  {
    metric: 'cacheStepP50Ms',
    value: p50Ms('cache'),
    baseline,
    atMost: baseline.value * CACHE_RATIO,
  },
  { metric: 'syncStepP50Ms', value: p50Ms('sync'), baseline },
  {
    metric: 'killToNextCommitMaxMs',
    value: away[away.length - 1] ?? Infinity,
    baseline: {
      name: 'killToNextCommitP50Ms',
      value: away[Math.floor(away.length / 2)] ?? Infinity,
    },
    atMost: RESTART_MS,
  },
];
report('journal', rows, verdicts, { kills: KILLS });
