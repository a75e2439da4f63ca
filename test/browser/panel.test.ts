/**
 * @file The panel beside real notebooks in a real JupyterLab: what it says without a cluster, and that neither a
 * busy cell, nor a restart, nor another kernel confuses it. Training is in quickstart.test.ts.
 */
import type { Browser } from 'playwright-core';
import type { Lab } from './lib/lab.js';
import { startLab } from './lib/lab.js';
import { LabPage, startBrowser } from './lib/page.js';

let lab: Lab;
let browser: Browser;
let page: LabPage;

beforeAll(async () => {
  [lab, browser] = await Promise.all([startLab(), startBrowser()]);
  page = await LabPage.open(browser, lab);
});

afterAll(async () => {
  await browser.close();
  await lab.stop();
});

test('without a notebook it says so and offers one', async () => {
  await page.command('Show the Cluster Panel');
  await page.panel.locator('[data-empty="none"]').waitFor();
  await page.panel.getByRole('button', { name: 'Open the quickstart' }).waitFor();
});

test('the quickstart is the first tile of the launcher, in view', async () => {
  const first = page.page.locator('.jp-Launcher .jp-LauncherCard').first();
  expect(await first.innerText()).toContain('Quickstart');
  const box = await first.boundingBox();
  expect(box!.y + box!.height).toBeLessThan(450);
});

test('a new notebook from the launcher tile connects the panel and the status bar', async () => {
  await page.newNotebook('TypeScript (RavenLab)');
  await page.panel.locator('.rvn-content[data-phase="live"]').waitFor();
  await page.panel.getByText('No workers yet').waitFor();
  await page.page.locator('.rvn-status', { hasText: '0 workers' }).waitFor();
});

test('during an endless cell the kernel still answers the panel', async () => {
  await page.runCell('while (true) {}');
  await page.waitForKernel('busy');
  const reloaded = Date.now();
  await page.page.reload();
  await page.waitForLab();
  await page.panel.locator('.rvn-content[data-phase="live"]').waitFor();
  expect(Date.now() - reloaded).toBeLessThan(30_000);
  await page.waitForKernel('busy');
  await page.interrupt();
  await page.waitForKernel('idle');
});

test('a restart of the kernel is shown, and the panel is live again within 5 s', async () => {
  await page.restartKernel();
  await page.panel.locator('.rvn-content[data-phase="live"]').waitFor({ timeout: 5_000 });
});

test('a Python notebook is left alone, and going back to ours connects again', async () => {
  await page.newNotebook('Python 3 (ipykernel)');
  await page.panel.locator('[data-empty="foreign"]').waitFor();
  await page.panel.getByText('Python 3 (ipykernel)').waitFor();
  await page.closeNotebook();
  await page.panel.locator('.rvn-content[data-phase="live"]').waitFor();
});

test('sections fold by keyboard and tell their state', async () => {
  const heading = page.panel.getByRole('button', { name: 'Payments' });
  await heading.focus();
  await page.page.keyboard.press('Enter');
  expect(await heading.getAttribute('aria-expanded')).toBe('false');
  expect(await page.panel.locator('[data-rvn="total"]').count()).toBe(0);
  await page.page.keyboard.press('Enter');
  await page.panel.locator('[data-rvn="total"]').waitFor();
});

test('none of this made our files complain in the browser console', () => {
  expect(page.problems).toEqual([]);
});
