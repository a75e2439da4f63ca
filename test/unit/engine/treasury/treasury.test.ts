/**
 * @file Whoever pays, with a chain, a disk and workers that do what a test says: what is written before what is asked, what a refusal
 * leaves behind, and what its owner is told.
 */
import type { Address, JobId, LeaseId, ProgramHash, WorkerId } from '@ravenlab/protocol';
import { ChainError, VOUCHER_LIMITS } from '@ravenlab/protocol';
import { FREE_SETTLING } from '../../../../kernel/src/core/chain/settling.js';
import { emptyStatus } from '../../../../kernel/src/engine/chain/chainProxy.js';
import type {
  ChainService,
  ChainStatus,
  LaneOnChain,
} from '../../../../kernel/src/engine/chain/chainService.js';
import { NO_CHAIN } from '../../../../kernel/src/engine/chain/noChain.js';
import { DEFAULT_POLICY } from '../../../../kernel/src/engine/treasury/makeTreasury.js';
import type { PayRow } from '../../../../kernel/src/engine/treasury/payRows.js';
import { Treasury } from '../../../../kernel/src/engine/treasury/treasury.js';

const address = (digit: string) => `0x${digit.repeat(40)}` as Address;
const [PAYER, LOCAL, ANN] = [address('1'), address('2'), address('a')];
const JOB = `0x${'7'.repeat(64)}` as JobId;
const HERE = 'h'.repeat(64) as WorkerId;
const AWAY = 'a'.repeat(64) as WorkerId;
const HOUR_MS = 3_600_000;
const LANE: LaneOnChain = { job: JOB, payee: ANN, cap: 1_000_000n, paid: 0n };

const READY: ChainStatus = {
  ...emptyStatus('ready'),
  network: {
    ...{ chainId: 8_453, name: 'a network', isSimulated: false, rpcUrl: '', explorerUrl: null },
    finality: 'finalized',
  },
  escrow: address('e'),
  token: { address: address('d'), symbol: 'USDC', decimals: 6 },
  job: {
    ...{ id: JOB, payer: PAYER, signer: PAYER, expiry: 4_000_000_000 },
    ...{ deposit: 1_000_000n, free: 1_000_000n, reserved: 0n, state: 'open' },
  },
  canPay: true,
};

function stage() {
  let status: ChainStatus = emptyStatus('starting');
  let nowMs = 0;
  let leases = 0;
  const changes = new Set<(status: ChainStatus) => void>();
  const lanes = new Set<(lane: LaneOnChain) => void>();
  const story: string[] = [];
  const told: [string, string][] = [];
  const refuses = new Set<'settle' | 'reserve'>();
  const asked = (what: 'settle' | 'reserve', text: string): Promise<number> => {
    story.push(`chain: ${what} ${text}`);
    return refuses.has(what)
      ? Promise.reject(new ChainError(`no ${what} today`))
      : Promise.resolve(1);
  };
  const chain: ChainService = {
    ...NO_CHAIN,
    status: () => status,
    onChange: (listener) => {
      changes.add(listener);
      return () => changes.delete(listener);
    },
    onLane: (listener) => {
      lanes.add(listener);
      return () => lanes.delete(listener);
    },
    reserve: (caps) => asked('reserve', caps.map(({ payee }) => payee.slice(0, 3)).join()),
    settle: (due) => asked('settle', due.map(({ cumulative }) => cumulative).join()),
    // Nobody waits for vouchers here.
    signVoucher: () => new Promise(() => undefined),
    isOwnVoucher: () => Promise.resolve(false),
  };
  const treasury = new Treasury({
    ...{ chain, restored: { wallets: [], held: [], lanes: [] }, verdictOf: () => null },
    policy: { ...DEFAULT_POLICY, holdbackUnits: 0, holdbackMs: 0 },
    ...{ rate: { perGflop: 1n, perMib: 0n }, now: () => nowMs, wallMs: () => nowMs },
    write: (row: PayRow) => {
      story.push(`disk: ${row.kind}`);
      if (row.kind === 'settlement') setImmediate(() => treasury.stored([row]));
    },
    ...{ log: () => Promise.reject(new Error('no log here')), send: () => undefined },
    ...{ onTerms: () => undefined, onOpen: () => story.push('open'), onCover: () => undefined },
    ...{ serverKey: () => 'key', tell: (level, text) => told.push([level, text]) },
  });
  treasury.start();
  return {
    ...{ treasury, story, told, refuses },
    become(change: Partial<ChainStatus>): void {
      status = { ...status, ...change };
      for (const listener of changes) listener(status);
    },
    lane(change: Partial<LaneOnChain> = {}): void {
      for (const listener of lanes) listener({ ...LANE, ...change });
    },
    /** A unit of a worker, taken; found right, or not judged yet. */
    work(worker: WorkerId, amount: bigint, verdict: 'accepted' | null = 'accepted'): void {
      treasury.committed(
        {
          ...{ session: 1, request: ++leases, shard: 0, worker, lease: leases as LeaseId, amount },
          ...{ program: 'ab'.repeat(32) as ProgramHash, flops: 1, sizeBytes: 1, digest: null },
        },
        verdict,
      );
    },
    /** Lets time pass, and what was promised in it happen. */
    async pass(ms: number): Promise<void> {
      nowMs += ms;
      await jest.advanceTimersByTimeAsync(VOUCHER_LIMITS.tickMs);
      await new Promise((wake) => setImmediate(wake));
      await new Promise((wake) => setImmediate(wake));
    },
  };
}

