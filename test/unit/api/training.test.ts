/** @file A training loop as a user writes it, on an engine made of oracle loops. */
import { nn, noGrad, optim, tensor, manualSeed, zeros } from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
  manualSeed(1);
});

const inputs = tensor([
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
]);

test('a two-layer network learns XOR with losses read synchronously', () => {
  const targets = tensor([[0], [1], [1], [0]]);
  const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
  const opt = new optim.Adam(model.parameters(), { lr: 0.05 });
  const losses: number[] = [];
  for (let step = 0; step < 150; step++) {
    const loss = nn.mse(model.forward(inputs), targets);
    loss.backward();
    opt.step();
    losses.push(loss.item());
  }
  expect(losses[0]).toBeGreaterThan(0.1);
  expect(losses.at(-1)).toBeLessThan(0.01);
  // Each loss came with its own step: nothing ran twice.
  expect(session.executed).toHaveLength(150);
  expect(session.programCount).toBe(1);
});

test('a parameter used under noGrad gets no gradient', () => {
  const w = zeros([2], { requiresGrad: true });
  const y = noGrad(() => w.mul(2))
    .add(w)
    .sum();
  y.backward();
  expect(w.grad?.toArray()).toEqual([1, 1]);
});
