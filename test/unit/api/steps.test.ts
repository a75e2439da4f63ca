/** @file Backward and optimizer steps: what runs when, where errors surface, what a failed step leaves behind. */
import { API_LIMITS, AutogradError, LIMITS, NumericError, RavenError } from '@ravenlab/protocol';
import { data, manualSeed, nn, noGrad, optim, tensor, zeros } from 'ravenlab';
import type { Tensor } from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
  manualSeed(1);
});

function weight(values: number[] = [1, 2]): Tensor {
  return tensor(values, { requiresGrad: true });
}

/** 100 rows of two features: four micro-shards, the last one small. */
function rows(): data.Dataset<readonly [Tensor]> {
  return data.dataset(
    tensor(
      Float32Array.from({ length: 200 }, (_, i) => (i % 7) / 7),
      { shape: [100, 2] },
    ),
  );
}

describe('backward', () => {
  test('twice through the same graph is refused with what to do', () => {
    const loss = weight().mul(2).sum();
    loss.backward();
    expect(() => loss.backward()).toThrow(AutogradError);
    expect(() => loss.backward()).toThrow(/already called through 'sum'.*retainGraph: true/s);
  });

  test('twice with retainGraph adds the gradients up', () => {
    const w = weight();
    const loss = w.mul(w).sum();
    loss.backward({ retainGraph: true });
    loss.backward();
    expect(w.grad?.toArray()).toEqual([4, 8]);
  });

  test('of two losses that share data but no weights is no second time', () => {
    const x = tensor([3, 4]).mul(2);
    const [a, b] = [weight(), weight()];
    a.mul(x).sum().backward();
    b.mul(x).sum().backward();
    expect(b.grad?.toArray()).toEqual([6, 8]);
  });

  test('of several elements, or of no parameter, says what is expected', () => {
    expect(() => weight().mul(2).backward()).toThrow(/one element, got float32 \[2\].*mean\(\)/s);
    expect(() => tensor([1]).sum().backward()).toThrow(/depends on no parameter/);
    expect(() => weight().detach().sum().backward()).toThrow(/depends on no parameter/);
  });

  test('gradients of several losses accumulate until the step, which clears them', async () => {
    const w = weight();
    const opt = new optim.SGD([w], { lr: 1 });
    w.sum().backward();
    w.mul(2).sum().backward();
    await opt.step();
    expect(w.toArray()).toEqual([-2, -1]);
    expect(w.grad).toBeNull();
  });

  test('after a step changed the weights, the old graph is refused', async () => {
    const w = weight();
    const opt = new optim.SGD([w]);
    const stale = w.mul(3).sum();
    w.sum().backward();
    await opt.step();
    expect(() => stale.backward()).toThrow(/changed by an optimizer step after the forward pass/);
  });

  test('nothing made under noGrad is differentiated, also across an await', async () => {
    const w = weight();
    const y = await noGrad(async () => {
      await Promise.resolve();
      return w.mul(2);
    });
    expect(y.requiresGrad).toBe(false);
    expect(w.mul(2).requiresGrad).toBe(true);
  });
});