type Stage = ReturnType<typeof stage>;

/** A contributor with a lane at work; settled by nobody. */
function atWork(): Stage {
  const on = stage();
  on.become(READY);
  on.treasury.joined(AWAY, ANN, false);
  on.lane();
  return on;
}

beforeEach(() => jest.useFakeTimers({ doNotFake: ['setImmediate'] }));
afterEach(() => jest.useRealTimers());

test('what local workers did before their accounts were known is paid once they are', async () => {
  const on = stage();
  on.treasury.joined(HERE, null, true);
  on.work(HERE, 7n);
  expect(on.story).toEqual([]);
  on.become({ ...READY, localPayees: [LOCAL], settling: FREE_SETTLING });
  on.lane({ payee: LOCAL });
  await on.pass(VOUCHER_LIMITS.settleMs);
  expect(on.treasury.lanes([HERE]).get(HERE)).toMatchObject({ address: LOCAL });
  expect(on.story).toContain('chain: settle 7');
});

test('the chain hears of a settlement when what it pays for is on the disk', async () => {
  const on = atWork();
  on.work(AWAY, 40n);
  const settled = on.treasury.settle();
  await on.pass(0);
  await expect(settled).resolves.toEqual({ transaction: 1 });
  const at = (what: string) => on.story.indexOf(what);
  expect(at('disk: receipts')).toBeGreaterThanOrEqual(0);
  expect(at('disk: receipts')).toBeLessThan(at('disk: settlement'));
  expect(at('disk: settlement')).toBeLessThan(at('chain: settle 40'));
  await expect(on.treasury.settle()).resolves.toEqual({ transaction: null });
});

test('a settlement that the chain refuses is told, and may be asked for again', async () => {
  const on = atWork();
  on.work(AWAY, 40n);
  on.refuses.add('settle');
  const refused = expect(on.treasury.settle()).rejects.toThrow('no settle today');
  await on.pass(0);
  await refused;
  on.refuses.clear();
  const again = on.treasury.settle();
  await on.pass(0);
  await expect(again).resolves.toEqual({ transaction: 1 });
});

test('on a network nothing is settled by itself until its settings say from what sum on, or how often', async () => {
  const on = atWork();
  const settlements = () => on.story.filter((line) => line.startsWith('chain: settle'));
  on.work(AWAY, 40n);
  await on.pass(VOUCHER_LIMITS.settleMs);
  expect(settlements()).toEqual([]);
  on.become({ settling: { floor: 30n, atLeast: 100n, everyMs: HOUR_MS } });
  await on.pass(VOUCHER_LIMITS.settleMs);
  expect(settlements()).toEqual([]);
  await on.pass(HOUR_MS);
  expect(settlements()).toEqual(['chain: settle 40']);
  on.work(AWAY, 100n);
  await on.pass(VOUCHER_LIMITS.settleMs);
  expect(settlements()).toEqual(['chain: settle 40', 'chain: settle 140']);
  // Gas has become dear: what is left is not worth it, however long it waits.
  on.become({ settling: { floor: 60n, atLeast: 100n, everyMs: HOUR_MS } });
  on.work(AWAY, 50n);
  await on.pass(VOUCHER_LIMITS.settleMs);
  await on.pass(9 * HOUR_MS);
  expect(settlements()).toHaveLength(2);
});

