/** @file Modules: what they find in their fields, modes, and layers that the PyTorch vectors do not cover. */
import { concat, manualSeed, nn, optim, randn, tensor, zeros } from 'ravenlab';
import type { Tensor } from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
  manualSeed(1);
});

function rounded(x: Tensor, digits = 4): unknown {
  return JSON.parse(
    JSON.stringify(x.toArray(), (_, v: unknown) =>
      typeof v === 'number' ? Number(v.toFixed(digits)) : v,
    ),
  );
}

class Block extends nn.Module {
  inner = new nn.Linear(2, 2);
  scale = tensor([1, 1], { requiresGrad: true });

  forward(x: Tensor, factor: number): Tensor {
    return this.inner.call(x).mul(this.scale).mul(factor);
  }
}

class Net extends nn.Module {
  blocks = [new Block(), new Block()];
  byName = { up: new nn.Linear(2, 3), down: new nn.Linear(3, 1) };
  shared = this.blocks[0];
  label = 'not a parameter';

  forward(x: Tensor): Tensor {
    return this.byName.down.call(this.byName.up.call(this.blocks[0]?.call(x, 2) ?? x));
  }
}

describe('a module', () => {
  test('finds parameters through fields, arrays and records, under the names of PyTorch', () => {
    const names = new Net().namedParameters().map(([name]) => name);
    expect(names.slice(0, 3)).toEqual([
      'blocks.0.inner.weight',
      'blocks.0.inner.bias',
      'blocks.0.scale',
    ]);
    expect(names).toContain('by_name.down.bias');
    expect(new nn.LSTM(2, 3, { layers: 2 }).namedParameters().map(([name]) => name)).toContain(
      'weight_hh_l1',
    );
    expect(new nn.Sequential(new nn.ReLU(), new nn.Linear(1, 1)).namedParameters()[0]?.[0]).toBe(
      '1.weight',
    );
  });

  test('counts a shared module once', () => {
    const net = new Net();
    expect(net.parameters()).toHaveLength(net.namedParameters().length - 3);
    expect(net.parameterCount).toBe(2 * (6 + 2) + 9 + 4);
  });

  test('switches all modules below it between training and evaluation', () => {
    const net = new Net();
    expect(
      net
        .eval()
        .modules()
        .every(({ training }) => !training),
    ).toBe(true);
    expect(net.train().blocks[1]?.inner.training).toBe(true);
  });

  test('copies its state to another one through a state dict', async () => {
    const [a, b] = [new Net(), new Net()];
    const x = tensor([[1, 2]]);
    expect(a.forward(x).item()).not.toBe(b.forward(x).item());
    b.loadStateDict(await a.stateDict());
    expect(b.forward(x).item()).toBe(a.forward(x).item());
  });

  test('refuses a state dict with other names or shapes, and changes nothing', async () => {
    const net = new nn.Linear(2, 1);
    const state = await net.stateDict();
    const before = net.weight.toArray();
    const weight = { data: new Float32Array(3), dtype: 'float32', shape: [1, 3] } as const;
    expect(() => net.loadStateDict(new Map([...state, ['weight', weight]]))).toThrow(
      /'weight' has shape \[1, 3\], the model expects \[1, 2\]/,
    );
    expect(() => net.loadStateDict(new Map([['wieght', weight]]))).toThrow(
      /missing \[weight, bias\], unexpected \[wieght\]/,
    );
    expect(net.weight.toArray()).toEqual(before);
    net.loadStateDict(new Map([['other', weight]]), { strict: false });
  });

  test('prints its tree', () => {
    expect(new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU()).toString()).toBe(
      'Sequential(\n  (0): Linear(2 → 3)\n  (1): ReLU()\n)',
    );
  });
});

test('weights start within the bounds of PyTorch, different for each layer, equal for equal seeds', () => {
  const make = (): unknown[] =>
    [new nn.Linear(100, 50), new nn.Linear(100, 50)].map((l) => l.weight.toArray());
  manualSeed(3);
  const [first, second] = make();
  manualSeed(3);
  expect(make()[0]).toEqual(first);
  expect(first).not.toEqual(second);
  const values = (first as number[][]).flat();
  expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(0.1);
  expect(Math.max(...values)).toBeGreaterThan(0.099);
});

test('a layer that does not fit names both shapes at the line that called it', () => {
  let error = new Error();
  try {
    new nn.Linear(64, 10).call(zeros([32, 128]));
  } catch (caught) {
    error = caught as Error;
  }
  expect(error.message).toMatch(/matMul: inner sizes differ: \[32, 128\] × \[10, 64\]/);
  expect(error.stack).toContain('nn.test.ts');
});

