/** @file Optimizers: the rules they send, groups, schedules with the values of PyTorch, saved state. */
import { optim, tensor } from 'ravenlab';
import type { Tensor } from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
});

const weight = (value = 1): Tensor => tensor([value], { requiresGrad: true });

async function stepOnce(opt: optim.Optimizer): Promise<void> {
  for (const parameter of opt.params) parameter.mul(parameter).sum().backward();
  await opt.step();
}

test.each([
  [
    (w: Tensor) =>
      new optim.SGD([w], { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
    {
      name: 'sgd',
      learningRate: 0.1,
      momentum: 0.9,
      dampening: 0,
      nesterov: true,
      weightDecay: 0.01,
    },
  ],
  [
    (w: Tensor) => new optim.Adam([w]),
    { name: 'adam', learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
  ],
  [
    (w: Tensor) => new optim.AdamW([w], { lr: 0.5, betas: [0.8, 0.9] }),
    { name: 'adamw', learningRate: 0.5, beta1: 0.8, beta2: 0.9, epsilon: 1e-8, weightDecay: 0.01 },
  ],
])('an optimizer sends its rule and the defaults of PyTorch (%#)', async (make, rule) => {
  const opt = make(weight());
  await stepOnce(opt);
  expect(session.steps[0]?.updates).toEqual([
    {
      stateId: opt.params[0]?.record.stateId,
      output: expect.any(Number) as number,
      rule,
      optimizerId: opt.optimizerId,
    },
  ]);
});

test('groups have settings of their own, and lr sets all of them', async () => {
  const [a, b] = [weight(), weight()];
  const opt = new optim.SGD([{ params: [a] }, { params: [b], lr: 0.5 }], { lr: 0.1 });
  await stepOnce(opt);
  expect([a.item(), b.item()].map((v) => Number(v.toFixed(4)))).toEqual([0.8, 0]);
  opt.lr = 1;
  expect(opt.groups.map(({ lr }) => lr)).toEqual([1, 1]);
});

test('settings out of range and tensors that are no parameters are refused', () => {
  expect(() => new optim.SGD([weight()], { lr: -1 })).toThrow(/lr must be ≥ 0, got -1/);
  expect(() => new optim.SGD([weight()], { nesterov: true })).toThrow(/nesterov needs momentum/);
  expect(() => new optim.Adam([weight()], { betas: [1, 0.9] })).toThrow(
    /betas\[0\] must be in \[0, 1\)/,
  );
  expect(() => new optim.SGD([])).toThrow(/got no parameters/);
  expect(() => new optim.SGD([tensor([1])])).toThrow(/is not a parameter/);
});

test.each([
  [
    'stepLR',
    (o: optim.Optimizer) => optim.stepLR(o, { stepSize: 2, gamma: 0.5 }),
    [1, 1, 0.5, 0.5, 0.25],
  ],
  [
    'cosine',
    (o: optim.Optimizer) => optim.cosineAnnealing(o, { steps: 4 }),
    [1, 0.853553, 0.5, 0.146447, 0, 0],
  ],
  [
    'warmup',
    (o: optim.Optimizer) => optim.warmup(o, { steps: 2, after: (s) => 1 / (s + 1) }),
    [0.5, 1, 1, 0.5],
  ],
  // torch.optim.lr_scheduler.OneCycleLR(max_lr=0.1, total_steps=10)
  [
    'oneCycle',
    (o: optim.Optimizer) => optim.oneCycle(o, { maxLr: 0.1, steps: 10 }),
    [0.004, 0.052, 0.1, 0.095048, 0.081174, 0.061126, 0.038874, 0.018826, 0.004952, 4e-7],
  ],
  ['lambda', (o: optim.Optimizer) => optim.lambdaLR(o, (s) => 0.9 ** s), [1, 0.9, 0.81]],
])('%s has the learning rates of PyTorch', (_, make, expected) => {
  const opt = new optim.SGD([weight()], { lr: 1 });
  const schedule = make(opt);
  const rates = expected.map(() => {
    const { lr } = opt;
    schedule.step();
    return lr;
  });
  rates.forEach((rate, step) => expect(rate).toBeCloseTo(expected[step] ?? NaN, 5));
});

test('saved momenta make a restored run go on as if it had not stopped', async () => {
  const run = async (interrupted: boolean): Promise<number> => {
    let w = weight();
    let opt = new optim.Adam([w], { lr: 0.1 });
    for (let i = 0; i < 3; i++) await stepOnce(opt);
    if (interrupted) {
      const state = structuredClone(await opt.stateDict());
      w = weight(w.item());
      opt = new optim.Adam([w], { lr: 7 });
      await opt.loadStateDict(state);
    }
    for (let i = 0; i < 3; i++) await stepOnce(opt);
    return w.item();
  };
  expect(await run(true)).toBe(await run(false));
});

test('state of another model is refused', async () => {
  const opt = new optim.Adam([weight()]);
  await expect(opt.loadStateDict({ lr: [1], steps: 1, slots: [[], []] })).rejects.toThrow(
    /2 parameters in 1 groups, expected 1 in 1/,
  );
});
