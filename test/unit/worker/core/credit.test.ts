/** @file A worker's books: what it accepts as a promise, what it keeps though it is not what was agreed, and when it stops. */
import { createHash } from 'node:crypto';
import type {
  Address,
  ChainHead,
  Hash32,
  JobId,
  LeaseId,
  ProgramHash,
  Receipt,
  SignedVoucher,
} from '@ravenlab/protocol';
import { CREDIT_LIMITS, EMPTY_CHAIN, appendReceipt } from '@ravenlab/protocol';
import type { Delivery, Judgement, LaneTerms } from '../../../../worker/src/core/credit.js';
import { Credit, NOTHING_KEPT } from '../../../../worker/src/core/credit.js';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const hex = (digit: string, digits: number): string => `0x${digit.repeat(digits)}`;
const JOB = hex('1', 64) as JobId;
const PAYEE = hex('2', 40) as Address;
const SIGNER = hex('3', 40) as Address;
const PROGRAM = 'a'.repeat(64) as ProgramHash;
const TERMS: LaneTerms = {
  job: JOB,
  payee: PAYEE,
  signer: SIGNER,
  cap: 10_000n,
  rate: { perGflop: 10n, perMib: 0n },
  holdbackUnits: 2,
};
const GFLOP = 1e9;

const digestOf = (id: number): Hash32 => `0x${id.toString(16).padStart(64, '0')}` as Hash32;
const delivery = (id: number): Delivery => ({
  lease: id as LeaseId,
  digest: digestOf(id),
  program: PROGRAM,
  flops: GFLOP,
  bytes: 0,
});

/** The engine's side: writes receipts and vouchers as an honest one does, or as a test wants. */
class Payer {
  chain: ChainHead = EMPTY_CHAIN;
  private seq = 0;

  lines(...receipts: (Partial<Receipt> & { readonly id: number })[]): string[] {
    return receipts.map(({ id, ...change }) => {
      const receipt: Receipt = {
        n: this.chain.count + 1,
        job: JOB,
        payee: PAYEE,
        lease: id as LeaseId,
        program: PROGRAM,
        flops: GFLOP,
        sizeBytes: 0,
        amount: 10n,
        result: digestOf(id),
        verdict: 'accepted',
        ...change,
      };
      const { chain, entry } = appendReceipt(this.chain, receipt, sha256);
      this.chain = chain;
      return entry.line;
    });
  }

  voucher(change: Partial<SignedVoucher> = {}): SignedVoucher {
    return {
      job: JOB,
      payee: PAYEE,
      cumulative: this.chain.earned,
      seq: ++this.seq,
      ledgerHead: this.chain.head,
      r: digestOf(7),
      vs: digestOf(8),
      ...change,
    };
  }
}

function creditOf(change: Partial<LaneTerms> = {}, kept = NOTHING_KEPT): Credit {
  const terms = { ...TERMS, ...change };
  return new Credit({ terms, kept, window: { units: 4, amount: 50n }, sha256 });
}

type Line = Parameters<Payer['lines']>[number];

/** Receipts, and the voucher that pays for them. */
function pay(
  credit: Credit,
  payer: Payer,
  receipts: readonly Line[],
  change: Partial<SignedVoucher> = {},
): Judgement {
  const lines = payer.lines(...receipts);
  return credit.take(payer.voucher(change), lines, SIGNER);
}

const codeOf = ({ fault }: Judgement): string | null => fault?.code ?? null;

test('a voucher with the receipts of what was delivered is kept, and ends the exposure', () => {
  const credit = creditOf();
  const payer = new Payer();
  for (const id of [1, 2, 3]) credit.delivered(delivery(id));
  expect(credit.exposure).toEqual({ units: 3, amount: 30n });
  const lines = payer.lines({ id: 1 }, { id: 2 }, { id: 3 });
  const judgement = credit.take(payer.voucher(), lines, SIGNER);
  expect(judgement.fault).toBeNull();
  expect(judgement.lines).toEqual(lines);
  expect(credit.promised).toBe(30n);
  expect(credit.exposure).toEqual({ units: 0, amount: 0n });
  credit.check();
});

