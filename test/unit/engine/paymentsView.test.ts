/** @file Payments as the panel shows them: the ledger's sums joined with lanes, pace, time to empty, and what a payer is told. */
import type { Address, WorkerId } from '@ravenlab/protocol';
import { EMPTY_PAYMENTS, priceText, readPanelState } from '@ravenlab/protocol';
import { Trace } from '../../../kernel/src/core/cluster/transition.js';
import { Ledger } from '../../../kernel/src/core/ledger/ledger.js';
import { PaymentsView, warningsOf } from '../../../kernel/src/engine/paymentsView.js';
import type { LaneView, TreasuryView } from '../../../kernel/src/engine/treasuryView.js';
import { NO_TREASURY } from '../../../kernel/src/engine/treasuryView.js';
import { BUSY_STATE, CHAIN } from '../panel/lib.js';

const PRICE = { currency: 'RVN', decimals: 18, rate: { perGflop: 10n ** 12n, perMib: 0n } };
const ANN = 'a'.repeat(32) as WorkerId;
const BEN = 'b'.repeat(32) as WorkerId;
const HOUR_MS = 3_600_000;
const nameOf = (worker: WorkerId) => (worker === ANN ? 'Ann' : '');

const lane = (changes: Partial<LaneView> = {}): LaneView => ({
  address: `0x${'1'.repeat(40)}` as Address,
  held: 0n,
  vouchered: 0n,
  settled: 0n,
  cap: 0n,
  ...changes,
});

function treasuryOf(lanes: ReadonlyMap<WorkerId, LaneView>, free: bigint): TreasuryView {
  return {
    ...NO_TREASURY,
    summary: () => ({
      ...NO_TREASURY.summary(),
      settlement: 'ready',
      chain: CHAIN,
      balance: { deposit: 1000n, free, reserved: 0n, paid: 0n },
      expiryMs: 10 * HOUR_MS,
    }),
    lanes: () => lanes,
  };
}

function viewOf(treasury: TreasuryView) {
  const ledger = new Ledger(new Trace());
  return { ledger, view: new PaymentsView({ ledger, price: PRICE, treasury }) };
}

test('without a treasury work is metered, nobody has a lane, and nothing warns', () => {
  const { ledger, view } = viewOf(NO_TREASURY);
  ledger.restore(ANN, 70n, 7);
  const payments = view.summary(0, nameOf);
  expect(payments).toMatchObject({ settlement: 'off', chain: null, totalMetered: '70' });
  expect(payments.payees).toMatchObject([{ name: 'Ann', address: null, metered: '70', cap: '0' }]);
  expect(warningsOf(payments, 0)).toEqual([]);
});

test('the price and all amounts are in the token that is paid', () => {
  const { view } = viewOf({
    ...NO_TREASURY,
    summary: () => ({ ...NO_TREASURY.summary(), token: { symbol: 'USDC', decimals: 6 } }),
  });
  expect(view.summary(0, nameOf)).toMatchObject({ currency: 'USDC', decimals: 6 });
  // The same base units: a rate that was meant for 18 decimals is seen to be absurd for 6.
  expect(view.summary(0, nameOf).unitPriceText).toBe('1000000000 USDC per TFLOP');
  expect(priceText(view.priceNow())).toBe('1000000000 USDC per TFLOP');
  expect(viewOf(NO_TREASURY).view.summary(0, nameOf).unitPriceText).toBe('0.001 RVN per TFLOP');
});

test('when contributors are settled by themselves is said where it costs something', () => {
  const on = (isSimulated: boolean, atLeast: bigint) => {
    const { view } = viewOf({
      ...NO_TREASURY,
      summary: () => ({
        ...NO_TREASURY.summary(),
        ...{ token: { symbol: 'USDC', decimals: 6 }, chain: { ...CHAIN, isSimulated } },
        settling: { floor: 27_000_000n, atLeast, everyMs: HOUR_MS },
      }),
    });
    return view.summary(0, nameOf).settlingText;
  };
  expect(on(false, 50_000_000n)).toBe(
    'settled from 50 USDC on, or 1 h 00 min later from 27 USDC on',
  );
  expect(on(false, 0n)).toBe('settled from 27 USDC on');
  expect(on(true, 0n)).toBeNull();
  expect(viewOf(NO_TREASURY).view.summary(0, nameOf).settlingText).toBeNull();
});

