/**
 * @file What a person sees and can do when things go wrong, in a real JupyterLab: a worker is paused and taken back from its
 * row, the engine is killed under a training cell, the kernel is restarted and takes its run up again.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import type { Lab } from './lib/lab.js';
import { startLab } from './lib/lab.js';
import { LabPage, startBrowser } from './lib/page.js';

const SETUP_MS = 60_000;
const TRAIN_MS = 90_000;
/** Long enough that a fault falls into the middle. */
const EPOCHS = 150;
const ENDLESS_EPOCHS = 20_000;

const SETUP = `
import { cluster, data, manualSeed, nn, optim, progress, tensor } from 'ravenlab';
const points = Array.from({ length: 512 }, (_, i) => Array.from({ length: 32 }, (_, j) => Math.sin(i * (j + 1))));
const sides = points.map((point) => Number(point[0] + point[3] > 0));
const samples = data.dataset(tensor(points), tensor(sides, { dtype: 'int32' }));
function build() {
  manualSeed(1);
  const model = new nn.Sequential(new nn.Linear(32, 64), new nn.ReLU(), new nn.Linear(64, 2));
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
  const loader = data.loader(samples, { batchSize: 128, shuffle: true, seed: 1 });
  return { model, optimizer, loader };
}
async function train(parts, epochs, resume = null) {
  let last = NaN;
  for (const epoch of progress(epochs, { resume })) {
    for (const [x, y] of parts.loader) {
      const loss = nn.crossEntropy(parts.model.call(x), y);
      loss.backward();
      parts.optimizer.step();
      last = await loss.item();
    }
  }
  return 'last loss ' + last;
}
await cluster.ready();
`;

let lab: Lab;
let browser: Browser;
let page: LabPage;

beforeAll(async () => {
  [lab, browser] = await Promise.all([startLab(), startBrowser()]);
  page = await LabPage.open(browser, lab);
  await page.command('Show the Cluster Panel');
  await page.newNotebook('TypeScript (RavenLab)');
  await page.runCell(SETUP);
  await page.waitForKernel('idle', SETUP_MS);
}, SETUP_MS * 2);

afterAll(async () => {
  await browser.close();
  await lab.stop();
});

function enginePid(): number {
  const engines = join(lab.ravenHome, 'engines');
  const [engineId, ...others] = readdirSync(engines);
  if (engineId === undefined || others.length > 0) {
    throw new Error(`expected one engine in ${engines}, found ${String(1 + others.length)}`);
  }
  const address = JSON.parse(readFileSync(join(engines, engineId, 'engine.json'), 'utf8')) as {
    readonly pid: number;
  };
  return address.pid;
}

async function stepNow(): Promise<number> {
  const digits = /step ([\d,]+)/.exec(await page.value('step'))?.[1] ?? 'NaN';
  return Number(digits.replaceAll(',', ''));
}

const stateOf = async (workerId: string) =>
  (await page.rows()).find((row) => row.workerId === workerId)?.state;

/** Result of a cell that trains from the beginning to the end. */
const finished = (): Promise<string> => page.result(TRAIN_MS);

let undisturbed = '';

test('by keyboard alone a worker is paused from its row, taken back, and not banned by a slip', async () => {
  await page.runCell(`await train(build(), ${String(EPOCHS)})`);
  await page.until('two workers at work', 30_000, async () => {
    return (await page.rows()).filter(({ state }) => state === 'busy').length >= 2;
  });
  const [first] = await page.rows();
  const workerId = first?.workerId ?? '';
  const row = page.panel.locator(`tr[data-worker="${workerId}"]`);
  const actions = row.getByRole('group', { name: 'Actions' }).getByRole('button');
  const names = await actions.evaluateAll((buttons) =>
    buttons.map((button) => button.getAttribute('aria-label')?.split(/\s/, 1)[0]),
  );
  expect(names).toEqual(['Drain', 'Pause', 'Ban']);
  await row.getByRole('button', { name: /^Drain/ }).focus();
  await page.page.keyboard.press('Tab');
  expect(await row.locator('.rvn-rowActions').evaluate((e) => getComputedStyle(e).opacity)).toBe(
    '1',
  );
  await page.page.keyboard.press('Enter');
  await page.until('paused', 5_000, async () => (await stateOf(workerId)) === 'paused');
  await row.getByText('Paused').first().waitFor();

  await row.getByRole('button', { name: /^Ban/ }).press('Enter');
  const dialog = page.page.locator('.jp-Dialog');
  await dialog.getByText('It is sent away').waitFor();
  await page.page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  expect(await stateOf(workerId)).toBe('paused');

  await row.getByRole('button', { name: /^Resume/ }).press('Enter');
  await page.until('back at work', 10_000, async () => (await stateOf(workerId)) !== 'paused');
  undisturbed = await finished();
  expect(undisturbed).toMatch(/last loss \d/);
}, 120_000);

test('the engine is killed while it trains: the cell goes on, the panel says so, the loss has the same bits', async () => {
  await page.runCell(`await train(build(), ${String(EPOCHS)})`);
  await page.until('the run to be under way', 30_000, async () => {
    const step = await stepNow();
    return step > 100 && step < 4 * EPOCHS;
  });
  const killed = enginePid();
  process.kill(killed, 'SIGKILL');
  await page.panel.locator('.rvn-head .rvn-pill', { hasText: 'Starting' }).waitFor();
  expect((await page.rows()).filter(({ state }) => state === 'busy')).toEqual([]);
  const notice = page.panel
    .getByRole('list', { name: 'Notices' })
    .getByRole('listitem')
    .filter({ hasText: 'The engine was started again' });
  await notice.waitFor({ timeout: 20_000 });
  await page.until('live rows', 20_000, async () => {
    return (await page.rows()).some(({ state }) => state === 'busy');
  });
  expect(await finished()).toBe(undisturbed);
  expect(enginePid()).not.toBe(killed);
  await notice.getByRole('button', { name: 'Dismiss this notice' }).press('Enter');
  await notice.waitFor({ state: 'detached' });
}, 150_000);

test('after a restart of the kernel cluster.attach() gives the run, and its curve goes on', async () => {
  await page.runCell(`const parts = build(); await train(parts, ${String(ENDLESS_EPOCHS)})`);
  await page.until('the new run to be under way', 30_000, async () => {
    const step = await stepNow();
    return step > 40 && step < 4 * EPOCHS;
  });
  const before = await stepNow();
  await page.restartKernel();
  await page.panel.locator('.rvn-content[data-phase="live"]').waitFor({ timeout: 10_000 });
  await page.until('the run, before any cell', 10_000, async () => (await stepNow()) >= before);
  await page.runCell(SETUP);
  await page.waitForKernel('idle', SETUP_MS);
  await page.runCell(
    'const run = await cluster.attach(); const parts = build(); await run?.restore(parts); `at ${run?.step}`',
  );
  const at = Number(/at (\d+)/.exec(await page.result(SETUP_MS))?.[1]);
  expect(at).toBeGreaterThanOrEqual(before);
  await page.runCell(`await train(parts, ${String(ENDLESS_EPOCHS)}, run)`);
  await page.until('steps behind the cut', 30_000, async () => (await stepNow()) > at + 20);
  const curve = page.panel.locator('.rvn-curve svg');
  expect(await curve.getAttribute('aria-label')).toMatch(/^Loss from 0\.[67]\d* to /);
  await page.panel.getByRole('button', { name: 'Stop', exact: true }).click();
  await page.waitForKernel('idle', 10_000);
}, 150_000);

test('none of this made our files complain in the browser console', () => {
  expect(page.problems).toEqual([]);
});
