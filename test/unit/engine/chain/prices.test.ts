/** @file What work costs: settings in coins of a token, as base units that both sides count in. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { amountOfWork, priceText } from '@ravenlab/protocol';
import {
  DEFAULT_PRICE_TEXTS,
  TEST_PRICE,
  priceOfChoice,
  rateOf,
} from '../../../../kernel/src/engine/chain/prices.js';
import { policyFor } from '../../../../kernel/src/engine/treasury/makeTreasury.js';

const home = mkdtempSync(join(tmpdir(), 'ravenlab-prices-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const price = (perTflop: string, perTib = '0') => ({ perTflop, perTib });

function chosen(settings: unknown) {
  const file = join(home, 'chain.json');
  writeFileSync(file, typeof settings === 'string' ? settings : JSON.stringify(settings));
  return priceOfChoice({ kind: 'settings', file });
}

test('a TFLOP costs what the settings say, whatever decimals the token has', () => {
  for (const decimals of [6, 8, 18]) {
    const rate = rateOf(price('0.25'), decimals);
    const coin = 10n ** BigInt(decimals);
    expect(amountOfWork(rate, { flops: 1e12, bytes: 0 })).toBe(coin / 4n);
    expect(priceText({ currency: 'USDC', decimals, rate })).toBe('0.25 USDC per TFLOP');
  }
});

test('data has a price of its own', () => {
  const rate = rateOf(price('0', '1.048576'), 6);
  expect(rate).toEqual({ perGflop: 0n, perMib: 1n });
  expect(amountOfWork(rate, { flops: 1e12, bytes: 2 ** 40 })).toBe(1_048_576n);
});

test.each([
  [price('0.0005'), 6, /price\.perTflop is 0\.0005, expected a multiple of 0\.001: .* 6 decimals/],
  [price('0.001'), 2, /'0\.001' is finer than the token, which has 2 decimals/],
  [price('0.01'), 2, /expected a multiple of 10:/],
  [price('1', '0.5'), 6, /price\.perTib is 0\.5, expected a multiple of 1\.048576/],
  [price('0'), 18, /all work would be free.*RAVENLAB_CHAIN=off/],
  [price('-1'), 18, /price\.perTflop '-1': expected a number/],
])('%j with %i decimals is refused', (texts, decimals, message) => {
  expect(() => rateOf(texts, decimals)).toThrow(message);
});

test('an engine knows the price of its settings before its chain is there', () => {
  expect(chosen({ decimals: 6, price: { perTflop: '0.002' } })).toEqual({
    ...{ currency: 'coins', decimals: 6, rate: { perGflop: 2n, perMib: 0n } },
  });
  expect(chosen({})).toMatchObject({ decimals: 18, rate: TEST_PRICE.rate });
  expect(priceOfChoice({ kind: 'simulated' })).toBe(TEST_PRICE);
  expect(priceOfChoice({ kind: 'off' })).toBe(TEST_PRICE);
});

test('settings that are none are the problem of the chain, not of training', () => {
  for (const bad of [
    '{',
    'null',
    { decimals: 'six' },
    { decimals: 1e9 },
    { price: { perTflop: 1 } },
  ]) {
    expect(chosen(bad)).toBe(TEST_PRICE);
  }
  expect(priceOfChoice({ kind: 'settings', file: join(home, 'nowhere') })).toBe(TEST_PRICE);
});

test('what a newcomer is trusted with is work, and costs what work costs', () => {
  expect(policyFor(TEST_PRICE.rate)).toMatchObject({
    ...{ startCredit: 10n ** 16n, maxCredit: 10n ** 19n },
  });
  const dollars = policyFor(rateOf(DEFAULT_PRICE_TEXTS, 6));
  expect(dollars).toMatchObject({ startCredit: 10n ** 4n, maxCredit: 10n ** 7n });
});
