/** @file Stop while a cell trains on the kernel's own cluster: quick, variables kept, the cluster still usable. */

import { JupyterClient } from './lib/jupyterClient.js';

const SET_UP = `
import { cluster, tensor, nn, optim } from 'ravenlab';
const x = tensor([[1, 2], [3, 4]]);
const model = new nn.Linear(2, 1);
const opt = new optim.SGD(model.parameters(), { lr: 0.01 });
let steps = 0;
function step() {
  const loss = model.forward(x).pow(2).mean();
  loss.backward();
  opt.step();
  steps++;
  return loss;
}`;

describe('a cell that trains', () => {
  let client: JupyterClient;
  beforeAll(async () => {
    client = await JupyterClient.start({ env: { RAVENLAB_LOCAL_WORKERS: '1' } });
    expect((await client.execute(SET_UP)).error).toBeUndefined();
    expect((await client.execute('step().item()')).error).toBeUndefined();
  }, 60_000);
  afterAll(() => client.close());

  it.each([
    ['blocks on every loss', 'while (true) { step().item(); }'],
    ['blocks and catches everything', 'while (true) { try { step().item(); } catch {} }'],
    ['awaits every loss', 'while (true) { await step().data(); }'],
    ['awaits and catches everything', 'for (;;) { try { await step().data(); } catch {} }'],
  ])('is stopped while it %s', async (_, code) => {
    const before = Number((await client.execute('steps')).result);
    const { done } = client.startExecute(code);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const stopMs = await client.interrupt();
    expect((await done).error?.ename).toBe('KeyboardInterrupt');
    expect(stopMs).toBeLessThan(1_000);
    const after = (await client.execute('steps')).result;
    expect(Number(after)).toBeGreaterThan(before);
    await client.execute('await new Promise((r) => setTimeout(r, 100))');
    expect((await client.execute('steps')).result).toBe(after);
    expect(await client.execute('Number.isFinite(step().item())')).toMatchObject({
      error: undefined,
      result: 'true',
    });
  });

  it('runs finally blocks once when Stop cuts off a wait', async () => {
    // Without workers the wait is long: Stop cannot fall on what the cell itself does between two.
    expect((await client.execute('await cluster.scale(0)')).error).toBeUndefined();
    const { done } = client.startExecute(
      'let cleaned = 0; try { while (true) await step().data(); } finally { cleaned++; }',
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    await client.interrupt();
    expect((await done).status).toBe('error');
    expect((await client.execute('cleaned')).result).toBe('1');
  });
});
