/**
 * @file A lane under any course of work, crashes and lost messages: vouchers only grow, never exceed what was earned or
 * reserved, and the ledger is never behind a voucher that left.
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
  Receipt,
  SignedVoucher,
} from '@ravenlab/protocol';
import { EMPTY_CHAIN, VOUCHER_LIMITS, appendReceipt, checkLog } from '@ravenlab/protocol';
import { Trace } from '../../kernel/src/core/cluster/transition.js';
import { Lane, VOUCHER_TABLE } from '../../kernel/src/core/ledger/lane.js';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const digits = (digit: string, count: number): string => `0x${digit.repeat(count)}`;
const JOB = digits('1', 64) as JobId;
const PAYEE = digits('2', 40) as Address;
const SIGNATURE = { r: digits('3', 64) as Hash32, vs: digits('4', 64) as Hash32 };

const receipt = (n: number, amount: bigint): Receipt => ({
  n,
  job: JOB,
  payee: PAYEE,
  lease: n as LeaseId,
  program: 'a'.repeat(64) as ProgramHash,
  flops: 1_000 * n,
  sizeBytes: n,
  amount,
  result: digits('5', 64) as Hash32,
  verdict: amount === 0n ? 'refused' : 'accepted',
});

/** What survives a crash. */
interface Disk {
  lines: string[];
  chain: ChainHead;
  voucher: SignedVoucher | null;
}

type Step =
  | { readonly kind: 'work'; readonly amount: bigint }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'advance' | 'ack' | 'crash' | 'reconnect' | 'redeem' }
  | { readonly kind: 'reserve'; readonly amount: bigint };

const STEP: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('work' as const), amount: fc.bigInt(0n, 10n ** 20n) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.integer({ min: 1, max: 1_500 }),
    }),
  },
  { weight: 8, arbitrary: fc.constant({ kind: 'advance' as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'ack' as const }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      { kind: 'crash' as const },
      { kind: 'reconnect' as const },
      { kind: 'redeem' as const },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      amount: fc.bigInt(1n, 10n ** 21n),
    }),
  },
);

/** Cells of the table that some course went through. */
const visited = new Set<string>();

/** Engine, disk, worker and chain of one lane. */
class World {
  readonly disk: Disk = { lines: [], chain: EMPTY_CHAIN, voucher: null };
  readonly received: SignedVoucher[] = [];
  lane: Lane;
  cap = 10n ** 20n;
  paid = 0n;
  private now = 0;

  constructor() {
    this.lane = this.start();
  }

  step(step: Step): void {
    switch (step.kind) {
      case 'work': {
        const entry = this.lane.add(receipt(this.lane.head.count + 1, step.amount));
        this.disk.lines.push(entry.line);
        this.disk.chain = this.lane.head;
        return;
      }
      case 'wait':
        this.now += step.ms;
        return;
      case 'advance':
        return this.advance();
      case 'ack':
        return this.lane.acked(this.received.at(-1)?.seq ?? 0);
      case 'crash':
        this.lane = this.start();
        return;
      case 'reconnect': {
        const last = this.received.at(-1);
        if (last !== undefined) expect(this.lane.presented(last)).toBe('known');
        return;
      }
      case 'redeem':
        this.paid = this.received.at(-1)?.cumulative ?? 0n;
        expect(this.lane.onChain({ cap: this.cap, paid: this.paid })).toBe(true);
        return;
      case 'reserve':
        this.cap += step.amount;
        expect(this.lane.onChain({ cap: this.cap, paid: this.paid })).toBe(true);
    }
  }

  /** One effect: whatever the voucher waits for. */
  private advance(): void {
    switch (this.lane.voucherStatus) {
      case 'drafted':
        this.lane.signed(SIGNATURE);
        return;
      case 'signed':
        this.disk.voucher = this.lane.voucher;
        this.lane.stored();
        return;
      case 'stored':
        this.received.push(this.lane.voucher!);
        this.lane.sent();
        return;
      default:
        this.lane.nextVoucher(this.now);
    }
  }