describe('a voucher that is worthless is not kept:', () => {
  const cases: readonly (readonly [string, Partial<SignedVoucher>, Address | null])[] = [
    ['foreign', { job: hex('9', 64) as JobId }, SIGNER],
    ['foreign', { payee: hex('9', 40) as Address }, SIGNER],
    ['signature', {}, hex('9', 40) as Address],
    ['signature', {}, null],
    ['overCap', { cumulative: 10_001n }, SIGNER],
    ['stale', { seq: 1 }, SIGNER],
    ['stale', { cumulative: 5n, seq: 9 }, SIGNER],
    ['stale', { cumulative: 11n, seq: 2 }, SIGNER],
  ];
  test.each(cases)('%s %p', (code, change, recovered) => {
    const credit = creditOf();
    const payer = new Payer();
    pay(credit, payer, []);
    const first = payer.lines({ id: 1 });
    const good = payer.voucher();
    credit.take(good, first, SIGNER);
    const lines = payer.lines({ id: 2 });
    const judgement = credit.take(payer.voucher(change), lines, recovered);
    expect(codeOf(judgement)).toBe(code);
    expect(judgement.keep).toBeNull();
    expect(credit.lane.voucher).toBe(good);
  });
});

describe('a voucher that breaks the agreement is kept as money, and named:', () => {
  const judge = (lines: (payer: Payer) => string[], change: Partial<SignedVoucher> = {}) => {
    const credit = creditOf();
    const payer = new Payer();
    credit.delivered(delivery(1));
    const written = lines(payer);
    const judgement = credit.take(payer.voucher(change), written, SIGNER);
    return { code: codeOf(judgement), kept: credit.promised };
  };

  test('a receipt that pays less than the unit costs', () => {
    const credit = creditOf();
    const payer = new Payer();
    credit.delivered(delivery(1));
    const lines = payer.lines({ id: 1, amount: 9n });
    expect(codeOf(credit.take(payer.voucher(), lines, SIGNER))).toBe('underpaid');
    expect(credit.promised).toBe(9n);
  });

  test('a receipt whose FLOPs are understated', () => {
    const credit = creditOf();
    const payer = new Payer();
    credit.delivered(delivery(1));
    const lines = payer.lines({ id: 1, amount: 1n, flops: GFLOP / 10 });
    expect(codeOf(credit.take(payer.voucher(), lines, SIGNER))).toBe('underpaid');
  });

  test('receipts that add up to more than is promised', () => {
    const credit = creditOf();
    const payer = new Payer();
    const lines = payer.lines({ id: 1 }, { id: 2 });
    const judgement = credit.take(payer.voucher({ cumulative: 19n }), lines, SIGNER);
    expect(codeOf(judgement)).toBe('short');
    expect(credit.promised).toBe(19n);
  });

  test('receipts that do not hash to its head', () => {
    expect(judge((payer) => payer.lines({ id: 1 }), { ledgerHead: digestOf(5) })).toEqual({
      code: 'chain',
      kept: 10n,
    });
  });

  test('a receipt of another result than the one delivered', () => {
    expect(judge((payer) => payer.lines({ id: 1, result: digestOf(2) })).code).toBe('chain');
  });

  test('receipts of another lane, and what is no receipt', () => {
    const other = { id: 1, payee: hex('9', 40) as Address };
    expect(judge((payer) => payer.lines(other)).code).toBe('chain');
    expect(judge(() => ['1,2,3']).code).toBe('chain');
    expect(judge(() => ['x'.repeat(10_000)]).code).toBe('chain');
  });
});

test('a voucher may stop at the cap, and what lies beyond it stays at risk', () => {
  const credit = creditOf({ cap: 15n });
  const payer = new Payer();
  const lines = payer.lines({ id: 1 }, { id: 2 });
  expect(codeOf(credit.take(payer.voucher({ cumulative: 15n }), lines, SIGNER))).toBeNull();
  expect(credit.exposure).toEqual({ units: 0, amount: 5n });
});

