/**
 * @file Training steps on onnx-cpu beside PyTorch and NumPy on the same machine with as many threads, in turns. With
 * `--install` pip puts them into .venv first (gigabytes); without, a Python that has them is needed.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openBackend } from '../worker/src/compute/openBackend.js';
import { resnet20Step, transformerStep } from './lib/deepSteps.js';
import { timed } from './lib/measure.js';
import type { Row, Verdict } from './lib/report.js';
import { report } from './lib/report.js';
import { summarise } from './lib/stats.js';
import type { Summary } from './lib/stats.js';
import { cnnStep, mlpStep, productStep } from './lib/trainStep.js';
import type { TrainStep } from './lib/trainStep.js';

const PACKAGES = ['torch==2.9.1', 'numpy'];
const WARM_UP = 3;
const SAMPLES_MIN = 15;
/** Short steps are taken more often: for so long, or so many times. */
const CASE_MS = 8000;
const SAMPLES_MAX = 200;
/** Threads of the one still spin when its step is done, those of OpenBLAS for tens of milliseconds; they must not cost the other. */
const SETTLE_MS = 100;
/**
 * For so long a side runs before the run that counts, as it does in a training loop. After some milliseconds of rest the first
 * thread that is woken on a virtual machine may be put on the core of who woke it, and takes tens of milliseconds to leave it: the
 * first runs then say how the machine woke up.
 */
const AWAKE_MS = 250;
const SIDES = ['ours', 'theirs'] as const;
type Side = (typeof SIDES)[number];
const THREADS = Number(process.env['RAVENLAB_BENCH_THREADS'] ?? availableParallelism());
const NS_PER_MS = 1e6;

const fromHere = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const VENV_PYTHON = fromHere('../.venv/bin/python');

/** Name in reference.py, our step, whose the baseline is, and how many times its time we may take at most. */
const CASES: readonly (readonly [
  name: string,
  step: TrainStep,
  baseline: string,
  atMost: number,
])[] = [
  ['sgemm', productStep(1024), 'NumPy', 1.25],
  ['mlp', mlpStep(128), 'PyTorch', 1],
  ['cnn', cnnStep(64), 'PyTorch', 1.3],
  ['resnet20', resnet20Step(32), 'PyTorch', 1.5],
  ['transformer', transformerStep(8), 'PyTorch', 1.5],
];

/** The Python side: one line asks for a run, one line answers with its nanoseconds. */
async function startReference() {
  const python = process.env['RAVENLAB_PYTHON'] ?? VENV_PYTHON;
  if (!existsSync(python)) throw new Error(`${python} is missing: npm start makes .venv`);
  if (process.argv.includes('--install')) {
    execFileSync(python, ['-m', 'pip', 'install', '--quiet', ...PACKAGES], { stdio: 'inherit' });
  }
  const threads = String(THREADS);
  const child = spawn(python, [fromHere('python/reference.py'), threads], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, OMP_NUM_THREADS: threads, OPENBLAS_NUM_THREADS: threads },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const line = await lines.next();
    if (line.done === true) {
      throw new Error(`${python} cannot run the reference: npm run bench -- reference --install`);
    }
    return line.value;
  };
  const versions = (await next()).replace(/^ready /, '');
  return {
    versions,
    run: async (name: string): Promise<number> => {
      child.stdin.write(`${name}\n`);
      return Number(await next());
    },
    end: () => child.stdin.end(),
  };
}

/** The last of the runs of AWAKE_MS. */
async function awake(run: () => Promise<number>): Promise<number> {
  const start = performance.now();
  let ns = await run();
  while (performance.now() - start < AWAKE_MS) ns = await run();
  return ns;
}

/** Summaries of both, taken in turns; each run says how many nanoseconds it took. */
async function inTurns(runs: Record<Side, () => Promise<number>>): Promise<Record<Side, Summary>> {
  const times: Record<Side, number[]> = { ours: [], theirs: [] };
  const start = performance.now();
  const isEnough = (taken: number): boolean =>
    taken >= SAMPLES_MAX || (taken >= SAMPLES_MIN && performance.now() - start > CASE_MS);
  for (let round = 0; !isEnough(round - WARM_UP); round++) {
    for (const side of SIDES) {
      const ns = await awake(runs[side]);
      if (round >= WARM_UP) times[side].push(ns);
      await sleep(SETTLE_MS);
    }
  }
  return { ours: summarise(times.ours), theirs: summarise(times.theirs) };
}

const reference = await startReference();
const backend = await openBackend('onnx-cpu', { threads: THREADS });
const rows: Row[] = [];
const verdicts: Verdict[] = [];
for (const [name, { name: what, program, inputs }, baseline, atMost] of CASES) {
  const executable = backend.compile(program);
  // Results go where those of the run before were, as in a worker.
  const into = executable.run(inputs);
  const { ours, theirs } = await inTurns({
    ours: async () => (await timed(() => executable.run(inputs, into))).ns,
    theirs: () => reference.run(name),
  });
  executable.dispose();
  rows.push(
    { name: `${what}, onnx-cpu`, summary: ours },
    { name: `${what}, ${baseline}`, summary: theirs },
  );
  const theirMs = theirs.p50Ns / NS_PER_MS;
  verdicts.push({
    metric: `${what}, p50Ms`,
    value: ours.p50Ns / NS_PER_MS,
    baseline: { name: baseline, value: theirMs },
    atMost: atMost * theirMs,
  });
}
backend.dispose();
reference.end();
report('reference', rows, verdicts, { threads: THREADS, versions: reference.versions });
