/**
 * @file A worker's books under any course of work, lost messages and crashes. An honest payer is never accused and in the end
 * owes nothing; whatever a payer sends, what is kept only grows, is signed, and fits the lane.
 */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import type {
  Address,
  ChainHead,
  Hash32,
  JobId,
  LeaseId,
  ProgramHash,
  SignedVoucher,
} from '@ravenlab/protocol';
import { EMPTY_CHAIN, appendReceipt } from '@ravenlab/protocol';
import type { KeptLane, LaneTerms } from '../../worker/src/core/credit.js';
import { Credit, NOTHING_KEPT } from '../../worker/src/core/credit.js';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const hex = (digit: string, digits: number): string => `0x${digit.repeat(digits)}`;
const JOB = hex('1', 64) as JobId;
const PAYEE = hex('2', 40) as Address;
const SIGNER = hex('3', 40) as Address;
const OTHER = hex('4', 40) as Address;
const PROGRAM = 'a'.repeat(64) as ProgramHash;
const TERMS: LaneTerms = {
  job: JOB,
  payee: PAYEE,
  signer: SIGNER,
  cap: 10n ** 9n,
  rate: { perGflop: 1_000n, perMib: 10n },
  holdbackUnits: 2,
};
const digestOf = (id: number): Hash32 => `0x${id.toString(16).padStart(64, '0')}` as Hash32;

interface Unit {
  readonly id: number;
  readonly flops: number;
  readonly bytes: number;
  readonly amount: bigint;
}

/** An honest payer with every receipt it ever wrote. */
class Payer {
  chain: ChainHead = EMPTY_CHAIN;
  readonly written: string[] = [];
  newest: SignedVoucher | null = null;

  receipt({ id, flops, bytes, amount }: Unit): void {
    const { chain, entry } = appendReceipt(
      this.chain,
      {
        n: this.chain.count + 1,
        job: JOB,
        payee: PAYEE,
        lease: id as LeaseId,
        program: PROGRAM,
        flops,
        sizeBytes: bytes,
        amount,
        result: digestOf(id),
        verdict: 'accepted',
      },
      sha256,
    );
    this.chain = chain;
    this.written.push(entry.line);
  }

  voucher(): SignedVoucher {
    this.newest = {
      job: JOB,
      payee: PAYEE,
      cumulative: this.chain.earned,
      seq: (this.newest?.seq ?? 0) + 1,
      ledgerHead: this.chain.head,
      r: digestOf(1),
      vs: digestOf(2),
    };
    return this.newest;
  }
}

type Step =
  | { readonly kind: 'work'; readonly flops: number; readonly bytes: number }
  /** The payer judges the i-th of the units that it has not judged: taken, or lost to another worker. */
  | { readonly kind: 'judge'; readonly index: number; readonly isTaken: boolean }
  | { readonly kind: 'voucher'; readonly isLost: boolean }
  /** The worker starts anew with what it kept, or with nothing. */
  | { readonly kind: 'restart'; readonly isEmpty: boolean };

const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('work' as const),
      flops: fc.integer({ min: 0, max: 10 ** 9 }),
      bytes: fc.integer({ min: 0, max: 10 ** 9 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('judge' as const),
      index: fc.nat(3),
      isTaken: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('voucher' as const), isLost: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('restart' as const), isEmpty: fc.boolean() }),
  },
);

class Course {
  readonly payer = new Payer();
  credit = creditOf(NOTHING_KEPT);
  private readonly unjudged: Unit[] = [];
  private nextId = 1;

  run(step: Step): void {
    switch (step.kind) {
      case 'work': {
        const { flops, bytes } = step;
        const id = this.nextId++;
        const before = this.credit.exposure.amount;
        const lease = id as LeaseId;
        this.credit.delivered({ lease, digest: digestOf(id), program: PROGRAM, flops, bytes });
        const amount = this.credit.exposure.amount - before;
        this.unjudged.push({ id, flops, bytes, amount });
        return;
      }
      case 'judge': {
        const [unit] = this.unjudged.splice(step.index, 1);
        if (unit !== undefined && step.isTaken) this.payer.receipt(unit);
        return;
      }
      case 'voucher': {
        const voucher = this.payer.voucher();
        if (!step.isLost) this.deliver(voucher);
        return;
      }
      case 'restart':
        this.credit = creditOf(step.isEmpty ? NOTHING_KEPT : this.credit.lane);
    }
  }

  /** Sends what the worker has not acknowledged: the lines since the voucher that it showed. */
  deliver(voucher: SignedVoucher): void {
    const known = this.credit.lane.chain.count;
    const judgement = this.credit.take(voucher, this.payer.written.slice(known), SIGNER);
    expect(judgement.fault).toBeNull();
    expect(judgement.keep?.voucher).toBe(voucher);
  }
}

function creditOf(kept: KeptLane): Credit {
  return new Credit({ terms: TERMS, kept, window: { units: 8, amount: 10_000n }, sha256 });
}

test('an honest payer is never accused, and what it promised last is what the worker holds', () => {
  fc.assert(
    fc.property(fc.array(STEP, { maxLength: 200 }), (steps) => {
      const course = new Course();
      for (const step of steps) {
        course.run(step);
        course.credit.check();
        expect(course.credit.promised <= course.payer.chain.earned).toBe(true);
      }
      course.deliver(course.payer.voucher());
      expect(course.credit.promised).toBe(course.payer.chain.earned);
      expect(course.credit.lane.chain).toEqual(course.payer.chain);
    }),
  );
});

const VOUCHER: fc.Arbitrary<Partial<SignedVoucher>> = fc.record(
  {
    job: fc.constantFrom(JOB, hex('9', 64) as JobId),
    payee: fc.constantFrom(PAYEE, OTHER),
    cumulative: fc.bigInt(0n, 2n * TERMS.cap),
    seq: fc.nat(10),
    ledgerHead: fc.nat(3).map(digestOf),
  },
  { requiredKeys: [] },
);

test('whatever a payer sends, what is kept is signed, fits the lane and only grows', () => {
  const attack = fc.record({
    steps: fc.array(STEP, { maxLength: 10 }),
    change: VOUCHER,
    lines: fc.option(fc.array(fc.string(), { maxLength: 3 }), { nil: null }),
    signer: fc.constantFrom(SIGNER, OTHER, null),
  });
  fc.assert(
    fc.property(fc.array(attack, { maxLength: 10 }), (attacks) => {
      const course = new Course();
      for (const { steps, change, lines, signer } of attacks) {
        for (const step of steps) if (step.kind !== 'voucher') course.run(step);
        const before = course.credit.promised;
        const voucher = { ...course.payer.voucher(), ...change };
        const { keep } = course.credit.take(voucher, lines ?? course.payer.written, signer);
        course.credit.check();
        if (keep === null) {
          expect(course.credit.promised).toBe(before);
          continue;
        }
        expect(signer).toBe(SIGNER);
        expect([keep.voucher?.job, keep.voucher?.payee]).toEqual([JOB, PAYEE]);
        expect(course.credit.promised >= before && course.credit.promised <= TERMS.cap).toBe(true);
        course.payer.newest = keep.voucher;
      }
    }),
  );
});
