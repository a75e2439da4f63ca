/**
 * @file Cells that use the package `ravenlab` in a real kernel, with its engine and its worker processes. What the API
 * means is tested on the oracle session (test/unit/api); this is that the same cells do the same on real workers.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JupyterClient } from './lib/jupyterClient.js';
import type { Execution } from './lib/jupyterClient.js';

const CELL_MS = 60_000;

async function run(client: JupyterClient, code: string): Promise<Execution> {
  return client.execute(code, { timeoutMs: CELL_MS, allowStdin: true });
}

/** Runs a cell that must not fail; returns what it printed. */
async function output(client: JupyterClient, code: string): Promise<string> {
  const execution = await run(client, code);
  expect(execution.error).toBeUndefined();
  return execution.stdout.trim();
}

const SETUP = `
import { cluster, data, manualSeed, nn, noGrad, optim, tensor, zeros } from 'ravenlab';
manualSeed(11);
class Net extends nn.Module {
  conv = new nn.Conv2d(1, 4, 3, { padding: 1 });
  norm = new nn.BatchNorm2d(4);
  out = new nn.Linear(4 * 3 * 3, 3);
  forward(x) {
    const h = this.norm.call(this.conv.call(x)).relu().maxPool2d(2).dropout(0.2, this.training);
    return this.out.call(h.flatten(1));
  }
}
/** Three kinds of pictures: where the bright square is decides the class. */
const pixels = new Float32Array(300 * 36);
const classes = Int32Array.from({ length: 300 }, (_, i) => i % 3);
classes.forEach((kind, i) => {
  for (let y = 0; y < 3; y++) for (let x = 0; x < 2; x++) pixels[i * 36 + (y + kind) * 6 + x + (i % 4)] = 1;
});
const set = data.dataset(tensor(pixels, { shape: [300, 1, 6, 6] }), tensor(classes));
async function train(steps) {
  manualSeed(3);
  const model = new Net();
  const opt = new optim.Adam(model.parameters(), { lr: 0.02 });
  const losses = [];
  while (losses.length < steps) {
    for (const [x, y] of data.loader(set, { batchSize: 100, shuffle: true, seed: 1 })) {
      const loss = nn.crossEntropy(model.call(x), y);
      loss.backward();
      opt.step();
      losses.push(loss.item());
    }
  }
  return { model, losses };
}
`;

