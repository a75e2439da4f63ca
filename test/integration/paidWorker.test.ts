/**
 * @file A real engine on a network of its own pays a real worker that joined by invite, and settles by itself what its settings say;
 * then both are killed, and what else was earned is redeemed from the worker's disk alone, to the last base unit.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatUnits } from 'ethers';
import type { Account } from '@ravenlab/contracts';
import { createKeystore } from '@ravenlab/contracts';
import type { Payee } from '@ravenlab/protocol';
import { checkLog } from '@ravenlab/protocol';
import { logFile, readLanes } from '../../worker/src/wallet/laneStore.js';
import { walletPaths } from '../../worker/src/wallet/wallet.js';
import { Escrow } from '../contracts/lib/escrow.js';
import { Stage } from '../contracts/lib/stage.js';
import { Training, startTestEngine, until, waitForWorkers } from './lib/engineUnderTest.js';
import type { TestEngine } from './lib/engineUnderTest.js';
import { ended, soon } from './lib/scriptedEngine.js';

const WORKER = join(__dirname, '..', '..', 'worker', 'dist', 'cli.js');
/** No simulated chain: what is said on it counts. */
const CHAIN_ID = 4_242;
const ETHER = 10n ** 18n;
/** As that of most dollars on chains, and unlike ether's. */
const DECIMALS = 6;
const DEPOSIT = 1_000n * 10n ** BigInt(DECIMALS);
/** Of a model as small as this one's, so that its units cost more than the smallest amount there is. */
const PER_TFLOP = '25';
/** More than half of what is earned, so that it is settled once. */
const SETTLE_AT_LEAST = 1_500n;
const PASSWORD = 'of a test';
const STEPS = 40;

const home = mkdtempSync(join(tmpdir(), 'ravenlab-paid-'));
const workerHome = join(home, 'contributor');
let stage: Stage;
let escrow: Escrow;
let engine: TestEngine;
let worker: ChildProcess | null = null;

beforeAll(async () => {
  stage = await Stage.start(CHAIN_ID);
  const token = await stage.deploy('DevToken', ['Test dollar', 'TUSD', DECIMALS]);
  escrow = await Escrow.deploy(stage, token);
});
afterAll(async () => {
  worker?.kill('SIGKILL');
  await engine.stop();
  await stage.stop();
  rmSync(home, { recursive: true, force: true });
});

const giveEther = (account: string, wei: bigint) =>
  stage.rpc.call('anvil_setBalance', [account, `0x${wei.toString(16)}`]);

/** A key of nobody's but this test's, as a person would have it. */
function newKey(name: string): Promise<Account> {
  return createKeystore(join(home, `${name}.json`), { password: PASSWORD, scryptCost: 2 });
}

/** Opens a job for keys of its own and writes the settings that an engine pays from. */
async function writeSettings(): Promise<string> {
  const [payer, signer] = [await newKey('payer'), await newKey('signer')];
  await giveEther(payer.address, ETHER);
  await stage.rpc.call('anvil_impersonateAccount', [payer.address]);
  const job = await escrow.open({
    amount: DEPOSIT,
    payer: payer.address,
    signer: signer.address,
  });
  const passwordFile = join(home, 'password');
  writeFileSync(passwordFile, PASSWORD, { mode: 0o600 });
  const key = (name: string) => ({ keystore: `${name}.json`, passwordFile });
  const settings = {
    rpcUrl: stage.chain.url,
    chainId: CHAIN_ID,
    escrow: escrow.contract.address,
    token: escrow.token.address,
    ...{ decimals: DECIMALS, price: { perTflop: PER_TFLOP } },
    job: job.id,
    signer: key('signer'),
    payer: key('payer'),
    // Gas costs next to nothing: what counts is the amount, or a day.
    settle: { etherPrice: '0.01', timesFee: 1, atLeast: formatUnits(SETTLE_AT_LEAST, DECIMALS) },
    confirmations: 1,
  };
  const file = join(home, 'chain.json');
  writeFileSync(file, JSON.stringify(settings), { mode: 0o600 });
  return file;
}

