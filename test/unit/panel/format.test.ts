/** @file What people read in the panel: money never rounded up, units that fit the size, names that cannot deceive. */
import fc from 'fast-check';
import {
  coinScaleFor,
  compareAmounts,
  displayName,
  formatAmount,
  formatBytes,
  formatCount,
  formatDuration,
  formatGflops,
  formatLatency,
  formatLoss,
  formatRate,
  fractionOf,
  parseAmount,
  sumAmounts,
} from '@ravenlab/protocol';

test.each([
  ['0', 18, '0.000'],
  ['1', 18, '<0.001'],
  ['999999999999999', 18, '<0.001'],
  ['1000000000000000', 18, '0.001'],
  ['1999999999999999999', 18, '1.999'],
  ['1234567890000000000000', 18, '1,234.567'],
  ['1234567', 0, '1,234,567'],
  ['1234567', 2, '12,345.67'],
])('%s base units with %i decimals show as %s', (amount, decimals, expected) => {
  expect(formatAmount(amount, decimals)).toBe(expected);
});

test('a shown amount is never more than the amount', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 10n ** 30n }),
      fc.integer({ min: 0, max: 20 }),
      (n, d) => {
        const text = formatAmount(String(n), d);
        if (text.startsWith('<')) return;
        const [whole = '', fraction = ''] = text.replaceAll(',', '').split('.');
        const shown = BigInt(whole + fraction) * 10n ** BigInt(d - fraction.length);
        expect(shown <= n).toBe(true);
        expect(n - shown < 10n ** BigInt(Math.max(0, d - 3))).toBe(true);
      },
    ),
  );
});

test.each([
  ['0', 18, 'RVN', '0.000'],
  ['12340000000000000000', 18, 'RVN', '12.340'],
  ['1000000000000000000', 18, 'RVN', '1.000'],
  ['999999999999999999', 18, 'mRVN', '999.999'],
  ['1961000000000', 18, 'µRVN', '1.961'],
  ['21000000000', 18, 'nRVN', '21.000'],
  ['7', 18, 'pRVN', '<0.001'],
  ['150', 2, 'RVN', '1.50'],
  ['5', 2, 'RVN', '0.05'],
  ['5', 0, 'RVN', '5'],
  ['1961', 6, 'mRVN', '1.961'],
])('%s base units with %i decimals read as %s %s', (amount, decimals, unit, expected) => {
  const scale = coinScaleFor(amount, { currency: 'RVN', decimals });
  expect([scale.unit, formatAmount(amount, scale.decimals)]).toEqual([unit, expected]);
});

test.each([
  ['12', 18, '12000000000000000000'],
  [' 0.5 ', 6, '500000'],
  ['000.000001', 6, '1'],
  ['7', 0, '7'],
])('typed %p with %i decimals is %s base units', (typed, decimals, expected) => {
  expect(parseAmount(typed, decimals)).toBe(expected);
});

test.each(['', '.', '1.', '.5', '-1', '+1', '1e3', '1,000', '0x10', '1 000', 'NaN', '0.0000001'])(
  'typed %p is no amount of a currency with 6 decimals',
  (typed) => {
    expect(parseAmount(typed, 6)).toBeNull();
  },
);

test('what is shown in full and typed again is the same amount', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 1n, max: 10n ** 30n }),
      fc.integer({ min: 0, max: 18 }),
      (n, d) => {
        const shown = formatAmount(String(n), d, d).replaceAll(',', '');
        expect(parseAmount(shown, d)).toBe(String(n));
      },
    ),
  );
});

test('amounts add and compare as numbers, not as text', () => {
  expect(sumAmounts(['9', '999999999999999999999', '1'])).toBe('1000000000000000000009');
  expect(['10', '9', '200'].sort(compareAmounts)).toEqual(['9', '10', '200']);
});

test.each([
  [0, '0'],
  [7.254, '7.25'],
  [99.96, '100'],
  [812.5, '813'],
  [999.6, '1k'],
  [12_345, '12.3k'],
  [4_500_000, '4.5M'],
])('a rate of %d shows as %s', (value, expected) => {
  expect(formatRate(value)).toBe(expected);
});

test.each([
  [0, '0 s'],
  [59_600, '1 min 00 s'],
  [65_000, '1 min 05 s'],
  [3_600_000, '1 h 00 min'],
  [187_200_000, '2 d 4 h'],
])('%d ms show as %s', (value, expected) => {
  expect(formatDuration(value)).toBe(expected);
});

test('sizes, speeds, latencies and counts carry their unit', () => {
  expect(formatBytes(8 * 2 ** 30)).toBe('8 GiB');
  expect(formatGflops(118.4)).toBe('118 GFLOP/s');
  expect(formatGflops(1_250)).toBe('1.25 TFLOP/s');
  expect(formatLatency(0.4)).toBe('0.4 ms');
  expect(formatLatency(2_500)).toBe('2.5 s');
  expect(formatCount(1_234_567)).toBe('1,234,567');
  expect([
    formatBytes(null),
    formatGflops(null),
    formatLatency(null),
    formatDuration(null),
  ]).toEqual(['–', '–', '–', '–']);
});

test('a loss keeps four digits at any size', () => {
  expect([2.30258, 0.04123, 0.000012, 0, null].map(formatLoss)).toEqual([
    '2.303',
    '0.04123',
    '1.20e-5',
    '0.000',
    '–',
  ]);
});

test('a fraction stays within bounds and is zero without a total', () => {
  expect([fractionOf(3, 4), fractionOf(9, 4), fractionOf(1, null), fractionOf(0, 0)]).toEqual([
    0.75, 1, 0, 0,
  ]);
});

test('a name cannot hide characters or turn the text around', () => {
  expect(displayName({ name: 'a\u202eb\u200bc\u0007', shortId: 's1' })).toBe('abc');
  expect(displayName({ name: ' \u200b ', shortId: 's1' })).toBe('s1');
  expect(displayName({ name: null, shortId: 's1' })).toBe('s1');
});