describe('batch norm', () => {
  test('normalises by the batch while training and moves its statistics with the step', async () => {
    const bn = new nn.BatchNorm1d(1, { momentum: 0.5 });
    const opt = new optim.SGD(bn.parameters(), { lr: 0 });
    const x = tensor([[1], [3], [5], [7]]);
    const y = bn.forward(x);
    y.mul(y).mean().backward();
    expect(bn.runningMean.toArray()).toEqual([0]);
    await opt.step();
    expect(rounded(bn.runningMean)).toEqual([2]);
    // (1 - 0.5)·1 + 0.5·20/3, the unbiased variance
    expect(rounded(bn.runningVar)).toEqual([3.8333]);
    bn.eval();
    expect(rounded(bn.forward(tensor([[2]])))).toEqual([[0]]);
  });

  test('joins the statistics of two forward passes of one step', async () => {
    const bn = new nn.BatchNorm1d(1, { momentum: 0.5 });
    const opt = new optim.SGD(bn.parameters(), { lr: 0 });
    const a = bn.forward(tensor([[1], [3]]));
    const b = bn.forward(tensor([[5], [7]]));
    concat([a, b]).sum().backward();
    await opt.step();
    // 0.5·(0.5·0 + 0.5·2) + 0.5·6
    expect(rounded(bn.runningMean)).toEqual([3.5]);
  });

  test('asks for the right rank and more than one value', () => {
    expect(() => new nn.BatchNorm2d(3).forward(zeros([2, 3]))).toThrow(
      /expected rank 4 with 3 channels/,
    );
    expect(() => new nn.BatchNorm1d(3).forward(zeros([1, 3]))).toThrow(/larger batch or call eval/);
  });
});

test('dropout keeps the expectation while training and does nothing in evaluation', () => {
  const dropout = new nn.Dropout(0.25);
  const y = dropout.forward(tensor(new Float32Array(4_000).fill(1)));
  const values = y.toArray() as number[];
  expect(new Set(values.map((v) => v.toFixed(3)))).toEqual(new Set(['0.000', '1.333']));
  expect(values.filter((v) => v === 0).length / 4_000).toBeCloseTo(0.25, 1);
  const x = tensor([1, 2]);
  expect(dropout.eval().forward(x)).toBe(x);
  expect(() => x.dropout(1)).toThrow(/p must be in \[0, 1\)/);
});

test('a dropout mask is another one in each step without being another program', async () => {
  const w = tensor(new Float32Array(64).fill(1), { requiresGrad: true });
  const opt = new optim.SGD([w], { lr: 0 });
  const masks: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    const y = w.dropout(0.5);
    y.sum().backward();
    await opt.step();
    masks.push(y.toArray());
  }
  expect(masks[0]).not.toEqual(masks[1]);
  expect(new Set(session.steps.map(({ programs }) => programs[0])).size).toBe(1);
});

describe('recurrent layers', () => {
  /** A layer with every weight equal to `value`. */
  function constant<M extends nn.Module>(layer: M, value: number): M {
    for (const parameter of layer.parameters()) {
      parameter.set(new Float32Array(parameter.size).fill(value));
    }
    return layer;
  }
  const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

  test('an LSTM follows its formula over two steps', () => {
    const lstm = constant(new nn.LSTM(1, 1), 0.5);
    const { output, state } = lstm.forward(tensor([[[1], [2]]]));
    let [h, c] = [0, 0];
    for (const x of [1, 2]) {
      const gate = 0.5 * x + 0.5 + 0.5 * h + 0.5;
      c = sigmoid(gate) * c + sigmoid(gate) * Math.tanh(gate);
      h = sigmoid(gate) * Math.tanh(c);
    }
    expect(output.at([0, 1, 0]).item()).toBeCloseTo(h, 5);
    expect(state[0].item()).toBeCloseTo(h, 5);
    expect(state[1].item()).toBeCloseTo(c, 5);
  });

  test('an RNN of two layers takes an initial state and gives the last one of each layer', () => {
    const rnn = constant(new nn.RNN(1, 2, { layers: 2 }), 0.1);
    const { output, state } = rnn.forward(zeros([3, 4, 1]), zeros([2, 3, 2]));
    expect([output.shape, state.shape]).toEqual([
      [3, 4, 2],
      [2, 3, 2],
    ]);
  });

  test('time can come first', () => {
    const [a, b] = [new nn.GRU(2, 3), new nn.GRU(2, 3, { batchFirst: false })].map((gru) =>
      constant(gru, 0.3),
    );
    const x = randn([2, 5, 2]);
    const first = a?.forward(x).output;
    const second = b?.forward(x.permute([1, 0, 2])).output.permute([1, 0, 2]);
    expect(second?.toArray()).toEqual(first?.toArray());
  });

  test('the wrong width is refused with the shape that was expected', () => {
    expect(() => new nn.GRU(2, 3).forward(zeros([1, 4, 5]))).toThrow(
      /GRU: expected \[B, T, 2\], got \[1, 4, 5\]/,
    );
  });
});