describe('step', () => {
  test('is one execution that also gives the loss and a metric of the same graph', async () => {
    const w = weight();
    const opt = new optim.SGD([w], { lr: 0.1 });
    const y = w.mul(tensor([3, 4]));
    const loss = y.sum();
    const metric = y.greater(5).mean();
    loss.backward();
    await opt.step();
    expect([loss.item(), metric.item()]).toEqual([11, 0.5]);
    expect(session.executed).toHaveLength(1);
  });

  test('leaves running sums over earlier steps to be read later, without running anything again', () => {
    const w = weight();
    const opt = new optim.SGD([w], { lr: 0.1 });
    let total = zeros([]);
    for (let i = 0; i < 6; i++) {
      const loss = w.mul(w).sum();
      loss.backward();
      opt.step();
      total = total.add(loss.detach());
    }
    // 5 Σ 0.64^i
    expect(total.item()).toBeCloseTo((5 * (1 - 0.64 ** 6)) / 0.36, 4);
    expect(session.steps).toHaveLength(6);
    expect(session.executed).toHaveLength(7);
    expect(session.programCount).toBe(2);
  });

  test('a metric that needs the whole batch does not cost the step its micro-shards', async () => {
    const w = weight();
    const opt = new optim.SGD([w], { lr: 0.1 });
    const [x] = rows().all();
    const loss = x.mul(w).sum(1).mean();
    const perplexity = loss.exp();
    loss.backward();
    await opt.step();
    expect(session.steps[0]?.shards).toHaveLength(4);
    expect(perplexity.item()).toBeCloseTo(Math.exp(loss.item()), 4);
    // exp of the known loss: nothing of the forward pass ran again.
    expect(session.executed[1]?.shards).toHaveLength(1);
    expect(session.text('stderr')).toBe('');
  });

  test('a loss that cannot be cut runs as one unit and says why, once', async () => {
    const w = weight();
    const opt = new optim.SGD([w], { lr: 0.1 });
    for (let i = 0; i < 2; i++) {
      const [x] = rows().all();
      x.mul(w).sum(1).mean().exp().backward();
      await opt.step();
    }
    expect(session.steps.map(({ shards }) => shards.length)).toEqual([1, 1]);
    expect(session.text('stderr').match(/runs as one unit/g)).toHaveLength(1);
  });

  test('a new learning rate is not a new program', async () => {
    const w = weight([1]);
    const opt = new optim.SGD([w], { lr: 0.5 });
    for (const lr of [0.5, 0.25, 0.125]) {
      opt.lr = lr;
      w.sum().backward();
      await opt.step();
    }
    expect(w.item()).toBe(0.125);
    expect(session.programCount).toBe(1);
  });

  test('without gradients says that backward is missing', () => {
    const opt = new optim.SGD([weight()]);
    expect(() => opt.step()).toThrow(/call loss.backward\(\) first/);
  });

  test('sends as many ahead as may be in flight: the next one waits for the first', () => {
    const w = weight();
    const opt = new optim.SGD([w], { lr: 0.1 });
    const sent: number[] = [];
    const { stepsInFlight } = API_LIMITS;
    for (let i = 0; i < stepsInFlight + 2; i++) {
      w.sum().backward();
      opt.step();
      sent.push(session.steps.length);
    }
    expect(sent).toEqual([...Array.from({ length: stepsInFlight }, () => 0), 1, 2]);
  });
});

describe('weights versions', () => {
  function train(w: Tensor, steps: number): void {
    const opt = new optim.SGD([w], { lr: 0.1 });
    for (let i = 0; i < steps; i++) {
      w.sum().backward();
      opt.step();
    }
  }

  test('a value built before a step is computed from the old weights', () => {
    const w = weight([1]);
    const before = w.mul(10);
    train(w, 1);
    expect([before.item(), w.item()].map((v) => Math.round(v * 10))).toEqual([100, 9]);
  });

  test('a value whose weights are no longer kept is an error that says what to do', () => {
    const w = weight([1]);
    const before = w.mul(10);
    train(w, LIMITS.retainedVersions);
    expect(() => before.item()).toThrow(
      /built from the weights after update 0.*keeps the last 4.*read it earlier/s,
    );
  });

  test('weights that no step changes stay readable for ever', () => {
    const frozen = weight([5]);
    const before = frozen.mul(2);
    train(weight([1]), 10);
    expect(before.item()).toBe(10);
  });
});

describe('a step with NaN', () => {
  function failing(): { w: Tensor; opt: optim.SGD; step: () => ReturnType<optim.SGD['step']> } {
    const w = weight([1, -5]);
    const opt = new optim.SGD([w], { lr: 0.1 });
    const step = (): ReturnType<optim.SGD['step']> => {
      const [x] = rows().slice(1).all();
      x.mul(w).sum(1).log().mean().backward();
      return opt.step();
    };
    return { w, opt, step };
  }

  test('names step and op, and leaves the weights alone', async () => {
    const { w, opt, step } = failing();
    await expect(step()).rejects.toThrow(NumericError);
    await expect(step()).rejects.toThrow(
      /step 1: the loss or a gradient is NaN.*first non-finite value is in `log float32 \[99\]`.*weights are unchanged/s,
    );
    expect(w.toArray()).toEqual([1, -5]);
    expect(opt.steps).toBe(0);
  });

  test('that nobody awaits surfaces at the next call, once', async () => {
    const { w, step } = failing();
    step();
    await new Promise((resolve) => setImmediate(resolve));
    expect(() => w.mul(2).dataSync()).toThrow(/step 1: .*`log/s);
    expect(w.toArray()).toEqual([1, -5]);
  });

  test('takes the steps behind it along, and training goes on afterwards', async () => {
    const { w, opt, step } = failing();
    step();
    w.sum().backward();
    await expect(opt.step()).rejects.toThrow(/`log/);
    w.sum().backward();
    await opt.step();
    expect(w.at([0]).item()).toBeCloseTo(0.9);
    expect(session.version).toBe(1);
  });
});

