/** @file Spend limits: what is signed within an hour, a lane and a run never exceeds them, whatever the order. */
import fc from 'fast-check';
import type { SpendRecord } from '../../../../kernel/src/core/chain/spendCaps.js';
import { NO_LIMITS, SpendCaps } from '../../../../kernel/src/core/chain/spendCaps.js';

const EMPTY: SpendRecord = { lanes: new Map(), minutes: new Map() };
const HOUR_MS = 3_600_000;

test('without limits anything is signed', () => {
  const caps = new SpendCaps(NO_LIMITS, EMPTY);
  expect(caps.spend('a', 10n ** 30n, 0)).toMatchObject({ ok: true, promised: 10n ** 30n });
});

test('a lane, an hour and a run each refuse with their limit and what it would be', () => {
  const limits = { perLane: 100n, perHour: 150n, perRun: 260n };
  const caps = new SpendCaps(limits, EMPTY);
  const refusal = (lane: string, cumulative: bigint, nowMs: number) => {
    const answer = caps.spend(lane, cumulative, nowMs);
    return answer.ok ? null : answer.reason;
  };
  expect(refusal('a', 101n, 0)).toMatch(/one contributor is 100 .* make it 101/);
  expect(refusal('a', 100n, 0)).toBeNull();
  expect(refusal('b', 51n, 0)).toMatch(/one hour is 150 .* make it 151/);
  expect(refusal('b', 50n, 0)).toBeNull();
  expect(refusal('c', 100n, HOUR_MS)).toBeNull();
  expect(refusal('d', 11n, HOUR_MS)).toMatch(/this run is 260 .* make it 261/);
});

test('what was refused costs nothing, and a voucher that was signed may be signed again', () => {
  const caps = new SpendCaps({ ...NO_LIMITS, perHour: 10n }, EMPTY);
  expect(caps.spend('a', 11n, 0).ok).toBe(false);
  expect(caps.spend('a', 10n, 0)).toMatchObject({ ok: true, spentInMinute: 10n });
  expect(caps.spend('a', 10n, 1)).toMatchObject({ ok: true, spentInMinute: 10n });
  expect(caps.spend('a', 3n, 1)).toMatchObject({ ok: true, promised: 10n });
  expect(caps.spend('b', 1n, 1).ok).toBe(false);
});

test('a restart forgets neither lanes nor the hour', () => {
  const record = { lanes: new Map([['a', 8n]]), minutes: new Map([[0, 8n]]) };
  const caps = new SpendCaps({ ...NO_LIMITS, perHour: 10n }, record);
  expect(caps.spend('a', 11n, 60_000).ok).toBe(false);
  expect(caps.spend('a', 10n, 60_000).ok).toBe(true);
  expect(caps.spend('b', 10n, HOUR_MS + 60_000).ok).toBe(true);
});

test('property: no hour and no run holds more than its limit', () => {
  const step = fc.record({
    lane: fc.constantFrom('a', 'b', 'c'),
    more: fc.bigInt({ min: 0n, max: 40n }),
    afterMs: fc.integer({ min: 0, max: 30 * 60_000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const limits = { perLane: null, perHour: 60n, perRun: 300n };
      const caps = new SpendCaps(limits, EMPTY);
      const lanes = new Map<string, bigint>();
      const spent: { readonly atMs: number; readonly amount: bigint }[] = [];
      let nowMs = 0;
      for (const { lane, more, afterMs } of steps) {
        nowMs += afterMs;
        const cumulative = (lanes.get(lane) ?? 0n) + more;
        if (!caps.spend(lane, cumulative, nowMs).ok) continue;
        lanes.set(lane, cumulative);
        spent.push({ atMs: nowMs, amount: more });
        const from = nowMs - HOUR_MS + 60_000;
        const inHour = spent.filter(({ atMs }) => atMs >= from);
        const sum = (list: typeof spent) => list.reduce((all, { amount }) => all + amount, 0n);
        expect(sum(inHour)).toBeLessThanOrEqual(limits.perHour);
        expect(sum(spent)).toBeLessThanOrEqual(limits.perRun);
      }
    }),
  );
});