function joinPaid(command: string): ChildProcess {
  const invite = command.split(' ').pop() ?? '';
  const chain = ['--rpc', stage.chain.url, '--token', escrow.token.address];
  const args = ['join', invite, '--threads', '1', '--backend', 'onnx-cpu', ...chain];
  return spawn(process.execPath, [WORKER, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, RAVENLAB_HOME: workerHome },
  });
}

async function payee(): Promise<Payee | null> {
  const { panel } = await engine.status();
  return panel.payments.payees.find(({ address }) => address !== null) ?? null;
}

test('training is paid, and redeemed from the disk of its worker when everybody else is gone', async () => {
  engine = await startTestEngine({
    ...{ workers: 0, home: join(home, 'engine') },
    env: { RAVENLAB_CHAIN: await writeSettings() },
  });
  await until('an open job', async () => {
    const { settlement, problem } = (await engine.status()).panel.payments;
    if (problem !== null) throw new Error(problem);
    return settlement === 'ready';
  });
  const { command } = (await engine.command('invite')) as { command: string };
  const running = joinPaid(command);
  worker = running;
  await waitForWorkers(engine, 1);
  const training = new Training(engine);
  await training.prepare();
  await training.run(STEPS);

  // Who has nothing to do for a while is paid what is held back, too.
  const row = await until(
    'all that was metered in a voucher',
    async () => {
      const now = await payee();
      return now !== null && now.metered !== '0' && now.vouchered === now.metered && now;
    },
    30_000,
  );
  const { lanes } = walletPaths(join(workerHome, 'worker'), 1);
  const lane = await until('the voucher on the disk of the worker', async () => {
    const [kept] = await readLanes(lanes);
    return String(kept?.voucher?.cumulative) === row.vouchered && kept;
  });

  const { enginePid, panel } = await engine.status();
  expect(panel.payments).toMatchObject({
    ...{ currency: 'TUSD', decimals: DECIMALS, unitPriceText: `${PER_TFLOP} TUSD per TFLOP` },
    balance: { deposit: DEPOSIT.toString() },
  });
  // What was earned is of the size of the work, and not of another token's.
  expect(BigInt(row.metered)).toBeGreaterThan(BigInt(row.units));
  expect(BigInt(row.metered)).toBeLessThan(DEPOSIT);
  expect(BigInt(row.metered)).toBeLessThan(2n * SETTLE_AT_LEAST);

  // Nobody asked for it.
  const settled = await until('what was due on the chain', async () => {
    const now = await payee();
    return now !== null && now.settled !== '0' && BigInt(now.settled);
  });
  expect(settled).toBeGreaterThanOrEqual(SETTLE_AT_LEAST);
  expect(settled).toBeLessThan(BigInt(row.metered));
  expect(await escrow.balance(lane.deal.payee)).toBe(settled);
  running.kill('SIGKILL');
  process.kill(enginePid, 'SIGKILL');
  await soon(once(running, 'exit'), 'end of the worker');
  expect(lane.chain.count).toBe(row.units);
  const log = readFileSync(logFile(lanes, lane.deal.job), 'ascii').trimEnd().split('\n');
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
  expect(checkLog(log, lane.voucher!.ledgerHead, sha256)).toMatchObject({
    ok: true,
    chain: { count: row.units, earned: BigInt(row.metered) },
  });

  const { payee: address } = lane.deal;
  await giveEther(address, ETHER);
  const redeem = spawn(process.execPath, [WORKER, 'redeem', '--rpc', stage.chain.url, '--force'], {
    env: { ...process.env, RAVENLAB_HOME: workerHome },
  });
  const { code, output } = await ended(redeem);
  const rest = BigInt(row.metered) - settled;
  expect(output).toContain(`${formatUnits(rest, DECIMALS)} TUSD`);
  expect(output).toContain(`paid to ${address}`);
  expect(code).toBe(0);
  expect(await escrow.balance(address)).toBe(BigInt(row.metered));
});
