/** @file A training loop that is cut anywhere and goes on, from a file or from the engine, to the bits of the loop that never stopped. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import {
  cluster,
  data,
  load,
  manualSeed,
  nn,
  noGrad,
  optim,
  progress,
  rand,
  save,
  tensor,
} from 'ravenlab';
import type { Tensor } from 'ravenlab';
import type { Checkpoint, Position } from '../../../kernel/src/api/resume/snapshot.js';
import { emptyPanel } from './lib/emptyPanel.js';
import type { OracleSession } from './lib/oracleSession.js';
import { freshSession, restartKernel } from './lib/oracleSession.js';

const ROWS = 22;
const EPOCHS = 3;
const BATCHES = 4;
const STEPS = EPOCHS * BATCHES;

class Net extends nn.Module {
  hidden = new nn.Linear(3, 6);
  norm = new nn.BatchNorm1d(6);
  out = new nn.Linear(6, 2);
  forward(x: Tensor): Tensor {
    const h = this.norm.call(this.hidden.call(x)).relu().dropout(0.3, this.training);
    return this.out.call(h);
  }
}

class Sequence extends nn.Module {
  cells = new nn.GRU(3, 4, { batchFirst: true });
  out = new nn.Linear(4, 2);
  forward(x: Tensor): Tensor {
    const { output } = this.cells.call(x.reshape([x.shape[0] ?? 0, 1, 3]));
    return this.out.call(output.reshape([x.shape[0] ?? 0, 4]).dropout(0.2, this.training));
  }
}

interface Parts {
  readonly model: nn.Module & { call(x: Tensor): Tensor };
  readonly optimizer: optim.Optimizer;
  readonly schedule: optim.Schedule;
  readonly loader: data.DataLoader<readonly [Tensor, Tensor]>;
}

function samples(): data.Dataset<readonly [Tensor, Tensor]> {
  const x = Array.from({ length: ROWS }, (_, i) => [Math.sin(i), Math.cos(3 * i), (i % 5) / 5]);
  return data.dataset(tensor(x), tensor(Int32Array.from({ length: ROWS }, (_, i) => i % 2)));
}

function build(make: () => nn.Module = () => new Net()): Parts {
  manualSeed(5);
  const model = make() as Parts['model'];
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.05 });
  const schedule = optim.cosineAnnealing(optimizer, { steps: STEPS });
  const loader = data.loader(samples(), { batchSize: 6, shuffle: true, seed: 4 });
  return { model, optimizer, schedule, loader };
}

async function bitsOf(model: nn.Module): Promise<string> {
  const state = await model.stateDict();
  return [...state].map(([name, value]) => `${name} ${value.data.join()}`).join('\n');
}

/** Ends the loop as a killed kernel does. */
class Killed extends Error {}

interface Course {
  /** Called in the body, by the number of the step: first, behind the optimizer's step, behind the schedule's. */
  readonly atBatch?: (step: number) => void;
  readonly behindStep?: (step: number, parts: Parts) => void;
  readonly behindBody?: (step: number, parts: Parts) => void | Promise<void>;
  readonly behindEpoch?: (epoch: number, parts: Parts) => void | Promise<void>;
}

/** The loop of most notebooks. */
async function train(
  parts: Parts,
  course: Course = {},
  resume: Position | null = null,
): Promise<void> {
  const { model, optimizer, schedule, loader } = parts;
  for (const epoch of progress(EPOCHS, { resume })) {
    for (const [x, y] of loader) {
      const step = optimizer.steps;
      course.atBatch?.(step);
      const loss = nn.crossEntropy(model.call(x), y);
      loss.backward();
      void optimizer.step();
      course.behindStep?.(step, parts);
      schedule.step();
      expect(loss.item()).toBeGreaterThan(0);
      await course.behindBody?.(step, parts);
    }
    await course.behindEpoch?.(epoch, parts);
  }
}

async function untilKilled(loop: Promise<void>): Promise<void> {
  await expect(loop).rejects.toThrow(Killed);
}

const kill = (): never => {
  throw new Killed();
};