  private start(): Lane {
    const { chain, voucher } = this.disk;
    const stored = { chain, voucher, acknowledged: 0, cap: this.cap, paid: this.paid };
    const trace = new Trace();
    trace.watch = (_table, status, cause) => visited.add(`${status} ${cause}`);
    return new Lane({ job: JOB, payee: PAYEE, sha256, trace }, stored);
  }
}

function expectSound(world: World): void {
  const { lane, received, disk } = world;
  lane.check();
  const last = received.at(-1);
  if (last === undefined) return;
  // The ledger is never behind a voucher that left.
  expect(disk.voucher!.seq).toBeGreaterThanOrEqual(last.seq);
  expect(lane.vouchered >= last.cumulative).toBe(true);
  expect(last.cumulative <= lane.head.earned).toBe(true);
  expect(last.cumulative <= world.cap).toBe(true);
  // What a worker can lose is what was earned since.
  expect(lane.exposure).toBe(lane.head.earned - lane.vouchered);
}

test('any course: vouchers only grow, are covered and earned, and are stored before they are sent', () => {
  let sent = 0;
  fc.assert(
    fc.property(fc.array(STEP, { minLength: 60, maxLength: 200 }), (steps) => {
      const world = new World();
      for (const step of steps) {
        world.step(step);
        expectSound(world);
      }
      world.received.forEach((voucher, i) => {
        const before = world.received[i - 1];
        if (before === undefined) return;
        // The same one again after a crash, or the next one for more.
        const isAgain = voucher.seq === before.seq && voucher.cumulative === before.cumulative;
        const isNext = voucher.seq === before.seq + 1 && voucher.cumulative > before.cumulative;
        expect(isAgain || isNext).toBe(true);
      });
      sent += world.received.length;
      expect(checkLog(world.disk.lines, world.lane.head.head, sha256)).toEqual({
        ok: true,
        chain: world.lane.head,
      });
    }),
    { numRuns: 60 },
  );
  expect(sent).toBeGreaterThan(200);
  // A disk that keeps what it was given leaves nothing to adopt; lane.test.ts has a disk that does not.
  const cells = Object.entries(VOUCHER_TABLE).flatMap(([status, row]) =>
    Object.keys(row).map((cause) => `${status} ${cause}`),
  );
  expect(cells.filter((cell) => !visited.has(cell) && !/ (adopt|refuse)$/.test(cell))).toEqual([]);
});

test('a log that was changed anywhere does not end at its anchor, and the line is named where it can be', () => {
  let chain = EMPTY_CHAIN;
  const lines: string[] = [];
  for (let n = 1; n <= 12; n++) {
    const next = appendReceipt(chain, receipt(n, BigInt(n)), sha256);
    chain = next.chain;
    lines.push(next.entry.line);
  }
  const { head } = chain;
  expect(checkLog(lines, head, sha256).ok).toBe(true);
  const index = fc.integer({ min: 0, max: lines.length - 1 });
  const forged = fc.oneof(
    fc
      .tuple(index, fc.bigInt(13n, VOUCHER_LIMITS.laneAmount))
      .map(([at, amount]) =>
        lines.map((line, i) =>
          i === at ? line.replace(/,\d+,0x5/, `,${amount.toString()},0x5`) : line,
        ),
      ),
    index.map((at) => lines.filter((_, i) => i !== at)),
    index.map((at) => [...lines.slice(0, at), lines[at]!, ...lines.slice(at)]),
    index
      .filter((at) => at > 0)
      .map((at) => [...lines.slice(0, at - 1), lines[at]!, lines[at - 1]!, ...lines.slice(at + 1)]),
    index.map((at) => lines.slice(0, at)),
    index.map((at) =>
      lines.map((line, i) => (i === at ? line.replace('accepted', 'refused') : line)),
    ),
    index.map((at) =>
      lines.map((line, i) => (i === at ? line.replace(PAYEE, digits('6', 40)) : line)),
    ),
  );
  fc.assert(
    fc.property(forged, (log) => {
      expect(checkLog(log, head, sha256).ok).toBe(false);
    }),
  );
  const swapped = [...lines.slice(0, 3), lines[4]!, lines[3]!, ...lines.slice(5)];
  expect(checkLog(swapped, head, sha256)).toMatchObject({ ok: false, line: 4 });
});
