/** @file When a voucher is due, what order its life has, and what a lane does with what workers and chains tell it. */
import { createHash } from 'node:crypto';
import type {
  Address,
  Hash32,
  JobId,
  LeaseId,
  ProgramHash,
  Receipt,
  SignedVoucher,
} from '@ravenlab/protocol';
import { EMPTY_CHAIN, NO_RECEIPT, VOUCHER_LIMITS, checkLog } from '@ravenlab/protocol';
import { Trace } from '../../../../kernel/src/core/cluster/transition.js';
import { Lane } from '../../../../kernel/src/core/ledger/lane.js';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const JOB = `0x${'1'.repeat(64)}` as JobId;
const PAYEE = `0x${'2'.repeat(40)}` as Address;
const SIGNATURE = {
  r: `0x${'3'.repeat(64)}` as Hash32,
  vs: `0x${'4'.repeat(64)}` as Hash32,
};
const options = () => ({ job: JOB, payee: PAYEE, sha256, trace: new Trace() });

function laneOf(cap: bigint): Lane {
  const lane = new Lane(options());
  lane.onChain({ cap, paid: 0n });
  return lane;
}

function work(lane: Lane, amount: bigint, change: Partial<Receipt> = {}): string {
  return lane.add({
    n: lane.head.count + 1,
    job: JOB,
    payee: PAYEE,
    lease: 1 as LeaseId,
    program: 'a'.repeat(64) as ProgramHash,
    flops: 1,
    sizeBytes: 1,
    amount,
    result: NO_RECEIPT,
    verdict: 'accepted',
    ...change,
  }).line;
}

/** Draft to sent; what the worker receives. */
function issue(lane: Lane, nowMs: number): SignedVoucher {
  expect(lane.nextVoucher(nowMs)).not.toBeNull();
  const voucher = lane.signed(SIGNATURE);
  lane.stored();
  lane.sent();
  return voucher;
}

test('the first unit is promised at once, the next ones after a second or twenty units', () => {
  const lane = laneOf(1_000n);
  expect(lane.nextVoucher(0)).toBeNull();
  work(lane, 5n);
  expect(issue(lane, 0)).toMatchObject({ cumulative: 5n, seq: 1, ledgerHead: lane.head.head });
  for (let i = 1; i < VOUCHER_LIMITS.unitsPerVoucher; i++) work(lane, 1n);
  expect(lane.nextVoucher(VOUCHER_LIMITS.everyMs - 1)).toBeNull();
  work(lane, 1n);
  expect(issue(lane, 1)).toMatchObject({ cumulative: 25n, seq: 2 });
  work(lane, 1n);
  expect(lane.nextVoucher(VOUCHER_LIMITS.everyMs)).toBeNull();
  expect(issue(lane, VOUCHER_LIMITS.everyMs + 1)).toMatchObject({ cumulative: 26n, seq: 3 });
});

test('nothing is promised beyond the cap, and the lane says that it is exhausted', () => {
  const lane = laneOf(10n);
  work(lane, 9n);
  expect(lane.isExhausted).toBe(false);
  work(lane, 9n);
  expect(lane.isExhausted).toBe(true);
  expect(issue(lane, 0).cumulative).toBe(10n);
  expect(lane.exposure).toBe(8n);
  expect(lane.nextVoucher(10_000)).toBeNull();
  lane.onChain({ cap: 100n, paid: 10n });
  expect(issue(lane, 20_000).cumulative).toBe(18n);
});

test('a refused unit leaves a line and earns nothing', () => {
  const lane = laneOf(10n);
  const line = work(lane, 0n, { verdict: 'refused' });
  expect(lane.nextVoucher(0)).toBeNull();
  expect(checkLog([line], lane.head.head, sha256)).toEqual({ ok: true, chain: lane.head });
  expect(() => work(lane, 1n, { verdict: 'refused' })).toThrow('paid nothing');
});