let engine: OracleSession;
let folder: string;
beforeEach(() => {
  engine = freshSession();
  folder = mkdtempSync(join(tmpdir(), 'ravenlab-resume-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});
const file = (): string => join(folder, 'run.safetensors');

async function undisturbed(make?: () => nn.Module): Promise<string> {
  freshSession();
  const parts = build(make);
  await train(parts);
  const bits = await bitsOf(parts.model);
  engine = freshSession();
  return bits;
}

async function attach(): Promise<NonNullable<Awaited<ReturnType<typeof cluster.attach>>>> {
  engine.commands.set('status', () => ({ panel: emptyPanel() }));
  const run = await cluster.attach();
  if (run === null) throw new Error('no run was left');
  return run;
}

/** A new kernel that goes on with what the engine holds. */
async function resumed(make?: () => nn.Module, course: Course = {}): Promise<string> {
  restartKernel(engine);
  const parts = build(make);
  const run = await attach();
  await run.restore(parts);
  await train(parts, course, run);
  expect(parts.optimizer.steps).toBe(STEPS);
  return bitsOf(parts.model);
}

describe('a checkpoint file goes on to the same bits on another machine', () => {
  const cases: readonly [string, () => nn.Module, number][] = [
    ['MLP with dropout and batch norm, in the middle of an epoch', () => new Net(), 5],
    ['MLP, behind the first step', () => new Net(), 0],
    ['MLP, behind the last batch of an epoch', () => new Net(), 2 * BATCHES - 1],
    ['GRU', () => new Sequence(), 6],
  ];
  test.each(cases)('%s', async (_, make, last) => {
    const expected = await undisturbed(make);
    const behindBody = async (step: number, parts: Parts): Promise<void> => {
      if (step !== last) return;
      await save(file(), parts);
      kill();
    };
    await untilKilled(train(build(make), { behindBody }));
    freshSession();
    const parts = build(make);
    const position = await load(file(), parts);
    expect(position.step).toBe(last + 1);
    await train(parts, {}, position);
    expect(await bitsOf(parts.model)).toBe(expected);
  });

  test('saved behind an epoch it goes on with the next one', async () => {
    const expected = await undisturbed();
    const behindEpoch = async (epoch: number, parts: Parts): Promise<void> => {
      if (epoch !== 0) return;
      await save(file(), parts);
      kill();
    };
    await untilKilled(train(build(), { behindEpoch }));
    freshSession();
    const parts = build();
    const position = await load(file(), parts);
    expect(position).toEqual({ step: BATCHES, epoch: 1, batch: 0 });
    await train(parts, {}, position);
    expect(await bitsOf(parts.model)).toBe(expected);
  });

  test('a save that nobody awaits is of the moment of its call', async () => {
    const expected = await undisturbed();
    const saves: Promise<void>[] = [];
    const behindBody = (step: number, parts: Parts): void => {
      if (step === 4) saves.push(save(file(), parts));
    };
    await train(build(), { behindBody });
    await Promise.all(saves);
    freshSession();
    const parts = build();
    const position = await load(file(), parts);
    expect(position.step).toBe(5);
    await train(parts, {}, position);
    expect(await bitsOf(parts.model)).toBe(expected);
  });

  test('how micro-shards are cut, travel and become one is part of it', async () => {
    cluster.microShard = 3;
    cluster.wire = 'int8';
    cluster.aggregate = { kind: 'centeredClip', radius: 2 };
    cluster.compute = 'float16';
    const parts = build();
    await save(file(), parts);
    freshSession();
    expect(cluster.microShard).toBe(32);
    expect(cluster.wire).toBe('float32');
    expect(cluster.aggregate).toBe('sum');
    expect(cluster.compute).toBe('float32');
    await load(file(), build());
    expect(cluster.microShard).toBe(3);
    expect(cluster.wire).toBe('int8');
    expect(cluster.aggregate).toEqual({ kind: 'centeredClip', radius: 2 });
    expect(cluster.compute).toBe('float16');
  });
});

describe('a file that does not fit says what differs, and changes nothing', () => {
  async function saved(): Promise<void> {
    await save(file(), build());
    engine = freshSession();
  }
  async function refused(change: (parts: Parts) => Partial<Parts>): Promise<string> {
    await saved();
    const parts = build();
    const before = await bitsOf(parts.model);
    const what = { ...parts, ...change(parts) } as Checkpoint;
    const error = await load(file(), what).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(await bitsOf(parts.model)).toBe(before);
    return error instanceof Error ? error.message : 'it was taken';
  }

  test('another optimizer', async () => {
    const change = ({ model }: Parts): Partial<Parts> => {
      const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
      return { optimizer, schedule: optim.stepLR(optimizer, { stepSize: 3 }) };
    };
    expect(await refused(change)).toMatch(/trained by Adam of 1 groups, this is SGD of 1 groups/);
  });

  test('another batch size', async () => {
    const change = (): Partial<Parts> => ({ loader: data.loader(samples(), { batchSize: 5 }) });
    expect(await refused(change)).toMatch(/other batches than this one/);
  });

  test('other data', async () => {
    const change = (): Partial<Parts> => {
      const options = { batchSize: 6, shuffle: true, seed: 4 };
      return { loader: data.loader(samples().slice(1), options) };
    };
    expect(await refused(change)).toMatch(/other batches than this one/);
  });

  test('a schedule of another optimizer', async () => {
    const change = (): Partial<Parts> => ({ schedule: build().schedule });
    expect(await refused(change)).toMatch(/not that of the optimizer beside it/);
  });

  test('one value that is not what was saved', async () => {
    await saved();
    const bytes = readFileSync(file());
    bytes.writeUInt8((bytes.at(-1) ?? 0) ^ 1, bytes.length - 1);
    writeFileSync(file(), bytes);
    await expect(load(file(), build())).rejects.toThrow(/do not have the checksum/);
  });

  test('a bookmark of a later release', async () => {
    await saved();
    const text = readFileSync(file(), 'latin1').replace('\\"format\\":1', '\\"format\\":9');
    writeFileSync(file(), text.replace('"digest"', '"digesT"'), 'latin1');
    await expect(load(file(), build())).rejects.toThrow(
      /expected format 1; update ravenlab, got 9/,
    );
  });

  test('weights alone where the loop is wanted', async () => {
    const { model } = build();
    await save(file(), model);
    await expect(load(file(), build())).rejects.toThrow(/holds no optimizer; save it with/);
  });
});

test('a missing file is null where it is optional', async () => {
  expect(await load(file(), build(), { optional: true })).toBeNull();
  await expect(load(file(), build())).rejects.toThrow(/no file/);
});

test('a file is replaced as a whole, and leaves no draft', async () => {
  const parts = build();
  await Promise.all([save(file(), parts), save(file(), parts), save(file(), parts.model)]);
  expect(readdirSync(folder)).toEqual(['run.safetensors']);
});

test('a loop that leaves out its loader is told so', async () => {
  const behindBody = async (step: number, parts: Parts): Promise<void> => {
    if (step === 1) await save(file(), parts);
  };
  await train(build(), { behindBody });
  engine = freshSession();
  const { model, optimizer } = build();
  await load(file(), { model, optimizer });
  expect(engine.text('stderr')).toMatch(/in the middle of a loader \(epoch 0, 2 batches done\)/);
});

describe('a kernel that is killed leaves its run to the next one', () => {
  const steps = Array.from({ length: STEPS }, (_, step) => step);

  test.each(steps)('behind the schedule of step %i', async (last) => {
    const expected = await undisturbed();
    const behindBody = (step: number): void => {
      if (step === last) kill();
    };
    await untilKilled(train(build(), { behindBody }));
    expect(await resumed()).toBe(expected);
  });

  // Nothing has shown yet where the first step's schedule goes.
  test.each(steps.slice(1))('between step %i and its schedule', async (last) => {
    const expected = await undisturbed();
    const behindStep = (step: number): void => {
      if (step === last) kill();
    };
    await untilKilled(train(build(), { behindStep }));
    expect(await resumed()).toBe(expected);
  });

  test('a GRU', async () => {
    const make = (): nn.Module => new Sequence();
    const expected = await undisturbed(make);
    const behindStep = (step: number): void => {
      if (step === 7) kill();
    };
    await untilKilled(train(build(make), { behindStep }));
    expect(await resumed(make)).toBe(expected);
  });

  test('twice', async () => {
    const expected = await undisturbed();
    const dying = (last: number) => ({
      behindStep: (step: number): void => {
        if (step === last) kill();
      },
    });
    await untilKilled(train(build(), dying(3)));
    await expect(resumed(undefined, dying(8))).rejects.toThrow(Killed);
    expect(await resumed()).toBe(expected);
  });

  test('random numbers drawn behind a step are counted', async () => {
    const draws: Course = { behindBody: () => void rand([2]).toArray() };
    const whole = build();
    await train(whole, draws);
    const expected = await bitsOf(whole.model);
    engine = freshSession();
    const atBatch = (step: number): void => {
      if (step === 7) kill();
    };
    await untilKilled(train(build(), { ...draws, atBatch }));
    expect(await resumed(undefined, draws)).toBe(expected);
  });

  /** A rate that is set by hand, and an evaluation over the training loader itself, behind each epoch. */
  async function trainAndEvaluate(
    { model, optimizer, loader }: Parts,
    resume: Position | null,
    at: { readonly step?: number; readonly evaluation?: number } = {},
  ): Promise<void> {
    for (const epoch of progress(EPOCHS, { resume })) {
      for (const [x, y] of loader) {
        nn.crossEntropy(model.call(x), y).backward();
        await optimizer.step();
        if (optimizer.steps === at.step) kill();
      }
      model.eval();
      for (const [x] of loader) {
        noGrad(() => model.call(x)).toArray();
        if (epoch === at.evaluation) kill();
      }
      model.train();
      optimizer.lr *= 0.5;
    }
  }

  test.each([
    { step: BATCHES - 1 },
    { step: BATCHES },
    { evaluation: 0 },
    { step: BATCHES + 1 },
    { step: 2 * BATCHES },
    { evaluation: 1 },
  ])('with an evaluation behind each epoch, at %j', async (at) => {
    const whole = build();
    await trainAndEvaluate(whole, null);
    const expected = await bitsOf(whole.model);
    engine = freshSession();
    await untilKilled(trainAndEvaluate(build(), null, at));
    restartKernel(engine);
    const parts = build();
    const run = await attach();
    await run.restore(parts);
    await trainAndEvaluate(parts, run);
    expect(await bitsOf(parts.model)).toBe(expected);
  });

  test('without a loader', async () => {
    const make = (): { w: Tensor; optimizer: optim.Optimizer } => {
      manualSeed(1);
      const w = tensor([1, -2, 3], { requiresGrad: true });
      return { w, optimizer: new optim.SGD([w], { lr: 0.1, momentum: 0.9 }) };
    };
    const loop = async (
      { w, optimizer }: ReturnType<typeof make>,
      last: number,
      resume: Position | null,
    ): Promise<void> => {
      for (const round of progress(6, { resume })) {
        w.mul(w).dropout(0.3).sum().backward();
        await optimizer.step();
        if (round === last) kill();
      }
    };
    const whole = make();
    await loop(whole, -1, null);
    const expected = whole.w.toArray();
    engine = freshSession();
    await untilKilled(loop(make(), 2, null));
    restartKernel(engine);
    const parts = make();
    const run = await attach();
    expect(run.epoch).toBe(3);
    await run.restore({ optimizer: parts.optimizer });
    await loop(parts, -1, run);
    expect(parts.w.toArray()).toEqual(expected);
  });
});

describe('what a new kernel finds', () => {
  test('is nothing in a fresh engine, nor where nothing was trained', async () => {
    expect(await cluster.attach()).toBeNull();
    build();
    restartKernel(engine);
    expect(await cluster.attach()).toBeNull();
  });

  async function left(): Promise<void> {
    const behindBody = (step: number): void => {
      if (step === 5) kill();
    };
    await untilKilled(train(build(), { behindBody }));
    restartKernel(engine);
  }

  test('says where the run is; its steps are counted on', async () => {
    await left();
    const parts = build();
    const run = await attach();
    expect(run).toMatchObject({ step: 6, epoch: 1, batch: 2, state: 'running' });
    expect(inspect(run)).toBe('TrainingRun(step 6, epoch 1, batch 2, running)');
    await run.restore(parts);
    const before = engine.steps.length;
    await train(parts, {}, run);
    const { step } = engine.steps[before] ?? {};
    expect(step).toMatchObject({ runId: run.id, step: 6, epoch: 1 });
    expect(await cluster.attach()).toBeNull();
  });

  test('is dropped when it trains something else', async () => {
    await left();
    const inherited = engine.stateIds;
    expect(inherited).toHaveLength(8);
    const parts = build();
    expect(engine.stateIds).toEqual(expect.arrayContaining(inherited));
    await train(parts);
    expect(inherited.filter((id) => engine.has(id))).toEqual([]);
  });

  test('is kept for who has attached, restored once, and then dropped', async () => {
    await left();
    const inherited = engine.stateIds;
    const run = await attach();
    await train(build());
    expect(inherited.filter((id) => engine.has(id))).toEqual(inherited);
    const parts = build();
    await run.restore(parts);
    await expect(run.restore(parts)).rejects.toThrow(/was restored before/);
    await parts.model.stateDict();
    expect(inherited.filter((id) => engine.has(id))).toEqual([]);
  });

  test('refuses a model with other names, and can then be restored into the right one', async () => {
    await left();
    const run = await attach();
    const wrong = build(() => new Sequence());
    await expect(run.restore(wrong)).rejects.toThrow(
      /the run trained Net of 8 tensors, this model is Sequence of 6 tensors/,
    );
    await run.restore(build());
  });
});

test('a mark is needed only where the first schedule comes unforeseen', async () => {
  await train(build());
  const marks = engine.requests.filter(({ kind }) => kind === 'mark');
  expect(marks).toEqual([expect.objectContaining({ step: 0 })]);
});
