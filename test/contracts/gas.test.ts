/**
 * @file What the escrow costs: against the committed snapshot, against the design's figures, and under the gas cap of a
 * transaction. `RAVENLAB_UPDATE_GAS=1` writes a new snapshot.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { id as keccakText } from 'ethers';
import { CHAIN_LIMITS } from '@ravenlab/protocol';
import { readArtifact } from '../../contracts/src/artifact.js';
import { Escrow, refusal } from './lib/escrow.js';
import { Stage } from './lib/stage.js';

const SNAPSHOT = join(__dirname, 'gas.json');
/** Deployed code may be this long (EIP-170). */
const CODE_LIMIT_BYTES = 24_576;
/** EIP-7825. */
const TRANSACTION_GAS_CAP = 2 ** 24;
const CHUNK = CHAIN_LIMITS.payeesPerTransaction;
const SNAPSHOT_TOLERANCE = 0.02;
const DESIGN_TOLERANCE = 0.05;

/** Gas per payee of a large batch, and of single calls, that the design was chosen by. */
const DESIGN: Readonly<Record<string, number>> = {
  open: 153_000,
  'reserve one': 57_000,
  'reserve per payee': 25_900,
  'redeem one, first': 87_800,
  'redeem one, repeat': 70_700,
  'redeem per payee, first': 43_600,
  'redeem per payee, repeat': 26_500,
  'settle one, repeat': 58_000,
  'settle per payee, repeat': 17_400,
};

let stage: Stage;
let escrow: Escrow;
const measured = new Map<string, number>();

const addressOf = (index: number): string => `0x${keccakText(`payee ${String(index)}`).slice(-40)}`;
const PAYEES = Array.from({ length: CHUNK }, (_, index) => addressOf(index));
/** Amounts of a coin with six decimals: some dollars each, different for each payee. */
const amountOf = (index: number): bigint => 3_141_592n + BigInt(index) * 1_001n;
const LANE = 100_000_000n;
const amountsAt = (round: number): Readonly<Record<string, bigint>> =>
  Object.fromEntries(PAYEES.map((payee, i) => [payee, amountOf(i) * BigInt(round)]));

beforeAll(async () => {
  stage = await Stage.start();
  escrow = await Escrow.deploy(stage);
});

afterAll(async () => {
  await stage.stop();
});

/** One payee at a time, then a whole chunk, each for the first time and again. */
async function measureAll(): Promise<void> {
  const { payer, relayer } = escrow.cast;
  const note = (name: string, gas: number) => measured.set(name, Math.round(gas));
  const deposit = LANE * BigInt(CHUNK + 1);
  await escrow.fund(payer, deposit);
  const salt = escrow.nextSalt();
  const expiry = (await stage.now()) + 864_000;
  const opened = await escrow.call(
    'open',
    [salt, escrow.token.address, escrow.cast.signer.address, deposit, expiry],
    { from: payer },
  );
  note('open', opened.gasUsed);
  const id = (await escrow.contract.view('jobId', [payer, salt])) as string;

  const ann = escrow.cast.ann.address;
  note('reserve one', (await escrow.reserve(id, { [ann]: LANE })).gasUsed);
  const redeemOne = async (amount: bigint) =>
    (await escrow.redeem(id, [escrow.voucher(id, ann, amount)], { from: relayer })).gasUsed;
  note('redeem one, first', await redeemOne(1_000_000n));
  note('redeem one, repeat', await redeemOne(2_000_000n));
  note('settle one, repeat', (await escrow.settle(id, { [ann]: 3_000_000n })).gasUsed);
  note('release', (await escrow.release(id, escrow.cast.ann, LANE / 2n)).gasUsed);

  const lanes = Object.fromEntries(PAYEES.map((payee) => [payee, LANE]));
  note('reserve chunk', (await escrow.reserve(id, lanes)).gasUsed);
  const redeemChunk = async (round: number) => {
    const amounts = Object.entries(amountsAt(round));
    const vouchers = amounts.map(([payee, amount]) => escrow.voucher(id, payee, amount));
    return (await escrow.redeem(id, vouchers, { from: relayer, gas: TRANSACTION_GAS_CAP })).gasUsed;
  };
  note('redeem chunk, first', await redeemChunk(1));
  note('redeem chunk, repeat', await redeemChunk(2));
  note('settle chunk, repeat', (await escrow.settle(id, amountsAt(3))).gasUsed);
  note('refund', (await escrow.call('refund', [id], { from: payer })).gasUsed);
  for (const name of ['reserve', 'redeem', 'settle']) {
    for (const when of ['', ', first', ', repeat']) {
      const gas = measured.get(`${name} chunk${when}`);
      if (gas !== undefined) note(`${name} per payee${when}`, gas / CHUNK);
    }
  }
}

test('chunkOf300Payees_fitsIntoATransaction_reserveRedeemAndSettle', async () => {
  await measureAll();
  for (const [name, gas] of measured) {
    if (name.includes('chunk')) expect(gas).toBeLessThan(TRANSACTION_GAS_CAP);
  }
  expect(await escrow.balance(PAYEES[CHUNK - 1]!)).toBe(amountOf(CHUNK - 1) * 3n);
});

test('batchThatIsTooLong_isRefusedByTheChain_asOnMainnet', async () => {
  const job = await escrow.open({ amount: 700n });
  const lanes = Object.fromEntries(
    Array.from({ length: 700 }, (_, i) => [addressOf(i + 1_000), 1n]),
  );
  const { payer } = escrow.cast;
  expect(
    await refusal(escrow.reserve(job.id, lanes, { from: payer, gas: TRANSACTION_GAS_CAP })),
  ).toBe('(no reason)');
  await expect(
    escrow.reserve(job.id, lanes, { from: payer, gas: TRANSACTION_GAS_CAP + 1 }),
  ).rejects.toThrow(/gas/);
});

test('gas_isWithinFivePercentOfTheDesign_perPayee', () => {
  const over = Object.entries(DESIGN).filter(
    ([name, gas]) => (measured.get(name) ?? Infinity) > gas * (1 + DESIGN_TOLERANCE),
  );
  expect(over).toEqual([]);
});

test('gas_isWhatTheSnapshotSays', () => {
  const now = Object.fromEntries(measured);
  if (process.env['RAVENLAB_UPDATE_GAS'] === '1') {
    writeFileSync(SNAPSHOT, `${JSON.stringify(now, null, 2)}\n`);
  }
  const before = JSON.parse(readFileSync(SNAPSHOT, 'utf8')) as Record<string, number>;
  expect(Object.keys(before)).toEqual(Object.keys(now));
  const moved = Object.entries(now).filter(
    ([name, gas]) => Math.abs(gas / before[name]! - 1) > SNAPSHOT_TOLERANCE,
  );
  expect(moved.map(([name, gas]) => [name, before[name], gas])).toEqual([]);
});

test('code_isBelowTheLimitOfAContract', () => {
  const bytes = (readArtifact('LaneEscrow').deployedBytecode.length - 2) / 2;
  expect(bytes).toBeLessThan(CODE_LIMIT_BYTES);
});