test('a voucher cannot be sent before it was stored, nor stored before it was signed', () => {
  const lane = laneOf(10n);
  work(lane, 5n);
  lane.nextVoucher(0);
  expect(() => lane.stored()).toThrow("'store' cannot happen");
  lane.signed(SIGNATURE);
  expect(() => lane.sent()).toThrow("'send' cannot happen");
  expect(lane.nextVoucher(99_999)).toBeNull();
});

test('a worker that acknowledges nothing gets no more than a few vouchers', () => {
  const lane = laneOf(1_000n);
  let now = 0;
  for (let i = 0; i < VOUCHER_LIMITS.unacknowledged; i++) {
    work(lane, 1n);
    issue(lane, (now += VOUCHER_LIMITS.everyMs));
  }
  work(lane, 1n);
  expect(lane.nextVoucher((now += VOUCHER_LIMITS.everyMs))).toBeNull();
  // One that does not exist acknowledges nothing.
  lane.acked(99);
  expect(lane.nextVoucher(now)).toBeNull();
  lane.acked(1);
  expect(lane.nextVoucher(now)).not.toBeNull();
});

test('after a restart the stored voucher is sent again, for it may never have left', () => {
  const lane = laneOf(100n);
  work(lane, 5n);
  lane.nextVoucher(0);
  const voucher = lane.signed(SIGNATURE);
  const again = new Lane(options(), {
    chain: lane.head,
    voucher,
    acknowledged: 0,
    cap: 100n,
    paid: 0n,
  });
  expect(again.voucherStatus).toBe('stored');
  expect(again.voucher).toEqual(voucher);
  again.sent();
  again.acked(1);
  work(again, 1n);
  expect(issue(again, 5_000)).toMatchObject({ seq: 2, cumulative: 6n });
});

test('a voucher of ours that the store has lost is taken over from the worker who shows it', () => {
  const lane = laneOf(100n);
  work(lane, 5n);
  const voucher = issue(lane, 0);
  const behind = new Lane(options(), {
    chain: lane.head,
    voucher: null,
    acknowledged: 0,
    cap: 100n,
    paid: 0n,
  });
  expect(behind.presented(voucher)).toBe('adopted');
  expect(behind.vouchered).toBe(5n);
  expect(behind.presented(voucher)).toBe('known');
  work(behind, 1n);
  expect(issue(behind, 5_000)).toMatchObject({ seq: 2, cumulative: 6n });

  const blank = new Lane(options(), {
    chain: EMPTY_CHAIN,
    voucher: null,
    acknowledged: 0,
    cap: 100n,
    paid: 0n,
  });
  expect(blank.presented(voucher)).toBe('beyondEarnings');
  expect(blank.exposure).toBe(0n);
});

test('a voucher of another lane, or a newer one for less, is not taken over', () => {
  const lane = laneOf(100n);
  work(lane, 5n);
  const voucher = issue(lane, 0);
  const other = `0x${'9'.repeat(40)}` as Address;
  expect(lane.presented({ ...voucher, seq: 2, payee: other })).toBe('foreign');
  expect(lane.presented({ ...voucher, seq: 2, cumulative: 4n })).toBe('foreign');
  expect(lane.vouchered).toBe(5n);
});

test('a receipt out of turn or of another lane is our own mistake', () => {
  const lane = laneOf(100n);
  expect(() => work(lane, 1n, { n: 2 })).toThrow('receipt 2 after 0');
  expect(() => work(lane, 1n, { job: NO_RECEIPT as string as JobId })).toThrow('another lane');
});

test('the chain is believed unless it contradicts itself', () => {
  const lane = laneOf(100n);
  work(lane, 50n);
  issue(lane, 0);
  expect(lane.onChain({ cap: 100n, paid: 50n })).toBe(true);
  expect(lane.voucherStatus).toBe('none');
  expect(lane.onChain({ cap: 100n, paid: 49n })).toBe(false);
  expect(lane.onChain({ cap: 40n, paid: 50n })).toBe(false);
  expect([lane.cap, lane.paid]).toEqual([100n, 50n]);
  expect(lane.onChain({ cap: 60n, paid: 50n })).toBe(true);
});