describe('Stop', () => {
  const stopped = (): RavenError => new RavenError('interrupted', 'the cell was stopped');

  test('that comes after the engine has finished a step leaves kernel and engine with the same weights', async () => {
    const w = weight([1]);
    const opt = new optim.SGD([w], { lr: 0.1 });
    session.intercept = ({ kind }) => (kind === 'execute' ? stopped() : null);
    w.sum().backward();
    opt.step();
    await new Promise((resolve) => setImmediate(resolve));
    session.intercept = null;
    // The engine made the step; the kernel never heard.
    expect(session.version).toBe(1);
    expect(w.item()).toBeCloseTo(0.9);
    expect(opt.steps).toBe(1);
    w.sum().backward();
    await opt.step();
    expect(w.item()).toBeCloseTo(0.8);
    expect(session.version).toBe(2);
  });

  test('that reached the engine in time undoes the steps in flight', async () => {
    const w = weight([1]);
    const opt = new optim.SGD([w], { lr: 0.1 });
    session.refuse = ({ kind }) => (kind === 'execute' ? stopped() : null);
    for (let i = 0; i < 2; i++) {
      w.sum().backward();
      opt.step();
    }
    await new Promise((resolve) => setImmediate(resolve));
    session.refuse = null;
    expect([w.item(), opt.steps]).toEqual([1, 0]);
    w.sum().backward();
    await opt.step();
    expect(w.item()).toBeCloseTo(0.9);
  });
});

describe('an engine that is lost', () => {
  test('takes weights along, which says so; new ones train on the new engine with the same programs', async () => {
    const fit = async (w: Tensor): Promise<void> => {
      const opt = new optim.SGD([w], { lr: 0.1 });
      w.sum().backward();
      await opt.step();
    };
    const old = weight([1]);
    await fit(old);
    session.crash();
    expect(() => old.mul(3).item()).toThrow(/engine process ended/);
    session.refuse = null;
    expect(() => old.mul(3).item()).toThrow(
      /engine that held these weights or data has ended; run the notebook again/,
    );
    const fresh = weight([2]);
    await fit(fresh);
    expect(fresh.item()).toBeCloseTo(1.9);
  });

  test('is told again what Stop has taken out of its queue', async () => {
    session.refuse = ({ kind }) =>
      kind.startsWith('create') || kind === 'defineProgram'
        ? new RavenError('interrupted', 'the cell was stopped')
        : null;
    const w = weight([1]);
    const big = tensor(new Float32Array(10_000).fill(1));
    const sum = big.mul(w).sum();
    expect(() => sum.item()).toThrow(/no data|no state|never defined/);
    await new Promise((resolve) => setImmediate(resolve));
    session.refuse = null;
    expect(sum.item()).toBe(10_000);
  });
});

describe('clipping', () => {
  test('by norm scales all gradients of the optimizer together', async () => {
    const w = weight([0, 0]);
    const opt = new optim.SGD([w], { lr: 1 });
    w.mul(tensor([3, 4]))
      .sum()
      .backward();
    optim.clipGradNorm([w], 1);
    await opt.step();
    expect(session.steps[0]?.clips).toMatchObject([{ kind: 'norm', max: 1 }]);
    const [a = 0, b = 0] = await w.data();
    expect([a, b].map((v) => Number(v.toFixed(4)))).toEqual([-0.6, -0.8]);
  });

  test('holds for one step only', async () => {
    const w = weight([0, 0]);
    const opt = new optim.SGD([w], { lr: 1 });
    for (let i = 0; i < 2; i++) {
      w.mul(tensor([3, 4]))
        .sum()
        .backward();
      if (i === 0) optim.clipGradValue([w], 1);
      await opt.step();
    }
    expect(w.toArray()).toEqual([-4, -5]);
  });

  test('of some parameters only is refused', () => {
    const [a, b] = [weight(), weight()];
    const opt = new optim.SGD([a, b]);
    a.add(b).sum().backward();
    optim.clipGradNorm([a], 1);
    expect(() => opt.step()).toThrow(/some parameters of this optimizer were clipped/);
  });
});

test('the panel is told run, step, epoch, samples and which output is the loss', async () => {
  const w = weight();
  const opt = new optim.SGD([w], { lr: 0.1 });
  const [x] = rows().all();
  const loss = x.mul(w).sum(1).mean();
  loss.backward();
  await opt.step();
  const [plan] = session.steps;
  expect(plan?.step).toMatchObject({ step: 0, epoch: 0, epochs: null, samples: 100 });
  const output = plan?.outputs[plan.step?.lossOutput ?? -1];
  expect(output).toMatchObject({ deliver: true, type: { shape: [] } });
  expect(nn.mse(tensor([1]), tensor([1])).item()).toBe(0);
});
