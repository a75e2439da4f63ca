/** @file What a payee keeps on its disk: that it survives, that a torn write does not count, and that nobody else reads it. */
import {
  appendFileSync,
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address, Hash32, JobId, SignedVoucher } from '@ravenlab/protocol';
import { EMPTY_CHAIN, RavenError } from '@ravenlab/protocol';
import type { LaneUpdate } from '../../../../worker/src/wallet/laneStore.js';
import {
  LaneStore,
  logFile,
  readLane,
  readLanes,
} from '../../../../worker/src/wallet/laneStore.js';

const hex = (digit: string, digits: number): string => `0x${digit.repeat(digits)}`;
const JOB = hex('1', 64) as JobId;
const DEAL: LaneUpdate['deal'] = {
  chainId: 31_337,
  escrow: hex('a', 40) as Address,
  job: JOB,
  payer: hex('b', 40) as Address,
  signer: hex('c', 40) as Address,
  payee: hex('d', 40) as Address,
  token: hex('e', 40) as Address,
  tokenSymbol: 'SUSD',
  decimals: 6,
  expiry: 1_800_000_000,
  cap: 2n ** 100n,
};
const voucher = (seq: number): SignedVoucher => ({
  job: JOB,
  payee: DEAL.payee,
  cumulative: BigInt(seq) * 10n ** 19n,
  seq,
  ledgerHead: hex('2', 64) as Hash32,
  r: hex('3', 64) as Hash32,
  vs: hex('4', 64) as Hash32,
});
const update = (seq: number): LaneUpdate => ({
  deal: DEAL,
  chain: { ...EMPTY_CHAIN, count: seq },
  voucher: voucher(seq),
  atRisk: 7n,
});

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'ravenlab-lanes-')), 'lanes');
});
afterEach(() => {
  rmSync(join(folder, '..'), { recursive: true, force: true });
});

const open = (): Promise<LaneStore> => LaneStore.open(folder, JOB);
const logText = (): string => readFileSync(logFile(folder, JOB), 'ascii');

test('a voucher and its receipts are there again, to the last unit', async () => {
  const store = await open();
  expect(store.record).toBeNull();
  await store.save(update(1), ['one', 'two']);
  await store.save(update(2), ['three']);
  await store.close();
  const again = await open();
  expect(again.record).toEqual({ ...update(2), logBytes: 'one\ntwo\nthree\n'.length });
  expect(logText()).toBe('one\ntwo\nthree\n');
  await again.close();
  expect(await readLanes(folder)).toEqual([again.record]);
});

test('what waits for the disk is written together, newest record last', async () => {
  const store = await open();
  await Promise.all([1, 2, 3].map((seq) => store.save(update(seq), [`line ${String(seq)}`])));
  await store.close();
  expect(readLane(folder, JOB)?.voucher?.seq).toBe(3);
  expect(logText()).toBe('line 1\nline 2\nline 3\n');
});

test('receipts that were being written when the process died do not count', async () => {
  const store = await open();
  await store.save(update(1), ['one']);
  await store.close();
  appendFileSync(logFile(folder, JOB), 'two, and ha');
  const again = await open();
  await again.save(update(2), ['two']);
  await again.close();
  expect(logText()).toBe('one\ntwo\n');
});

test('a draft that was left behind is no lane', async () => {
  const store = await open();
  await store.save(update(1));
  await store.close();
  writeFileSync(join(folder, `${JOB}.json.99.tmp`), '{');
  expect((await readLanes(folder)).map(({ deal }) => deal.job)).toEqual([JOB]);
});

test('only its owner reads it, and one that others can read is refused', async () => {
  const store = await open();
  await store.save(update(1), ['one']);
  await store.close();
  for (const name of readdirSync(folder)) {
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  }
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  chmodSync(join(folder, `${JOB}.json`), 0o644);
  expect(() => readLane(folder, JOB)).toThrow(/mode is 0644, expected 0600/);
});

test('a damaged record is reported, not replaced', async () => {
  const store = await open();
  await store.save(update(1));
  await store.close();
  const file = join(folder, `${JOB}.json`);
  for (const text of ['{', '{}', readFileSync(file, 'utf8').replace('"1000', '"-1000')]) {
    writeFileSync(file, text);
    await expect(open()).rejects.toThrow(RavenError);
    await expect(open()).rejects.toThrow(/does not hold a voucher.*put back its backup/);
    expect(readFileSync(file, 'utf8')).toBe(text);
  }
});

test('a disk that refuses is an error, and nothing is said to be kept', async () => {
  const store = await open();
  await store.save(update(1));
  rmSync(folder, { recursive: true });
  await expect(store.save(update(2))).rejects.toThrow(/a voucher could not be kept/);
  expect(store.record?.voucher?.seq).toBe(1);
  await store.close();
});
