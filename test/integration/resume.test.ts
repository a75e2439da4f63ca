/**
 * @file Training that is cut in the middle and goes on, in real kernels with real workers: the weights have the bits of a run that
 * nothing happened to. Where a loop can be cut is enumerated on the oracle session (test/unit/api/resume); this is that it holds
 * between processes.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JupyterClient } from './lib/jupyterClient.js';

const CELL_MS = 60_000;
const STEPS = 24;

/** Defines the models, the data and one loop for all cases; `hash` is the SHA-256 of all weights and running statistics. */
const SETUP = `
import { cluster, data, load, manualSeed, nn, optim, progress, rand, save, tensor } from 'ravenlab';
import { createHash } from 'node:crypto';

class Mlp extends nn.Module {
  hidden = new nn.Linear(12, 32);
  norm = new nn.BatchNorm1d(32);
  out = new nn.Linear(32, 3);
  forward(x) {
    return this.out.call(this.norm.call(this.hidden.call(x)).relu().dropout(0.25, this.training));
  }
}
class Reader extends nn.Module {
  cells = new nn.GRU(3, 16, { batchFirst: true });
  out = new nn.Linear(16, 3);
  forward(x) {
    const { output } = this.cells.call(x.reshape([-1, 4, 3]));
    return this.out.call(output.at([':', 3]).dropout(0.2, this.training));
  }
}
const values = Float32Array.from({ length: 300 * 12 }, (_, i) => Math.sin(i * i + 0.3 * i));
const classes = Int32Array.from({ length: 300 }, (_, i) => (i * 7 + (i >> 3)) % 3);

function build(kind) {
  manualSeed(21);
  const model = kind === 'gru' ? new Reader() : new Mlp();
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01, weightDecay: 1e-3 });
  const schedule = optim.oneCycle(optimizer, { maxLr: 0.05, steps: ${STEPS} });
  const set = data.dataset(tensor(values, { shape: [300, 12] }), tensor(classes));
  const loader = data.loader(set, { batchSize: 80, shuffle: true, seed: 9 });
  return { model, optimizer, schedule, loader };
}
async function train({ model, optimizer, schedule, loader }, resume, behind = async () => {}) {
  for (const epoch of progress(${STEPS} / loader.length, { resume })) {
    for (const [x, y] of loader) {
      const loss = nn.crossEntropy(model.call(x), y);
      loss.backward();
      optimizer.step();
      schedule.step();
      loss.item();
      await behind();
    }
  }
}
async function hash(model) {
  const sum = createHash('sha256');
  for (const [name, { data: value }] of await model.stateDict()) sum.update(name).update(value);
  return sum.digest('hex');
}
await cluster.ready();
`;

let home: string;
const clients: JupyterClient[] = [];

async function startKernel(workers: number, backend = 'onnx-cpu'): Promise<JupyterClient> {
  const client = await JupyterClient.start({
    cwd: home,
    env: {
      RAVENLAB_HOME: home,
      RAVENLAB_LOCAL_WORKERS: String(workers),
      RAVENLAB_LOCAL_BACKENDS: backend,
    },
  });
  clients.push(client);
  return client;
}

/** Runs a cell that must not fail; returns what it printed last. */
async function output(client: JupyterClient, code: string): Promise<string> {
  const execution = await client.execute(code, { timeoutMs: CELL_MS });
  expect(execution.error).toBeUndefined();
  return execution.stdout.trim().split('\n').at(-1) ?? '';
}

async function enginePid(client: JupyterClient): Promise<number> {
  const status = "{ kind: 'command', op: 'status', args: {} }";
  const pid = await output(
    client,
    `const { value } = await globalThis[Symbol.for('ravenlab.session')].request(${status});
console.log(value.enginePid);`,
  );
  return Number(pid);
}

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'ravenlab-resume-test-'));
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});
afterAll(() => {
  rmSync(home, { recursive: true, force: true });
});

const WHOLE = (kind: string): string => `
const whole = build('${kind}');
await train(whole, null);
console.log(await hash(whole.model));
`;

