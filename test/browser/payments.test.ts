/**
 * @file Payments as a beginner sees them, on the simulated chain that every engine starts: workers earn while a cell trains, Settle
 * pays them on the chain, deposits arrive, the ledger is a file, a refund brings back the rest.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import type { Lab } from './lib/lab.js';
import { startLab } from './lib/lab.js';
import { LabPage, startBrowser } from './lib/page.js';

const SETUP_MS = 60_000;
/** From the click to a confirmed block, read back and shown. */
const SETTLED_MS = 20_000;
const EARNING_MS = 30_000;
const IMAGES = resolve(__dirname, '..', '..', 'docs', 'images');

const TRAIN = `
import { cluster, data, manualSeed, nn, optim, progress, tensor } from 'ravenlab';
manualSeed(1);
const points = Array.from({ length: 512 }, (_, i) => Array.from({ length: 32 }, (_, j) => Math.sin(i * (j + 1))));
const sides = points.map((point) => Number(point[0] + point[3] > 0));
const samples = data.dataset(tensor(points), tensor(sides, { dtype: 'int32' }));
const model = new nn.Sequential(new nn.Linear(32, 256), new nn.ReLU(), new nn.Linear(256, 2));
const optimizer = new optim.Adam(model.parameters(), { lr: 0.001 });
await cluster.ready(2);
for (const epoch of progress(100000)) {
  for (const [x, y] of data.loader(samples, { batchSize: 128, shuffle: true, seed: 1 })) {
    const loss = nn.crossEntropy(model.call(x), y);
    loss.backward();
    optimizer.step();
    await loss.item();
  }
}
`;

let lab: Lab;
let browser: Browser;
let page: LabPage;

beforeAll(async () => {
  [lab, browser] = await Promise.all([startLab({ chain: 'simulated' }), startBrowser()]);
  page = await LabPage.open(browser, lab);
  await page.command('Show the Cluster Panel');
  await page.newNotebook('TypeScript (RavenLab)');
  await page.runCell(TRAIN);
}, SETUP_MS * 2);

afterAll(async () => {
  await browser.close();
  await lab.stop();
});

const payments = () => page.panel.getByRole('region', { name: 'Payments' });
const dialog = () => page.page.locator('.jp-Dialog');

const POWERS: Readonly<Record<string, number>> = { '': 0, m: -3, µ: -6, n: -9, p: -12 };

/** Coins, of a text like `1.961 µRVN` or of digits in the unit given. */
function coinsIn(text: string, unit = ''): number {
  const [, digits = 'NaN', prefix = ''] =
    /<?([\d,.]+)\s*([mµnp]?)(?:RVN)?/.exec(`${text} ${unit}`) ?? [];
  return Number(digits.replaceAll(',', '')) * 10 ** (POWERS[prefix] ?? NaN);
}

/** One column of the lanes, in coins. */
async function lanes(column: 'metered' | 'settled'): Promise<number[]> {
  const unit = (await payments().locator('.rvn-lanes thead th').first().textContent()) ?? '';
  const cells = await payments().locator(`.rvn-lanes td[data-rvn="${column}"]`).allTextContents();
  return cells.map((text) => coinsIn(text, unit));
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

async function balance(part: 'paid' | 'reserved' | 'free'): Promise<number> {
  return coinsIn((await payments().locator(`[data-rvn="${part}"]`).textContent()) ?? '');
}

test('the engine starts a chain of its own, and says that its coins are worth nothing', async () => {
  await payments()
    .locator('.rvn-pill', { hasText: 'Simulated chain' })
    .waitFor({ timeout: SETUP_MS });
  const chain = payments().locator('[data-rvn="chain"]');
  expect(await chain.textContent()).toContain('its coins are worth nothing');
  await payments().locator('[data-tx="reserve"][data-state="confirmed"]').first().waitFor();
}, 120_000);

test('what is earned while a cell trains is counted for each worker, and settled by itself where gas is free', async () => {
  await page.until('two workers that earn', EARNING_MS, async () => {
    return (await lanes('metered')).filter((amount) => amount > 0).length >= 2;
  });
  const before = sum(await lanes('metered'));
  await page.until('more earned', 30_000, async () => sum(await lanes('metered')) > before);
  await page.until('both settled', SETTLED_MS, async () => {
    return (await lanes('settled')).filter((amount) => amount > 0).length === 2;
  });
}, 120_000);

test('Settle now pays on the chain: the transaction is confirmed and settled amounts rise', async () => {
  const before = sum(await lanes('settled'));
  await payments().getByRole('button', { name: 'Settle now' }).click();
  await payments()
    .locator('[data-tx="settle"][data-state="confirmed"]')
    .first()
    .waitFor({ timeout: SETTLED_MS });
  await page.until(
    'settled amounts that rose',
    SETTLED_MS,
    async () => sum(await lanes('settled')) > before,
  );
  if (process.env['RAVENLAB_SCREENSHOTS'] === '1') await takePictures();
}, 60_000);

test('a deposit by the test account arrives', async () => {
  const before = await balance('free');
  await payments().getByRole('button', { name: 'Deposit…' }).click();
  await dialog().getByText('these coins are worth nothing').waitFor();
  await page.page.keyboard.type('5');
  await page.page.keyboard.press('Enter');
  await page.until('five coins more', SETTLED_MS, async () => (await balance('free')) > before + 4);
}, 60_000);

test('the ledger that is saved names every unit once, in order, lane by lane', async () => {
  await page.panel.getByRole('button', { name: 'Stop', exact: true }).click();
  await page.waitForKernel('idle', 10_000);
  await payments().getByRole('button', { name: 'Export…' }).click();
  const [download] = await Promise.all([
    page.page.waitForEvent('download'),
    dialog().getByRole('button', { name: 'Export' }).click(),
  ]);
  const rows = readFileSync(await download.path(), 'utf8')
    .split('\n')
    .map((line) => line.split(','))
    .filter(([n = '']) => /^\d+$/.test(n));
  expect(rows.length).toBeGreaterThan(20);
  const next = new Map<string, number>();
  for (const [n, job = '', payee = ''] of rows) {
    const lane = `${job} ${payee}`;
    const expected = next.get(lane) ?? 1;
    expect([lane, Number(n)]).toEqual([lane, expected]);
    next.set(lane, expected + 1);
  }
  expect(next.size).toBeGreaterThanOrEqual(2);
}, 60_000);

test('a refund brings back what is free', async () => {
  await payments().getByRole('button', { name: 'Refund…' }).click();
  await dialog().getByRole('button', { name: 'Refund' }).click();
  await payments()
    .locator('[data-tx="refund"][data-state="confirmed"]')
    .waitFor({ timeout: SETTLED_MS });
  await page.until('nothing free', SETTLED_MS, async () => (await balance('free')) < 1e-6);
}, 60_000);

test('none of this made our files complain in the browser console', () => {
  expect(page.problems).toEqual([]);
});

async function takePictures(): Promise<void> {
  await payments().evaluate((section) => section.scrollIntoView());
  await page.page
    .locator('.Toastify__toast')
    .first()
    .waitFor({ state: 'detached', timeout: 15_000 });
  await page.screenshot(resolve(IMAGES, 'payments-light.png'));
  await page.setTheme('JupyterLab Dark');
  await page.screenshot(resolve(IMAGES, 'payments-dark.png'));
  await page.setTheme('JupyterLab Light');
}
