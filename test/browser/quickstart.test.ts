/**
 * @file The promise of the README, in a real JupyterLab: Run All on the quickstart trains on workers, live in the
 * panel; Stop answers within a second and keeps the variables; an endless cell does not freeze the panel.
 * RAVENLAB_SCREENSHOTS=1 renews docs/images from this run.
 */
import { resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import type { Lab } from './lib/lab.js';
import { startLab } from './lib/lab.js';
import { LabPage, startBrowser } from './lib/page.js';

const QUICKSTART = '01-quickstart.ipynb';
const IMAGES = resolve(__dirname, '..', '..', 'docs', 'images');
/** From Run All to the first finished step: engine, workers and data start in here. */
const FIRST_STEPS_MS = 60_000;
const STOP_LIMIT_MS = 1_000;

let lab: Lab;
let browser: Browser;
let page: LabPage;

beforeAll(async () => {
  [lab, browser] = await Promise.all([startLab({ notebooks: [QUICKSTART] }), startBrowser()]);
  page = await LabPage.open(browser, lab);
  await page.openNotebook(QUICKSTART);
  await page.waitForSession();
});

afterAll(async () => {
  await browser.close();
  await lab.stop();
});

function numberIn(text: string): number {
  const digits = /[\d,]+(?:\.\d+)?/.exec(text)?.[0] ?? 'NaN';
  return Number(digits.replaceAll(',', ''));
}

/** The README's pictures: training well under way, its cell in view, in both themes. */
async function takePictures(): Promise<void> {
  await page.until('half of the run', 180_000, async () => {
    const bar = page.panel.getByRole('progressbar');
    return Number(await bar.getAttribute('aria-valuenow')) >= 50;
  });
  await page.notebook.locator('.jp-CodeCell', { hasText: 'optim.Adam' }).scrollIntoViewIfNeeded();
  await page.screenshot(resolve(IMAGES, 'quickstart-light.png'));
  await page.setTheme('JupyterLab Dark');
  await page.screenshot(resolve(IMAGES, 'quickstart-dark.png'));
  await page.setTheme('JupyterLab Light');
}

test('Run All trains on at least two workers, whose units and earnings rise', async () => {
  await page.command('Run All Cells');
  await page.until('two contributors with finished units', FIRST_STEPS_MS, async () => {
    const rows = await page.rows();
    return rows.filter((row) => numberIn(row.units) > 0).length >= 2;
  });
  const before = await page.rows();
  const totalBefore = await page.metered();
  await page.until('more units and more money for everyone', 20_000, async () => {
    const rows = await page.rows();
    const total = await page.metered();
    const haveAllMore = before.every((old) => {
      const now = rows.find((row) => row.workerId === old.workerId);
      return now !== undefined && numberIn(now.units) > numberIn(old.units);
    });
    return haveAllMore && total > totalBefore;
  });
});

test('the loss curve falls while epochs and steps count up', async () => {
  await page.panel.locator('.rvn-curve svg').waitFor();
  const firstStep = numberIn(await page.value('step'));
  await page.until('a loss of half the first one', 60_000, async () => {
    const label = (await page.panel.locator('.rvn-curve svg').getAttribute('aria-label')) ?? '';
    const [, first = '', last = ''] = /Loss from (\S+) to (\S+) over/.exec(label) ?? [];
    return Number(last) < Number(first) / 2;
  });
  expect(numberIn(await page.value('step'))).toBeGreaterThan(firstStep);
  expect(await page.value('epoch')).toMatch(/^Epoch \d+ of \d+$/);
  if (process.env['RAVENLAB_SCREENSHOTS'] === '1') await takePictures();
}, 240_000);

test('Stop ends the training cell within a second, and its variables are still there', async () => {
  await page.waitForKernel('busy', 1_000);
  const stop = page.panel.getByRole('button', { name: 'Stop', exact: true });
  await stop.click();
  const clickedMs = performance.now();
  await page.waitForKernel('idle', 5_000);
  const tookMs = performance.now() - clickedMs;
  console.log(`Stop during training: idle ${tookMs.toFixed(0)} ms after the click`);
  expect(tookMs).toBeLessThan(STOP_LIMIT_MS);
  await page.panel.locator('.rvn-pill', { hasText: 'Stopped' }).waitFor();
  await page.runCell('[...model.parameters()].length');
  expect(Number(await page.result())).toBeGreaterThan(0);
});

test('during an endless cell the panel still takes commands and shows their effect', async () => {
  const workers = (await page.rows()).filter((row) => row.state !== 'gone').length;
  await page.runCell('while (true) {}');
  await page.waitForKernel('busy');
  await page.command('Set the Number of Local Workers');
  const field = page.page.locator('.jp-Dialog input');
  await field.fill(String(workers + 1));
  await field.press('Enter');
  await page.until('one worker more', 20_000, async () => {
    const rows = (await page.rows()).filter((row) => row.state !== 'gone');
    return rows.length === workers + 1;
  });
  await page.waitForKernel('busy', 1_000);
  await page.interrupt();
  await page.waitForKernel('idle', 5_000);
});

test('Invite copies a join command and shows it', async () => {
  await page.panel.getByRole('button', { name: 'Invite' }).click();
  const field = page.panel.getByRole('textbox', { name: 'Join command' });
  await field.waitFor();
  const command = await field.inputValue();
  expect(command).toMatch(/^npm run worker -- join \S+$/);
  const copied = await page.page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toBe(command);
  await page.panel.getByRole('button', { name: 'Close the invitation' }).click();
});

test('a refused clipboard leaves the command selected for copying by hand', async () => {
  await page.page.context().clearPermissions();
  await page.page.evaluate(() => {
    const refuse = () => Promise.reject(new DOMException('refused', 'NotAllowedError'));
    Object.defineProperty(navigator.clipboard, 'writeText', { value: refuse });
  });
  await page.panel.getByRole('button', { name: 'Invite' }).click();
  await page.panel.getByText('Copy the join command by hand').waitFor();
  const selected = await page.page.evaluate(() => {
    const field = document.activeElement as HTMLTextAreaElement;
    return field.value.slice(field.selectionStart, field.selectionEnd);
  });
  expect(selected).toMatch(/^npm run worker -- join /);
  await page.panel.getByRole('button', { name: 'Close the invitation' }).click();
});

test('the table sorts by its heads and says so to assistive technology', async () => {
  const table = page.panel.getByRole('region', { name: 'Contributors' });
  const head = table.getByRole('columnheader', { name: 'Units' });
  expect(await head.getAttribute('aria-sort')).toBe('descending');
  await head.getByRole('button').press('Enter');
  expect(await head.getAttribute('aria-sort')).toBe('ascending');
  const units = (await page.rows()).map((row) => numberIn(row.units));
  expect(units).toEqual([...units].sort((a, b) => a - b));
  await head.getByRole('button').press('Enter');
});

test('the panel is readable in the dark theme', async () => {
  await page.setTheme('JupyterLab Dark');
  const colours = await page.panel.locator('.rvn-head h1').evaluate((title) => {
    const channels = (value: string) => (value.match(/\d+/g) ?? []).slice(0, 3).map(Number);
    const mean = (value: string) => channels(value).reduce((sum, part) => sum + part, 0) / 3;
    const panel = title.closest('.rvn-panel');
    return {
      text: mean(getComputedStyle(title).color),
      ground: mean(panel === null ? '' : getComputedStyle(panel).backgroundColor),
    };
  });
  expect(colours.text - colours.ground).toBeGreaterThan(120);
});

test('after a kernel restart the panel is live again, with the run that the engine still holds', async () => {
  await page.restartKernel();
  await page.panel.locator('.rvn-content[data-phase="live"]').waitFor({ timeout: 5_000 });
  await page.panel.locator('.rvn-pill', { hasText: 'Stopped' }).waitFor({ timeout: 10_000 });
});

test('none of this made our files complain in the browser console', () => {
  expect(page.problems).toEqual([]);
});