test('what a summary says, a front end can read', () => {
  const { ledger, view } = viewOf(treasuryOf(new Map([[ANN, lane({ held: 2n, cap: 9n })]]), 500n));
  ledger.restore(ANN, 7n, 1);
  const payments = view.summary(0, nameOf);
  const state = { ...BUSY_STATE, payments };
  expect(readPanelState(JSON.parse(JSON.stringify(state)), 'state')).toEqual(state);
});

test('sums count the paid only; rows go by what was metered', () => {
  const lanes = new Map([[BEN, lane({ held: 1n, vouchered: 6n, settled: 4n })]]);
  const { ledger, view } = viewOf(treasuryOf(lanes, 500n));
  ledger.restore(ANN, 3n, 1);
  ledger.restore(BEN, 7n, 1);
  const { payees, totals, totalMetered } = view.summary(0, nameOf);
  expect(totals).toEqual({ held: '1', vouchered: '6', settled: '4' });
  expect(totalMetered).toBe('10');
  expect(payees.map(({ metered, settled }) => [metered, settled])).toEqual([
    ['7', '4'],
    ['3', '0'],
  ]);
});

test('the pace is that of the last minute, and what is owed does not last', () => {
  const lanes = new Map([[ANN, lane({ held: 20n, vouchered: 100n, settled: 20n })]]);
  const { ledger, view } = viewOf(treasuryOf(lanes, 400n));
  ledger.restore(ANN, 10n, 1);
  view.summary(0, nameOf);
  for (let second = 1; second <= 300; second++) {
    if (second > 240) ledger.restore(ANN, 1n, 1);
    view.summary(second * 1000, nameOf);
  }
  const payments = view.summary(300_000, nameOf);
  // 60 in a minute; 400 free less 100 that is owed lasts 300 s.
  expect(Number(payments.burnPerHour)).toBeCloseTo(3600, -2);
  expect(payments.timeToEmptyMs! / 1000).toBeCloseTo(300, -1);
});

describe('a payer is told', () => {
  const payments = { ...EMPTY_PAYMENTS, chain: CHAIN, expiryMs: 100 * HOUR_MS };
  const topics = (change: object, nowMs = 0) =>
    warningsOf({ ...payments, ...change }, nowMs).map(({ topic, level }) => `${topic} ${level}`);

  test('that the budget gets low, and when it is used up', () => {
    expect(topics({ timeToEmptyMs: null })).toEqual([]);
    expect(topics({ timeToEmptyMs: HOUR_MS })).toEqual([]);
    expect(topics({ timeToEmptyMs: HOUR_MS / 10 })).toEqual(['budget warning']);
    expect(topics({ timeToEmptyMs: 0 })).toEqual(['budget error']);
  });

  test('that the expiry is near, in words that do not tick, and that it has passed', () => {
    expect(topics({}, 90 * HOUR_MS)).toEqual([]);
    expect(topics({}, 95 * HOUR_MS)).toEqual(['expiry warning']);
    expect(topics({}, 100 * HOUR_MS)).toEqual(['expiry error']);
    const texts = [1, 2, 3].map((ms) => warningsOf(payments, 97 * HOUR_MS + ms)[0]?.text);
    expect(new Set(texts).size).toBe(1);
    expect(texts[0]).toContain('less than 3 h');
  });
});

test('what is asked of an engine without a chain is refused with what to do', async () => {
  await expect(NO_TREASURY.deposit(1n)).rejects.toThrow(/payments are off.*RAVENLAB_CHAIN/);
});