describe('cells that train', () => {
  let client: JupyterClient;
  let home: string;
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'ravenlab-api-test-'));
    client = await JupyterClient.start({ env: { RAVENLAB_HOME: home } });
    await output(client, SETUP);
    await output(client, 'await cluster.ready(2);');
  });
  afterAll(async () => {
    await client.close();
    rmSync(home, { recursive: true, force: true });
  });

  test('learn, with losses read synchronously', async () => {
    const text = await output(
      client,
      'const first = await train(30); console.log(first.losses[0], first.losses.at(-1));',
    );
    const [start = 0, end = 1] = text.split(' ').map(Number);
    expect(start).toBeGreaterThan(0.8);
    expect(end).toBeLessThan(0.3);
  });

  test('give the same bits with another number of workers', async () => {
    await output(client, 'await cluster.scale(1); const second = await train(30);');
    const same = 'console.log(JSON.stringify(first.losses) === JSON.stringify(second.losses));';
    expect(await output(client, same)).toBe('true');
    const weights =
      'const [a, b] = await Promise.all([first, second].map(({ model }) => model.out.weight.data()));' +
      'console.log(a.every((v, i) => Object.is(v, b[i])));';
    expect(await output(client, weights)).toBe('true');
    await output(client, 'await cluster.scale(2); await cluster.ready(2);');
  });

  test('run in a second kernel at the same time, on an engine of its own, to the same bits', async () => {
    const other = await JupyterClient.start({ env: { RAVENLAB_HOME: home } });
    try {
      await output(other, SETUP);
      await output(other, 'await cluster.ready(2);');
      const [here, there] = await Promise.all(
        [client, other].map((each) =>
          output(each, 'console.log(JSON.stringify((await train(30)).losses));'),
        ),
      );
      expect(JSON.parse(here ?? '')).toHaveLength(30);
      expect(there).toBe(here);
      const workers = 'console.log([...(await cluster.workers())].map((w) => w.workerId).join());';
      const [ours, theirs] = [await output(client, workers), await output(other, workers)];
      expect(ours.split(',').some((id) => theirs.includes(id))).toBe(false);
    } finally {
      await other.close();
    }
  });

  test('predict in evaluation mode, with running statistics that the steps have moved', async () => {
    const text = await output(
      client,
      `first.model.eval();
const [x, y] = set.all();
const share = noGrad(() => nn.accuracy(first.model.call(x), y));
console.log(await share.data(), first.model.norm.runningMean.toArray().every(Number.isFinite));`,
    );
    expect(Number(/\[ ([\d.]+)/.exec(text)?.[1])).toBeGreaterThan(0.9);
    expect(text).toContain('true');
  });

  test('name the line of a shape error', async () => {
    const { error } = await run(
      client,
      'const a = zeros([32, 64]);\n\na.matMul(zeros([128, 10]));',
    );
    expect(error?.evalue).toMatch(/matMul: inner sizes differ: \[32, 64\] × \[128, 10\]/);
    expect(error?.traceback).toMatch(/cell\[\d+\]\.ts:3|line 3/);
  });

  test('name step, op and line of a NaN, and keep the weights', async () => {
    const { error } = await run(
      client,
      `const w = tensor([1, -1], { requiresGrad: true });
const opt = new optim.SGD([w], { lr: 0.1 });
const z = w.mul(tensor([2, 3]))
  .log();
z.sum().backward();
await opt.step();`,
    );
    expect(error?.ename).toBe('NumericError');
    expect(error?.evalue).toMatch(
      /step 1: .*first non-finite value is in `log float32 \[2\]` at cell\[\d+\]\.ts:4/,
    );
    expect(await output(client, 'console.log(w.toArray().join())')).toBe('1,-1');
  });

  test('say that nobody computes, wait, and go on when a worker comes', async () => {
    await output(client, 'await cluster.scale(0);');
    const code =
      'setTimeout(() => void cluster.scale(2), 3000); console.log(await tensor([1, 2]).mul(2).data());';
    const execution = await run(client, code);
    expect(execution.error).toBeUndefined();
    expect(execution.stdout).toContain('[ 2, 4 ]');
    expect(`${execution.stdout}${execution.stderr}`).toMatch(/no worker/i);
  });

  test('that were stopped leave a model that the next cell trains on', async () => {
    await output(
      client,
      'manualSeed(3); const m = new Net(); const o = new optim.Adam(m.parameters());',
    );
    const loop = `let done = 0;
for (;;) {
  for (const [x, y] of data.loader(set, { batchSize: 100 })) {
    const loss = nn.crossEntropy(m.call(x), y);
    loss.backward();
    o.step();
    done++;
    if (done === 5) console.log('running');
  }
}`;
    const endless = run(client, loop);
    await client.waitFor((message) => String(message.content['text']).includes('running'), 'steps');
    await client.interrupt();
    expect((await endless).status).toBe('error');
    const text = await output(
      client,
      `const before = done;
const w0 = m.out.weight.toArray().flat();
const [x, y] = set.all();
nn.crossEntropy(m.call(x), y).backward();
await o.step();
console.log(before >= 5, o.steps > 0, w0.every(Number.isFinite), m.out.weight.toArray().flat().some((v, i) => v !== w0[i]));`,
    );
    expect(text).toBe('true true true true');
  });

  test('do not notice that the engine was killed: weights and optimizer are where they were', async () => {
    await output(client, 'const kept = JSON.stringify(m.out.weight.toArray());');
    const pids = await output(
      client,
      `import { execFileSync } from 'node:child_process';
const children = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)]).toString();
console.log(/(\\d+) .*engine\\/main/.exec(children)?.[1]);`,
    );
    process.kill(Number(pids), 'SIGKILL');
    const text = await output(
      client,
      `console.log(JSON.stringify(m.out.weight.mul(1).toArray()) === kept, (await train(6)).losses.every(Number.isFinite));`,
    );
    expect(text).toContain('true true');
  });
});
