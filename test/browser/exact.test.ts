/** @file The exact tier gives a browser the bits that it gives Node (test/conformance/exact.test.ts). */
import type { Browser } from 'playwright-core';
import { EXACT_BITS, exactCases } from '../conformance/lib/exactCases.js';
import { startBrowser } from './lib/page.js';
import type { SourceServer } from './lib/sourceServer.js';
import { serveSources } from './lib/sourceServer.js';

let browser: Browser;
let server: SourceServer;
beforeAll(async () => {
  [browser, server] = await Promise.all([startBrowser(), serveSources()]);
});
afterAll(async () => {
  await browser.close();
  server.close();
});

test('the weights after 50 steps in Chromium are the bits that Node gives', async () => {
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(server.url);
  // As text: jest would make a require() of an import().
  const cases = JSON.stringify(exactCases());
  const hashes: unknown = await page.evaluate(
    `import('/test/conformance/lib/exactRun.js').then((run) => run.trainExactly(${cases}))`,
  );
  expect(errors).toEqual([]);
  expect(hashes).toEqual(EXACT_BITS);
});
