/**
 * @file What a distributed training step costs above its arithmetic: traced, planned, sent to one local worker, summed and
 * applied by the engine, against the same programs run directly in an ONNX session with the same threads in the same run.
 * A sample is an epoch of the loop that a cell holds: each step is traced, then waits while as many as the API lets be on
 * their way are; its first and last step, which overlap with none, count too. What is judged is the median of the differences
 * between each epoch and the direct runs that came right after it: a machine that other tenants slow down slows down both.
 */
import type { ExecutionPlan, Program } from '@ravenlab/protocol';
import { API_LIMITS, allocate, sizeOf } from '@ravenlab/protocol';
import type { Tensor } from '../kernel/src/api/index.js';
import { data, manualSeed, nn, optim, tensor } from '../kernel/src/api/index.js';
import { openBackend } from '../worker/src/compute/openBackend.js';
import { installBenchSession } from './lib/apiSession.js';
import type { Seen } from './lib/apiSession.js';
import { startBenchEngine } from './lib/engine.js';
import { takeSamples } from './lib/measure.js';
import { report } from './lib/report.js';
import { summarise } from './lib/stats.js';
import type { Row, Verdict } from './lib/report.js';

const ROWS = 1_280;
/** Some seconds each. */
const SAMPLES = { mlp: 60, cnn: 60 } as const;
const WARM_UP = 4;
const OVERHEAD_MS = 5;

interface Case {
  readonly name: 'mlp' | 'cnn';
  readonly batch: number;
  readonly shape: readonly number[];
  readonly build: () => nn.Sequential;
}

const CASES: readonly Case[] = [
  {
    name: 'mlp',
    batch: 128,
    shape: [784],
    build: () =>
      new nn.Sequential(
        new nn.Linear(784, 512),
        new nn.ReLU(),
        new nn.Linear(512, 512),
        new nn.ReLU(),
        new nn.Linear(512, 10),
      ),
  },
  {
    name: 'cnn',
    batch: 64,
    shape: [1, 28, 28],
    build: () =>
      new nn.Sequential(
        new nn.Conv2d(1, 32, 3, { padding: 1 }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Conv2d(32, 64, 3, { padding: 1 }),
        new nn.ReLU(),
        new nn.MaxPool2d(2),
        new nn.Flatten(),
        new nn.Linear(64 * 7 * 7, 128),
        new nn.ReLU(),
        new nn.Linear(128, 10),
      ),
  },
];

/** What the line `opt.step()` does; resolves when the step is committed. */
type Send = () => PromiseLike<void>;

/** The lines of a loop's body before `opt.step()`; batches go round and round. */
function makeTrace({ batch, shape, build }: Case): () => Send {
  manualSeed(1);
  const model = build();
  const opt = new optim.Adam(model.parameters(), { lr: 1e-3 });
  const labels = tensor(Int32Array.from({ length: ROWS }, (_, i) => (i * 7) % 10));
  const pixels = Float32Array.from(
    { length: ROWS * sizeOf(shape) },
    (_, i) => ((i * 7919) % 251) / 251,
  );
  const set = data.dataset(tensor(pixels, { shape: [ROWS, ...shape] }), labels);
  const batches = function* (): Generator<readonly Tensor[]> {
    for (;;) yield* data.loader(set, { batchSize: batch, shuffle: true });
  };
  const source = batches();
  return () => {
    const [x, y] = source.next().value as readonly [Tensor, Tensor];
    const loss = nn.crossEntropy(model.forward(x), y);
    loss.backward();
    return () => opt.step();
  };
}

/** A training loop. The API would block where it is awaited here: a bench has no second thread. */
async function loop(trace: () => Send, steps: number): Promise<void> {
  const inFlight: PromiseLike<void>[] = [];
  for (let i = 0; i < steps; i++) {
    const send = trace();
    if (inFlight.length >= API_LIMITS.stepsInFlight) await inFlight.shift();
    inFlight.push(send());
  }
  for (const step of inFlight) await step;
}

/** Runs every micro-shard of a plan, one after the other, on prepared inputs. */
async function directly(
  plan: ExecutionPlan,
  seen: Seen,
  threads: number,
): Promise<{ run: () => void; close: () => void }> {
  const backend = await openBackend('onnx-cpu', { threads });
  const programs = plan.programs.map((hash): Program => {
    const program = seen.programs.get(hash);
    if (program === undefined) throw new Error(`program ${hash} was not seen`);
    return program;
  });
  const compiled = programs.map((program) => backend.compile(program));
  const inputs = programs.map((program) =>
    program.inputs.map((type) => allocate(type.dtype, sizeOf(type.shape))),
  );
  const outputs = compiled.map((executable, index) => executable.run(inputs[index] ?? []));
  return {
    run: () => {
      for (const { program } of plan.shards)
        compiled[program]?.run(inputs[program] ?? [], outputs[program]);
    },
    close: () => {
      for (const executable of compiled) executable.dispose();
      backend.dispose();
    },
  };
}

const engine = await startBenchEngine(1);
const seen = await installBenchSession(engine.client);
const rows: Row[] = [];
const verdicts: Verdict[] = [];
const { threads } = await engine.firstWorker();
const details: Record<string, number> = { threads };
for (const each of CASES) {
  const trace = makeTrace(each);
  const steps = ROWS / each.batch;
  await trace()();
  await trace()();
  const plan = seen.lastStep;
  if (plan === null) throw new Error('no step was sent');
  const direct = await directly(plan, seen, threads);
  const programsSent = async () =>
    (await engine.status()).sessions.reduce((sum, session) => sum + session.programsSent, 0);
  const before = await programsSent();
  const times = await takeSamples(
    [
      { name: 'step', run: () => loop(trace, steps) },
      {
        name: 'direct',
        run: () => {
          for (let i = 0; i < steps; i++) direct.run();
        },
      },
    ],
    { samples: SAMPLES[each.name], warmUp: WARM_UP },
  );
  const sentAgain = (await programsSent()) - before;
  direct.close();
  const perStep = (epochs: readonly number[]) => summarise(epochs.map((ns) => ns / steps));
  const over = times.step.map((ns, i) => ns - (times.direct[i] ?? 0));
  const [ours, alone] = [perStep(times.step), perStep(times.direct)];
  rows.push({ name: `${each.name} step`, summary: ours });
  rows.push({ name: `${each.name} in one ONNX session`, summary: alone });
  details[`${each.name}Shards`] = plan.shards.length;
  details[`${each.name}StepP50Ms`] = ours.p50Ns / 1e6;
  verdicts.push({
    metric: `${each.name}OverDirectMs`,
    value: perStep(over).p50Ns / 1e6,
    baseline: { name: 'direct', value: alone.p50Ns / 1e6 },
    atMost: OVERHEAD_MS,
  });
  verdicts.push({
    metric: `${each.name}ProgramsSentAfterFirstStep`,
    value: sentAgain,
    baseline: { name: 'programs of the step', value: plan.programs.length },
    atMost: 0,
  });
}
await engine.close();
report('step', rows, verdicts, details);