test('a voucher that is sent again is taken again without its lines', () => {
  const credit = creditOf();
  const payer = new Payer();
  const lines = payer.lines({ id: 1 });
  const voucher = payer.voucher();
  credit.take(voucher, lines, SIGNER);
  expect(credit.take(voucher, lines, SIGNER)).toMatchObject({ lines: [], fault: null });
  expect(credit.lane.chain).toEqual(payer.chain);
});

test('a worker that lost its store takes the money and goes on from there', () => {
  const payer = new Payer();
  payer.lines({ id: 1 }, { id: 2 });
  payer.voucher();
  const credit = creditOf();
  expect(codeOf(credit.take(payer.voucher(), [], SIGNER))).toBeNull();
  expect(credit.promised).toBe(20n);
  const lines = payer.lines({ id: 3 });
  expect(codeOf(credit.take(payer.voucher(), lines, SIGNER))).toBeNull();
  expect(credit.lane.chain).toEqual(payer.chain);
  payer.lines({ id: 4 });
  const later = payer.lines({ id: 5 });
  expect(codeOf(credit.take(payer.voucher(), later, SIGNER))).toBeNull();
  expect(codeOf(pay(credit, payer, [{ id: 6 }]))).toBeNull();
});

test('work stops when units and amount exceed the window, and goes on with a voucher', () => {
  const credit = creditOf();
  const payer = new Payer();
  for (let id = 1; id <= 6; id++) credit.delivered(delivery(id));
  expect(credit.isExceeded).toBe(false);
  credit.delivered(delivery(7));
  expect(credit.isExceeded).toBe(true);
  credit.take(payer.voucher(), [], SIGNER);
  expect(credit.isExceeded).toBe(true);
  pay(credit, payer, [{ id: 1 }]);
  expect(credit.isExceeded).toBe(false);
});

test('many tiny units alone do not exceed it', () => {
  const credit = creditOf({ rate: { perGflop: 0n, perMib: 0n } });
  for (let id = 1; id <= 1_000; id++) credit.delivered(delivery(id));
  expect(credit.isExceeded).toBe(false);
});

describe('units that nobody pays', () => {
  /** Every `period`-th unit of `units` is left out. */
  const work = (units: number, period: number): Credit => {
    const credit = creditOf({ cap: 10n ** 9n });
    const payer = new Payer();
    for (let id = 1; id <= units; id++) {
      credit.delivered(delivery(id));
      if (id % period !== 0) expect(codeOf(pay(credit, payer, [{ id }]))).toBeNull();
    }
    credit.check();
    return credit;
  };

  test('are forgiven as long as races explain them', () => {
    const credit = work(4_000, 8);
    expect(credit.unpaid).toBeGreaterThan(CREDIT_LIMITS.unpaidUnits);
    expect(credit.isCheated).toBe(false);
    expect(credit.isExceeded).toBe(true);
  });

  test('are fraud when they are every third', () => {
    expect(work(4_000, 3).isCheated).toBe(true);
  });

  test('count at once when a receipt refuses them', () => {
    const credit = creditOf();
    const payer = new Payer();
    for (let id = 1; id <= 65; id++) {
      credit.delivered(delivery(id));
      const lines = payer.lines({ id, amount: 0n, verdict: 'refused' });
      credit.take(payer.voucher(), lines, SIGNER);
    }
    expect(credit.unpaid).toBe(65);
    expect(credit.exposure.units).toBe(0);
    expect(credit.isCheated).toBe(true);
  });

  test('are taken back when their receipt comes late', () => {
    const credit = creditOf({ cap: 10n ** 9n });
    const payer = new Payer();
    credit.delivered(delivery(0));
    for (let id = 1; id <= CREDIT_LIMITS.overtakenUnits + 2; id++) {
      credit.delivered(delivery(id));
      pay(credit, payer, [{ id }]);
    }
    expect(credit.unpaid).toBe(1);
    pay(credit, payer, [{ id: 0 }]);
    expect(credit.unpaid).toBe(0);
    credit.check();
  });

  test('are forgotten from the oldest on, when there are too many to remember', () => {
    const credit = creditOf();
    for (let id = 0; id < CREDIT_LIMITS.deliveries + 10; id++) credit.delivered(delivery(id));
    expect(credit.unpaid).toBe(10);
    credit.check();
  });
});
