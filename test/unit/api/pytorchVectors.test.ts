/** @file The modules and Adam of the API against models computed by PyTorch (test/vectors): same names, same numbers. */
import { nn, optim, tensor } from 'ravenlab';
import type { Tensor } from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';
import { readVectors, vectorOf } from '../core/lib/vectors.js';
import type { Vectors } from '../core/lib/vectors.js';

class Cnn extends nn.Module {
  conv1 = new nn.Conv2d(1, 8, 3, { padding: 1 });
  bn = new nn.BatchNorm2d(8);
  conv2 = new nn.Conv2d(8, 16, 3, { stride: 2, padding: 1, groups: 2 });
  gn = new nn.GroupNorm(4, 16);
  fc = new nn.Linear(16 * 2 * 2, 5);

  forward(x: Tensor): Tensor {
    const pooled = this.bn.call(this.conv1.call(x)).relu().maxPool2d(2);
    return this.fc.call(
      this.gn.call(this.conv2.call(pooled)).silu().avgPool2d(2, { stride: 1 }).flatten(1),
    );
  }
}

class Gru extends nn.Module {
  embedding = new nn.Embedding(30, 12);
  gru = new nn.GRU(12, 16);
  fc = new nn.Linear(16, 30);

  forward(x: Tensor): Tensor {
    const { output } = this.gru.call(this.embedding.call(x));
    return this.fc.call(output.at([':', -1]));
  }
}

class Transformer extends nn.Module {
  embedding = new nn.Embedding(20, 16);
  position = tensor(new Float32Array(6 * 16), { shape: [6, 16], requiresGrad: true });
  block = new nn.TransformerEncoderLayer(16, 4, {
    feedForward: 32,
    dropout: 0,
    activation: 'gelu',
    normFirst: true,
  });
  norm = new nn.LayerNorm(16);
  head = new nn.Linear(16, 20);

  forward(x: Tensor): Tensor {
    const embedded = this.embedding.call(x).add(this.position);
    const logits = this.head.call(this.norm.call(this.block.call(embedded, { causal: true })));
    return logits.reshape([-1, 20]);
  }
}

const MODELS: Readonly<Record<string, () => nn.Module & { forward(x: Tensor): Tensor }>> = {
  mlp: () =>
    new nn.Sequential(
      new nn.Linear(20, 32),
      new nn.ReLU(),
      new nn.Linear(32, 24),
      new nn.Tanh(),
      new nn.Linear(24, 5),
    ),
  cnn: () => new Cnn(),
  gru: () => new Gru(),
  transformer: () => new Transformer(),
};

/** Largest difference relative to the largest expected value: the scale that a float32 result is good to. */
function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual).toHaveLength(expected.length);
  const scale = Array.from(expected, Math.abs).reduce((a, b) => Math.max(a, b), 1e-6);
  return Array.from(expected).reduce(
    (worst, value, i) => Math.max(worst, Math.abs(value - (actual[i] ?? NaN)) / scale),
    0,
  );
}

function loaded(name: string, vectors: Vectors): nn.Module & { forward(x: Tensor): Tensor } {
  const model = MODELS[name]?.();
  if (model === undefined) throw new Error(`no model '${name}'`);
  const state = new Map(
    [...vectors.tensors].flatMap(([key, value]) =>
      key.startsWith('param/')
        ? [[key.slice('param/'.length), { ...value.type, data: value.data }] as const]
        : [],
    ),
  );
  // Strict but for running statistics: every other name has to be PyTorch's.
  const buffers = model.namedBuffers().map(([key, { dtype, shape }]) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(
      key.endsWith('var') ? 1 : 0,
    );
    return [key, { dtype, shape, data }] as const;
  });
  model.loadStateDict(new Map([...state, ...buffers]));
  return model;
}

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
});

describe.each(Object.keys(MODELS))('%s', (name) => {
  test('has the loss, the gradients and the training run of PyTorch', async () => {
    const vectors = readVectors(name);
    const model = loaded(name, vectors);
    const x = vectorOf(vectors, 'x');
    const y = vectorOf(vectors, 'target');
    const inputs = tensor(x.data, { shape: x.type.shape });
    const target = tensor(y.data).reshape([-1]);
    const opt = new optim.Adam(model.parameters(), { lr: vectors.adam.lr });

    const logits = model.forward(inputs);
    const loss = nn.crossEntropy(logits, target);
    loss.backward();
    expect(relativeError([loss.item()], [vectors.loss])).toBeLessThan(1e-4);
    for (const [key, parameter] of model.namedParameters()) {
      const expected = vectorOf(vectors, `grad/${key}`);
      if (parameter.grad === null) throw new Error(`no gradient of ${key}`);
      const error = relativeError(await parameter.grad.data(), expected.data);
      expect({ key, error: error < 1e-4 }).toEqual({ key, error: true });
    }
    await opt.step();

    const losses = [loss.item()];
    for (let step = 1; step < 20; step++) {
      const next = nn.crossEntropy(model.forward(inputs), target);
      next.backward();
      opt.step();
      losses.push(next.item());
    }
    losses.push(nn.crossEntropy(model.forward(inputs), target).item());
    expect(losses).toHaveLength(vectors.losses.length);
    losses.forEach((value, step) => {
      expect(relativeError([value], [vectors.losses[step] ?? NaN])).toBeLessThan(1e-3);
    });
    for (const [key, buffer] of model.namedBuffers()) {
      // Batch norm makes the bias before it useless: its gradient is rounding noise, which Adam scales up to full steps,
      // so the running mean wanders with it. The variance does not see the bias.
      if (key.endsWith('running_mean')) continue;
      const expected = vectorOf(vectors, `buffer/${key}`);
      expect(relativeError(await buffer.data(), expected.data)).toBeLessThan(1e-3);
    }
    expect(session.text('stderr')).toBe('');
  });
});