describe.each(['mlp', 'gru'])('%s', (kind) => {
  test('a file made by one kernel is gone on with by another one, with other workers', async () => {
    const first = await startKernel(2);
    await output(first, SETUP);
    const expected = await output(first, WHOLE(kind));
    expect(expected).toMatch(/^[0-9a-f]{64}$/);
    // In the middle of the third epoch; the loop is left by break, the file says where it was.
    const cut = `
const parts = build('${kind}');
outer: for (const epoch of progress(6)) for (const [x, y] of parts.loader) {
  nn.crossEntropy(parts.model.call(x), y).backward();
  await parts.optimizer.step();
  parts.schedule.step();
  if (parts.optimizer.steps % 5 === 0) await save('${kind}.safetensors', parts);
  if (parts.optimizer.steps === 11) break outer;
}`;
    await output(first, cut);
    await first.close();

    const second = await startKernel(1);
    await output(second, SETUP);
    const text = await output(
      second,
      `
rand([3]).toArray();
const parts = build('${kind}');
const at = await load('${kind}.safetensors', parts);
console.log(JSON.stringify(at));`,
    );
    expect(JSON.parse(text)).toEqual({ step: 10, epoch: 2, batch: 2 });
    const resumed = 'await train(parts, at); console.log(await hash(parts.model));';
    expect(await output(second, resumed)).toBe(expected);
  });

  test('what the user thread leaves behind when it dies goes on in the next one', async () => {
    const client = await startKernel(2);
    await output(client, SETUP);
    const expected = await output(client, WHOLE(kind));
    const dying = await client.execute(
      `let steps = 0;
await train(build('${kind}'), null, async () => { if (++steps === 13) process.exit(3); });`,
      { timeoutMs: CELL_MS },
    );
    expect(dying.error?.evalue).toMatch(/process.exit\(3\)/);
    await output(client, SETUP);
    const found = await output(
      client,
      'const run = await cluster.attach(); console.log(JSON.stringify([run.step, run.epoch, run.batch, run.losses.length]));',
    );
    expect(JSON.parse(found)).toEqual([13, 3, 1, 13]);
    const resumed = `
const parts = build('${kind}');
await run.restore(parts);
await train(parts, run);
console.log(await hash(parts.model));`;
    expect(await output(client, resumed)).toBe(expected);
    const job =
      'const { job } = await cluster.status(); console.log(job.runId === run.id, job.step, job.lossSeries.points.length);';
    expect(await output(client, job)).toBe(`true ${String(STEPS)} ${String(STEPS)}`);
  });

  test.each([
    ['its kernel is killed', false],
    ['its kernel and its engine are killed', true],
  ])('goes on in the next kernel when %s', async (_, killsEngine) => {
    const first = await startKernel(2);
    await output(first, SETUP);
    const expected = await output(first, WHOLE(kind));
    const pid = await enginePid(first);
    const endless = first.execute(
      `let steps = 0;
await train(build('${kind}'), null, async () => {
  if (++steps < 13) return;
  console.log('step 13');
  // However fast the machine, it is killed in the middle.
  await new Promise(() => setInterval(() => undefined, 1000));
});`,
      { timeoutMs: CELL_MS },
    );
    const died = expect(endless).rejects.toThrow(/the kernel exited/);
    await first.waitFor((message) => String(message.content['text']).includes('step 13'), 'step');
    first.process.kill('SIGKILL');
    if (killsEngine) process.kill(pid, 'SIGKILL');
    await died;

    const second = await startKernel(2);
    await output(second, SETUP);
    const found = await output(
      second,
      `const startedMs = performance.now();
const run = await cluster.attach();
console.log(JSON.stringify([run.step, Math.round(performance.now() - startedMs)]));`,
    );
    const [step, attachMs] = JSON.parse(found) as [number, number];
    // Steps that were on their way are done all the same; an engine that was killed goes back to its last image.
    expect(step).toBeGreaterThanOrEqual(killsEngine ? 1 : 13);
    expect(step).toBeLessThanOrEqual(STEPS);
    expect(attachMs).toBeLessThan(2_000);
    const resumed = `
const parts = build('${kind}');
await run.restore(parts);
await train(parts, run);
console.log(await hash(parts.model));`;
    expect(await output(second, resumed)).toBe(expected);
  });
});

test('a kernel that begins anew waits for nobody whose bits only the last kernel had', async () => {
  const first = await startKernel(1, 'tfjs-cpu');
  await output(first, SETUP);
  const trained = await output(first, WHOLE('mlp'));
  const pid = await enginePid(first);
  first.process.kill('SIGKILL');
  process.kill(pid, 'SIGKILL');

  // The same notebook, on workers of another class, as after an update of the software.
  const second = await startKernel(1);
  await output(second, SETUP);
  expect(await output(second, 'console.log(tensor([1, 2]).add(1).sum().item())')).toBe('5');
  const anew = await output(second, WHOLE('mlp'));
  expect(anew).toMatch(/^[0-9a-f]{64}$/);
  expect(anew).not.toBe(trained);
});

describe('the guide', () => {
  const guide = readFileSync(join(import.meta.dirname, '../../docs/guide-resume.md'), 'utf8');
  const cells = [...guide.matchAll(/```ts\n(.*?)```/gs)].map(([, code = '']) => code);
  const [build = '', attach = '', loop = '', checkpoint = '', read = ''] = cells;
  const HASH = `
import { createHash } from 'node:crypto';
const sum = createHash('sha256');
for (const [, { data: value }] of await model.stateDict()) sum.update(value);
console.log(sum.digest('hex'), optimizer.steps);`;
  /** The loop with one more line at the end of its body. */
  const loopWith = (line: string): string => loop.replace(/( *schedule\.step\(\);)/, `$1\n${line}`);

  test('tells the truth: killed and run again from the top, and read from its file', async () => {
    expect(cells).toHaveLength(5);
    const client = await startKernel(2);
    for (const cell of [build, attach, loop]) await output(client, cell);
    const expected = await output(client, HASH);
    expect(expected).toMatch(/ 40$/);

    for (const cell of [build, attach]) await output(client, cell);
    const killed = loopWith(`${checkpoint}\nif (optimizer.steps === 26) process.exit(1);`);
    const dying = await client.execute(killed, { timeoutMs: CELL_MS });
    expect(dying.error?.evalue).toMatch(/process.exit\(1\)/);

    for (const cell of [build, attach, loop]) await output(client, cell);
    expect(await output(client, HASH)).toBe(expected);

    await output(client, build);
    expect(await output(client, read)).toBe('{ step: 20, epoch: 4, batch: 4 }');
    await output(client, loop.replace('resume: run', 'resume: at'));
    expect(await output(client, HASH)).toBe(expected);
  });
});