test('a settlement by itself that is refused is told once, and tried again at once', async () => {
  const on = atWork();
  on.become({ settling: { floor: 1n, atLeast: 10n, everyMs: HOUR_MS } });
  on.refuses.add('settle');
  on.work(AWAY, 40n);
  for (let i = 0; i < 3; i++) await on.pass(VOUCHER_LIMITS.settleMs);
  expect(on.story.filter((line) => line === 'chain: settle 40')).toHaveLength(3);
  expect(on.told).toEqual([['warning', 'What is owed could not be settled: no settle today']]);
});

test('a reservation that is refused is told once, and asked for again', async () => {
  const on = stage();
  on.refuses.add('reserve');
  on.become(READY);
  on.treasury.joined(AWAY, ANN, false);
  for (let i = 0; i < 3; i++) await on.pass(6_000);
  const asked = () => on.story.filter((line) => line === 'chain: reserve 0xa').length;
  expect(asked()).toBeGreaterThanOrEqual(2);
  expect(on.told).toEqual([
    ['warning', 'Nothing can be reserved for further work: no reserve today'],
  ]);
  on.refuses.clear();
  const before = asked();
  await on.pass(6_000);
  await on.pass(6_000);
  expect(asked()).toBe(before + 1);
});

test('two nodes that contradict each other are an alert, each time that they begin to', () => {
  const on = atWork();
  const dispute = { isDisputed: true, phase: 'problem', problem: 'two nodes …' } as const;
  on.become(dispute);
  on.become({ ...dispute, transactions: [] });
  expect(on.told).toEqual([['error', 'No payment is signed: two nodes …']]);
  on.become({ isDisputed: false, phase: 'ready', problem: null });
  on.become(dispute);
  expect(on.told).toHaveLength(2);
});

test('of machines with one wallet the first that is asked for shows what the wallet has', () => {
  const on = atWork();
  on.treasury.joined(HERE, ANN, false);
  on.work(AWAY, 40n, null);
  const heldBy = (...workers: WorkerId[]) =>
    [...on.treasury.lanes(workers)].map(([worker, { held }]) => [worker, held]);
  expect(heldBy(AWAY, HERE)).toEqual([
    [AWAY, 40n],
    [HERE, 0n],
  ]);
  // The panel leaves out machines that have done nothing yet.
  expect(heldBy(HERE)).toEqual([[HERE, 40n]]);
});

test('a caught cheat is paid for nothing that is held', async () => {
  const on = atWork();
  on.work(AWAY, 40n, null);
  expect(on.treasury.lanes([AWAY]).get(AWAY)).toMatchObject({ held: 40n });
  on.treasury.convicted(AWAY);
  expect(on.treasury.lanes([AWAY]).get(AWAY)).toMatchObject({ held: 0n });
  await expect(on.treasury.settle()).resolves.toEqual({ transaction: null });
});

test('a voucher that is not ours is told, and the worker is paid by what the ledger knows', async () => {
  const on = atWork();
  const voucher = {
    ...{ job: JOB, payee: ANN, cumulative: 9n, seq: 3, ledgerHead: `0x${'0'.repeat(64)}` },
    ...{ r: `0x${'1'.repeat(64)}`, vs: `0x${'2'.repeat(64)}` },
  } as Parameters<Treasury['presented']>[1];
  on.treasury.presented({ worker: AWAY, payee: ANN }, voucher);
  await on.pass(0);
  expect(on.told).toEqual([
    ['warning', expect.stringContaining('is not signed by the signer of this job') as string],
  ]);
});