describe('attention', () => {
  test('over a copy of the input equals self-attention', () => {
    const attention = new nn.MultiHeadAttention(4, 2);
    const x = randn([2, 3, 4]);
    x.dataSync();
    const self = attention.forward(x);
    const cross = attention.forward(x, x.mul(1), x.mul(1));
    expect(rounded(cross)).toEqual(rounded(self));
  });

  test('that is causal does not see later positions', () => {
    const attention = new nn.MultiHeadAttention(4, 2);
    const x = randn([1, 3, 4]);
    x.dataSync();
    const changed = concat([x.slice(1, 0, 2), zeros([1, 1, 4])], 1);
    const first = (y: Tensor): unknown =>
      rounded(attention.forward(y, y, y, { causal: true }).slice(1, 0, 2));
    expect(first(changed)).toEqual(first(x));
  });

  test('needs heads that divide the width', () => {
    expect(() => new nn.MultiHeadAttention(10, 3)).toThrow(/width 10 does not divide by 3 heads/);
  });
});

describe('losses', () => {
  const logits = tensor([
    [2, 0, 0],
    [0, 3, 0],
  ]);
  const row = (z: number[], y: number): number =>
    Math.log(z.reduce((a, b) => a + Math.exp(b), 0)) - (z[y] ?? 0);

  test('cross entropy of classes, of probabilities, smoothed, and with ignored rows', () => {
    const target = tensor(Int32Array.of(0, 2));
    const [a, b] = [row([2, 0, 0], 0), row([0, 3, 0], 2)];
    expect(nn.crossEntropy(logits, target).item()).toBeCloseTo((a + b) / 2, 5);
    expect(nn.crossEntropy(logits, target.oneHot(3)).item()).toBeCloseTo((a + b) / 2, 5);
    expect(nn.crossEntropy(logits, target, { reduction: 'none' }).shape).toEqual([2]);
    expect(
      nn.crossEntropy(logits, tensor(Int32Array.of(0, -100)), { ignoreIndex: -100 }).item(),
    ).toBeCloseTo(a, 5);
    const spread = [0, 1, 2]
      .map((y) => row([2, 0, 0], y) + row([0, 3, 0], y))
      .reduce((s, v) => s + v, 0);
    const smoothed = 0.9 * ((a + b) / 2) + 0.1 * (spread / 6);
    expect(nn.crossEntropy(logits, target, { labelSmoothing: 0.1 }).item()).toBeCloseTo(
      smoothed,
      5,
    );
  });

  test('a label outside the classes is found before anything runs', () => {
    expect(() => nn.crossEntropy(logits, tensor(Int32Array.of(0, 3)))).toThrow(
      /target 3 at position 1 is not one of the 3 classes/,
    );
  });

  test('shapes that would broadcast into a wrong loss are refused', () => {
    expect(() => nn.mse(zeros([4, 1]), zeros([4]))).toThrow(
      /must have the same shape; broadcasting here would hide/,
    );
  });

  test('binary cross entropy stays finite for large logits', () => {
    expect(nn.bceWithLogits(tensor([100, -100, 0]), tensor([1, 0, 1])).item()).toBeCloseTo(
      Math.LN2 / 3,
      5,
    );
    expect(nn.bceWithLogits(tensor([-100]), tensor([1])).item()).toBeCloseTo(100, 3);
  });

  test('huber is quadratic near zero and linear beyond', () => {
    expect(nn.smoothL1(tensor([0.5, 3]), tensor([0, 0]), { reduction: 'sum' }).item()).toBeCloseTo(
      0.125 + 2.5,
      5,
    );
    expect(nn.l1(tensor([0.5, 3]), tensor([0, 0])).item()).toBeCloseTo(1.75, 5);
  });
});
