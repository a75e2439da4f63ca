/** @file `cluster.compute = 'float16'`: products of rounded operands, scaled losses, and steps that are skipped when they overflow. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cluster, load, manualSeed, nn, optim, progress, save, tensor, zeros } from 'ravenlab';
import type { Tensor } from 'ravenlab';
import { emptyPanel } from './lib/emptyPanel.js';
import type { OracleSession } from './lib/oracleSession.js';
import { freshSession, restartKernel } from './lib/oracleSession.js';

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
  manualSeed(1);
});

const X = tensor([
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
]);
const Y = tensor([[0], [1], [1], [0]]);

/** Scale and good steps of the session's run, as the engine holds them. */
function scale(): number[] {
  const update = session.steps.at(-1)?.updates.find(({ rule }) => rule.name === 'lossScale');
  const reply = session.requestSync({
    kind: 'readStates',
    stateIds: [update?.stateId ?? (0 as never)],
    version: session.version as never,
  });
  return reply.kind === 'states' ? [...(reply.values[0] ?? [])] : [];
}

/** One weight whose gradient is `slope`, and its optimizer. */
function line(slope: number): { w: Tensor; step: () => void; adam: optim.Adam } {
  const w = zeros([1, 1], { requiresGrad: true });
  const adam = new optim.Adam([w], { lr: 0.5 });
  const step = (): void => {
    tensor([[slope]])
      .matMul(w)
      .sum()
      .backward();
    adam.step().wait();
  };
  return { w, step, adam };
}

test('is one of two formats, and float32 makes the programs that it always made', () => {
  expect(cluster.compute).toBe('float32');
  expect(() => (cluster.compute = 'bfloat16' as 'float16')).toThrow(
    /cluster.compute: expected one of float32, float16, got bfloat16/,
  );
  line(2).step();
  expect(session.steps[0]?.updates.map(({ rule }) => rule.name)).toEqual(['adam']);
  expect(session.stateIds).toHaveLength(1);
});

test('rounds what goes into a product, and nothing else', () => {
  const x = tensor([[1 + 2 ** -12, 2 ** -30]]);
  const one = tensor([[1], [1]]);
  expect(x.matMul(one).item()).toBeCloseTo(1 + 2 ** -12, 9);
  cluster.compute = 'float16';
  expect(x.matMul(one).item()).toBe(1);
  expect(x.mul(1).toArray()).toEqual([[1 + 2 ** -12, 2 ** -30]]);
  expect(
    x
      .reshape([1, 1, 1, 2])
      .conv2d(tensor([[[[1, 1]]]]))
      .item(),
  ).toBe(1);
});

test('learns, with gradients that are read in their own size', () => {
  cluster.compute = 'float16';
  const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
  const opt = new optim.Adam(model.parameters(), { lr: 0.05 });
  let last = NaN;
  for (let step = 0; step < 150; step++) {
    const loss = nn.mse(model.forward(X), Y);
    loss.backward();
    opt.step();
    last = loss.item();
  }
  expect(last).toBeLessThan(0.01);
  expect(session.programCount).toBe(1);
  expect(scale()).toEqual([65_536, 150]);
  const w = zeros([1, 1], { requiresGrad: true });
  tensor([[3]])
    .matMul(w)
    .sum()
    .mul(0.25)
    .backward();
  expect(w.grad?.item()).toBe(0.75);
});

test('a step that overflows leaves weights and momenta alone and halves the scale, and the bar says so', () => {
  cluster.compute = 'float16';
  // What comes into the product is twice the scale, and the largest float16 is 65504.
  const { w, adam } = line(1);
  for (const _ of progress(4)) {
    tensor([[1]])
      .matMul(w)
      .sum()
      .mul(2)
      .backward();
    adam.step().wait();
    session.clockMs += 1_000;
  }
  expect(scale()).toEqual([16_384, 2]);
  expect(session.shown.at(-1)?.bundle['text/plain']).toMatch(
    /4 steps · 2 skipped \(float16 overflow\)/,
  );
  // Adam has seen two gradients, each of which moves the weight by its learning rate.
  expect(w.item()).toBeCloseTo(-1, 5);
  expect(adam.steps).toBe(4);
  expect(session.steps.map(({ step }) => step?.samples)).toEqual([1, 1, 1, 1]);
});

test('a gradient that is infinite at any scale is an error that names its op', () => {
  cluster.compute = 'float16';
  const w = tensor([0], { requiresGrad: true });
  const opt = new optim.SGD([w], { lr: 0.1 });
  const step = (): void => {
    // A slope without end at 0, where the value is finite.
    w.sqrt().sum().backward();
    opt.step().wait();
  };
  for (let skipped = 0; skipped < 40; skipped++) step();
  expect(scale()).toEqual([2 ** -24, 0]);
  expect(step).toThrow(/step 41: .* first non-finite value is in `div float32 \[1\]`/);
  expect(w.toArray()).toEqual([0]);
});

test('a loss that is not finite is an error at once', () => {
  cluster.compute = 'float16';
  const w = tensor([[70_000]], { requiresGrad: true });
  const opt = new optim.SGD([w], { lr: 0.1 });
  tensor([[1]])
    .matMul(w)
    .sum()
    .backward();
  expect(() => {
    opt.step().wait();
  }).toThrow(/the first non-finite value is in `roundFloat16 float32 \[1, 1\]`/);
});

describe('is part of a run', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'ravenlab-precision-'))));
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });
  const build = (): { model: nn.Linear; optimizer: optim.Adam } => {
    const model = new nn.Linear(2, 1);
    return { model, optimizer: new optim.Adam(model.parameters(), { lr: 0.1 }) };
  };
  /** Four times the loss overflows until the scale has been halved. */
  const train = ({ model, optimizer }: ReturnType<typeof build>, steps: number): void => {
    for (let step = 0; step < steps; step++) {
      nn.mse(model.call(X), Y).mul(64).backward();
      optimizer.step().wait();
    }
  };

  test('that is saved and loaded', async () => {
    const file = join(folder, 'run.safetensors');
    cluster.compute = 'float16';
    const parts = build();
    train(parts, 6);
    const before = scale();
    expect(before[0]).toBeLessThan(65_536);
    await save(file, parts);
    train(parts, 3);
    const expected = parts.model.weight.toArray();
    session = freshSession();
    const again = build();
    await load(file, again);
    expect(cluster.compute).toBe('float16');
    train(again, 3);
    expect(again.model.weight.toArray()).toEqual(expected);
    expect(scale()).toEqual([before[0], (before[1] ?? NaN) + 3]);
  });

  test('that goes on in a new kernel', async () => {
    session.commands.set('status', () => ({ panel: emptyPanel() }));
    cluster.compute = 'float16';
    const parts = build();
    train(parts, 6);
    const before = scale();
    restartKernel(session);
    const again = build();
    const run = await cluster.attach();
    await run?.restore(again);
    train(again, 1);
    expect(scale()).toEqual([before[0], (before[1] ?? NaN) + 1]);
  });
});
