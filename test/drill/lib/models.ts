/** @file What the drills train: models on made-up data, each the same in every process. Written as a cell would be. */
import type { Tensor } from '../../../kernel/src/api/index.js';
import { cluster, data, manualSeed, nn, optim, tensor } from '../../../kernel/src/api/index.js';

export const MODEL_NAMES = ['mlp', 'cnn', 'gru', 'slow'] as const;
export type ModelName = (typeof MODEL_NAMES)[number];

export interface Recipe {
  readonly rows: number;
  readonly batch: number;
  readonly microShard: number;
}

/** Every batch is whole, and an epoch counts each sample once: how often each was counted is known in advance. */
export const RECIPES: Readonly<Record<ModelName, Recipe>> = {
  mlp: { rows: 4_096, batch: 1_024, microShard: 64 },
  cnn: { rows: 1_024, batch: 256, microShard: 16 },
  gru: { rows: 2_048, batch: 512, microShard: 32 },
  slow: { rows: 8_192, batch: 2_048, microShard: 32 },
};

/** A power of two, so that counts in `seen` are exact. */
const TALLY_RATE = 1 / 16;

/** Reproducible values in -1 … 1. */
function noise(length: number, seed: number): Float32Array {
  let state = seed >>> 0 || 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** A net, and how often each sample went into its gradient where its optimizer can tell. */
abstract class Trained extends nn.Module {
  abstract loss(x: Tensor, y: Tensor, index: Tensor): Tensor;
}

/** Plain gradient descent: `seen[i]` falls by exactly the learning rate each time that sample i is counted. */
class Mlp extends Trained {
  seen = tensor(new Float32Array(RECIPES.mlp.rows), { requiresGrad: true });
  body = new nn.Sequential(
    new nn.Linear(128, 256),
    new nn.ReLU(),
    new nn.Linear(256, 256),
    new nn.ReLU(),
    new nn.Linear(256, 10),
  );

  override forward(x: Tensor): Tensor {
    return this.body.call(x);
  }

  override loss(x: Tensor, y: Tensor, index: Tensor): Tensor {
    return nn.crossEntropy(this.forward(x), y).add(this.seen.gather(index).sum());
  }
}

class Cnn extends Trained {
  first = new nn.Conv2d(1, 12, 3, { padding: 1 });
  norm = new nn.BatchNorm2d(12);
  second = new nn.Conv2d(12, 16, 3, { padding: 1 });
  after = new nn.BatchNorm2d(16);
  out = new nn.Linear(16 * 3 * 3, 10);

  override forward(x: Tensor): Tensor {
    const a = this.norm.call(this.first.call(x)).relu().maxPool2d(2);
    const b = this.after.call(this.second.call(a)).relu().maxPool2d(2);
    return this.out.call(b.flatten(1).dropout(0.25, this.training));
  }

  override loss(x: Tensor, y: Tensor): Tensor {
    return nn.crossEntropy(this.forward(x), y);
  }
}

class Gru extends Trained {
  seen = tensor(new Float32Array(RECIPES.gru.rows), { requiresGrad: true });
  cell = new nn.GRU(12, 48);
  out = new nn.Linear(48, 10);

  override forward(x: Tensor): Tensor {
    const { output } = this.cell.call(x);
    return this.out.call(output.at([':', -1]));
  }

  override loss(x: Tensor, y: Tensor, index: Tensor): Tensor {
    return nn.crossEntropy(this.forward(x), y).add(this.seen.gather(index).sum());
  }
}

interface Parts {
  readonly shape: readonly number[];
  readonly build: () => Trained;
  readonly optimizer: (model: Trained) => optim.SGD | optim.Adam;
}

const PARTS: Readonly<Record<ModelName, Parts>> = {
  mlp: {
    shape: [128],
    build: () => new Mlp(),
    optimizer: (model) => new optim.SGD(model.parameters(), { lr: TALLY_RATE }),
  },
  cnn: {
    shape: [1, 12, 12],
    build: () => new Cnn(),
    optimizer: (model) => new optim.Adam(model.parameters(), { lr: 2e-3 }),
  },
  /** The CNN on many small micro-shards: steps long enough for a duty cycle of 20 ms to be a speed. */
  slow: {
    shape: [1, 12, 12],
    build: () => new Cnn(),
    optimizer: (model) => new optim.Adam(model.parameters(), { lr: 2e-3 }),
  },
  gru: {
    shape: [6, 12],
    build: () => new Gru(),
    optimizer: (model) => new optim.SGD(model.parameters(), { lr: TALLY_RATE }),
  },
};

export interface Course {
  readonly model: Trained;
  readonly optimizer: optim.SGD | optim.Adam;
  readonly loader: data.DataLoader<readonly [Tensor, Tensor, Tensor]>;
  /** Forward and backward of one batch; returns the loss. */
  readonly pass: (batch: readonly [Tensor, Tensor, Tensor]) => Tensor;
}

/** Fresh objects, as the cells above the training loop make them. */
export function makeCourse(name: ModelName): Course {
  const { rows, batch, microShard } = RECIPES[name];
  const { shape, build, optimizer } = PARTS[name];
  cluster.microShard = microShard;
  manualSeed(17);
  const width = shape.reduce((size, each) => size * each, 1);
  const x = tensor(noise(rows * width, 5), { shape: [rows, ...shape] });
  const y = tensor(Int32Array.from({ length: rows }, (_, i) => (i * 7 + (i >> 4)) % 10));
  const index = tensor(Int32Array.from({ length: rows }, (_, i) => i));
  const set = data.dataset(x, y, index);
  const model = build();
  return {
    model,
    optimizer: optimizer(model),
    loader: data.loader(set, { batchSize: batch, shuffle: true, seed: 3, dropLast: true }),
    pass: ([inputs, labels, which]) => {
      const loss = model.loss(inputs, labels, which);
      loss.backward();
      return loss;
    },
  };
}

export interface Tally {
  /** Sum over all samples of how often too rarely, and how often too often, one was counted. */
  readonly lost: number;
  readonly twice: number;
}

/** Null for a model that does not count its samples. @param times that each sample had to be counted */
export async function readTally(model: Trained, times: number): Promise<Tally | null> {
  if (!(model instanceof Mlp) && !(model instanceof Gru)) return null;
  const values = await model.seen.data();
  let lost = 0;
  let twice = 0;
  for (const value of values) {
    const counted = -value / TALLY_RATE;
    lost += Math.max(0, times - counted);
    twice += Math.max(0, counted - times);
  }
  return { lost, twice };
}
