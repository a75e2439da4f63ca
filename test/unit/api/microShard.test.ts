/** @file What happens to a run when nobody has the memory for its micro-shards: it is cut smaller, says so, and loses nothing. */
import type { EngineRequest, ExecutionPlan } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import { cluster, data, manualSeed, optim, tensor } from 'ravenlab';
import type { Tensor } from 'ravenlab';
import { freshSession } from './lib/oracleSession.js';
import type { OracleSession } from './lib/oracleSession.js';

const BATCH = 50;
const STEPS = 4;

function sizes(plan: ExecutionPlan): number[] {
  return [...new Set(plan.shards.map(({ size }) => size))];
}

/** A session whose workers have the memory for so many rows at once. */
function small(rows: number): OracleSession {
  const session = freshSession();
  manualSeed(1);
  session.refuse = (request: EngineRequest) =>
    request.kind === 'execute' && sizes(request.plan).some((size) => size > rows)
      ? new RavenError('limit', 'no memory', { fault: 'remote', retryable: true })
      : null;
  return session;
}

/** Trains; steps are awaited one by one, or none is before the end. */
async function train(isAwaited: boolean): Promise<{ w: Tensor; losses: number[] }> {
  const x = Float32Array.from({ length: 4 * BATCH }, (_, i) => Math.fround(Math.sin(i)));
  const set = data.dataset(tensor(x, { shape: [2 * BATCH, 2] }));
  const w = tensor([0.5, -0.25], { requiresGrad: true });
  const opt = new optim.SGD([w], { lr: 0.1, momentum: 0.9 });
  const losses: Tensor[] = [];
  for (let step = 0; step < STEPS; step++) {
    const [rows] = set.slice((step % 2) * BATCH, (step % 2) * BATCH + BATCH).all();
    const loss = rows.mul(w).sum(1).tanh().mean();
    loss.backward();
    losses.push(loss);
    const pending = opt.step();
    if (isAwaited) await pending;
  }
  return { w, losses: losses.map((loss) => loss.item()) };
}

const bits = ({ w, losses }: { w: Tensor; losses: number[] }): unknown => [w.toArray(), losses];

describe.each([
  ['one after another', true],
  ['in flight together', false],
])('steps %s that nobody has the memory for', (_how, isAwaited) => {
  test('are cut smaller, to the bits of a run that was cut so from the start', async () => {
    small(10);
    const cut = bits(await train(isAwaited));
    freshSession();
    manualSeed(1);
    cluster.microShard = 8;
    expect(cut).toEqual(bits(await train(isAwaited)));
  });

  test('happen once each, in order, with bookmarks that say how they were cut', async () => {
    const session = small(10);
    await train(isAwaited);
    expect(session.version).toBe(STEPS);
    expect(session.steps.map(({ step }) => step?.step)).toEqual([0, 1, 2, 3]);
    for (const plan of session.steps) {
      expect(sizes(plan)).toEqual([8, 2]);
      expect(JSON.parse(plan.step?.bookmark ?? '')).toMatchObject({ microShardRows: 8 });
    }
  });

  test('say so once for each size, with what to do', async () => {
    const session = small(10);
    await train(isAwaited);
    const told = session.text('stderr').trim().split('\n');
    expect(told).toHaveLength(2);
    expect(told[0]).toMatch(/nobody here has the memory for a micro-shard of 32 rows.* of 16/);
    expect(told[1]).toMatch(/micro-shard of 16 rows.* of 8,.*cluster\.microShard = 8 .*no memory/);
    expect(cluster.microShard).toBe(8);
  });
});

test('a micro-shard of one row that nobody has the memory for is an error, and the weights stay', async () => {
  const session = small(0);
  await expect(train(true)).rejects.toThrow(/no memory/);
  expect(session.version).toBe(0);
  session.refuse = null;
});

test('a value is computed in smaller pieces, too, waited for or not', async () => {
  small(4);
  const x = tensor(Float32Array.from({ length: 100 }, (_, i) => i));
  const [rows] = data.dataset(x).slice(0, 100).all();
  expect(rows.mul(2).sum().item()).toBe(9900);
  expect(cluster.microShard).toBe(4);
  small(4);
  const [again] = data
    .dataset(tensor(x.toArray() as number[]))
    .slice(0, 100)
    .all();
  expect([...(await again.mul(2).sum().data())]).toEqual([9900]);
});

test('what cannot be cut is not tried again', async () => {
  const session = small(10);
  const w = tensor([1], { requiresGrad: true });
  const opt = new optim.SGD([w], { lr: 0.1 });
  const [rows] = data
    .dataset(tensor(new Float32Array(40).fill(1)))
    .slice(0, 40)
    .all();
  // The logarithm of a sum over the batch is no sum over micro-shards.
  rows.mul(w).sum().log().mul(rows.sum().exp()).backward();
  await expect(opt.step()).rejects.toThrow(/no memory/);
  expect(cluster.microShard).toBe(32);
  expect(session.version).toBe(0);
});

test('another shortage is an error as before', async () => {
  const session = freshSession();
  session.refuse = ({ kind }) => (kind === 'execute' ? new RavenError('limit', 'too many') : null);
  await expect(train(true)).rejects.toThrow('too many');
  expect(cluster.microShard).toBe(32);
});
