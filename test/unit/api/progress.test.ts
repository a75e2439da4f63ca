/** @file Progress bars: in place where someone watches, a few lines where nobody does. */
import { data, nn, optim, progress, tensor } from 'ravenlab';
import type { Tensor } from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

let session: OracleSession;
beforeEach(() => {
  session = freshSession();
});

function train(epochs: number, tickMs: number): void {
  const set = data.dataset(tensor(new Float32Array(64).fill(1), { shape: [64, 1] }));
  const model = new nn.Linear(1, 1);
  const opt = new optim.SGD(model.parameters(), { lr: 0.1 });
  for (const epoch of progress(epochs)) {
    for (const [x] of data.loader(set, { batchSize: 32 }) as Iterable<readonly [Tensor]>) {
      nn.mse(model.forward(x), x).backward();
      opt.step();
      session.clockMs += tickMs;
    }
    expect(epoch).toBeLessThan(epochs);
  }
}

test('counts like range, and tells the panel epoch, epochs and steps', () => {
  train(3, 100);
  expect(session.steps.map(({ step }) => step?.epoch)).toEqual([0, 0, 1, 1, 2, 2]);
  expect(session.steps[0]?.step).toMatchObject({ epochs: 3, steps: 6, samples: 32 });
});

test('shows loss, rate and steps of the loop in one display', () => {
  train(3, 500);
  const last = session.shown.at(-1)?.bundle['text/plain'];
  expect(last).toMatch(/^epoch 3\/3 █{24} · loss [\d.e-]+ · 64 samples\/s · 6 steps · 3 s$/);
  expect(new Set(session.shown.map(({ options }) => options?.displayId)).size).toBe(1);
  expect(session.shown[0]?.options?.update).toBe(false);
  expect(session.shown[1]?.options?.update).toBe(true);
});

test('draws at most a few times a second, however fast the loop is', () => {
  train(50, 1);
  expect(session.shown.length).toBeLessThan(6);
});

test('prints lines seldom where nobody watches', () => {
  session.interactive = false;
  train(20, 200);
  expect(session.shown).toHaveLength(0);
  const lines = session.text('stdout').trim().split('\n');
  expect(lines.length).toBeLessThan(6);
  expect(lines.at(-1)).toMatch(/^epoch 20\/20/);
});

test('says that a loop was left early', () => {
  for (const i of progress(10)) if (i === 3) break;
  expect(session.shown.at(-1)?.bundle['text/plain']).toMatch(/^epoch 3\/10 .* stopped$/);
});

test('goes over any iterable, and shows values given to it', () => {
  const bar = progress(new Set(['a', 'b']), { label: 'file', total: 2 });
  for (const name of bar) bar.show({ name, score: tensor(0.25) });
  expect(session.shown.at(-1)?.bundle['text/plain']).toMatch(/^file 2\/2 █+ · name b · score 0.25/);
});
