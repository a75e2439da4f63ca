/**
 * @file Two nodes of one network, one of which is behind, lies, is silent, or is on another branch: real anvils, and a proxy between.
 * What counts is what both call final; while they contradict each other nothing is signed, and nothing is lost.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Address, Hash32, JobId } from '@ravenlab/protocol';
import { startSimulatedChain } from '../../../contracts/src/anvil.js';
import type { SimulatedChain } from '../../../contracts/src/anvil.js';
import { createKeystore } from '../../../contracts/src/keystore.js';
import type { ChainStatus } from '../../../kernel/src/engine/chain/chainService.js';
import { Escrow } from '../../contracts/lib/escrow.js';
import { Rpc } from '../../contracts/lib/rpc.js';
import { Stage } from '../../contracts/lib/stage.js';
import { NodeProxy } from '../lib/nodeProxy.js';
import type { AgentUnderTest } from './lib.js';
import { isReady, newHome, startAgent } from './lib.js';

const CHAIN_ID = 4_243;
/** Anvil calls a block final when 64 are on top of it. */
const EPOCHS = 70;
const HEAD = `0x${'ab'.repeat(32)}` as Hash32;
const [ANN, BEN, CID, DAN] = ['a', 'b', 'c', 'd'].map((digit) => `0x${digit.repeat(40)}`) as [
  Address,
  Address,
  Address,
  Address,
];
const { home, remove } = newHome();

let stage: Stage;
let proxy: NodeProxy;
let fork: SimulatedChain | null = null;
let running: AgentUnderTest;
let job: JobId;

const hex = (value: number): string => `0x${value.toString(16)}`;
const mine = (blocks = EPOCHS) => stage.rpc.call('anvil_mine', [hex(blocks)]);
const capOf = (payee: Address) =>
  running.agent.lanes().find((lane) => lane.payee === payee)?.cap ?? 0n;
const reserve = (payee: Address, cap: bigint) => running.agent.reserve([{ payee, cap }]);
const newest = () => running.agent.status().transactions[0];
const sign = (cumulative: bigint) =>
  running.agent.signVoucher({ job, payee: ANN, cumulative, seq: 1, ledgerHead: HEAD });
const disputed = ({ isDisputed }: ChainStatus) => isDisputed;

async function until(what: string, fits: () => boolean): Promise<void> {
  const end = performance.now() + 15_000;
  while (!fits()) {
    if (performance.now() > end)
      throw new Error(`${what}: ${String(running.agent.status().problem)}`);
    await delay(20);
  }
}

/** As often as the agent looks, a few times. */
const looks = () => delay(400);

async function key(name: string) {
  const made = { password: 'of a test', scryptCost: 2 };
  const { address } = await createKeystore(join(home, `${name}.json`), made);
  return { address, settings: { keystore: `${name}.json`, passwordFile: 'password' } };
}

beforeAll(async () => {
  stage = await Stage.start(CHAIN_ID);
  const escrow = await Escrow.deploy(stage);
  proxy = await NodeProxy.start(stage.chain.url);
  writeFileSync(join(home, 'password'), 'of a test', { mode: 0o600 });
  const [payer, signer] = [await key('payer'), await key('signer')];
  await stage.rpc.call('anvil_setBalance', [payer.address, hex(1e18)]);
  await stage.rpc.call('anvil_impersonateAccount', [payer.address]);
  const opened = { amount: 1_000n, payer: payer.address, signer: signer.address };
  job = (await escrow.open(opened)).id as JobId;
  const settings = {
    ...{ rpcUrl: stage.chain.url, secondRpcUrl: proxy.url, chainId: CHAIN_ID, job },
    ...{ escrow: escrow.contract.address, token: escrow.token.address, decimals: 6 },
    ...{ signer: signer.settings, payer: payer.settings },
    settle: { etherPrice: '3000', atLeast: '0.0005', timesFee: 10, everyHours: 2 },
  };
  const file = join(home, 'chain.json');
  writeFileSync(file, JSON.stringify(settings), { mode: 0o600 });
  running = startAgent({ home, choice: { kind: 'settings', file }, networkPollMs: 50 });
  await running.when('ready', isReady);
});

beforeEach(() => {
  proxy.meddling = {};
});

afterAll(async () => {
  await running.close();
  await fork?.stop();
  proxy.stop();
  await stage.stop();
  remove();
});

test('what is paid in and reserved counts when both nodes call it final, and not before', async () => {
  expect(running.agent.status()).toMatchObject({
    ...{ network: { finality: 'finalized' }, job: { free: 1_000n, deposit: 0n } },
  });
  reserve(ANN, 20n);
  await until('mined', () => newest()?.state === 'mined');
  await mine(3);
  await looks();
  expect([capOf(ANN), running.agent.status().job?.reserved]).toEqual([0n, 20n]);
  await mine();
  await until('final', () => capOf(ANN) === 20n);
  expect(running.agent.status().job?.deposit).toBe(1_000n);
  await until('confirmed', () => newest()?.state === 'confirmed');
});

test('a lane is settled by itself from ten times of what the gas costs now', async () => {
  const { settling } = running.agent.status();
  expect(settling).toMatchObject({ atLeast: 500n, everyMs: 2 * 3_600_000 });
  const tip = BigInt(String(await stage.rpc.call('eth_maxPriorityFeePerGas', [])));
  // 90,000 gas, 3,000 coins of 6 decimals for an ether; what is above the tip is the base fee of that block.
  const atTip = (10n * 90_000n * tip * 3_000_000_000n) / 10n ** 18n;
  expect(settling!.floor).toBeGreaterThan(atTip);
  expect(settling!.floor).toBeLessThan(4n * atTip);
});

test('a node that is behind holds up what counts, and one that stands still is named', async () => {
  const behind = await stage.rpc.call('eth_blockNumber', []);
  const then = new Map<unknown, string>([
    ['latest', String(behind)],
    ['finalized', hex(Number(behind) - 64)],
  ]);
  proxy.meddling = { asks: (_method, params) => params.map((each) => then.get(each) ?? each) };
  reserve(BEN, 30n);
  await until('mined', () => newest()?.state === 'mined');
  await mine();
  await looks();
  expect([capOf(BEN), newest()?.state]).toEqual([0n, 'mined']);
  proxy.meddling = {
    answers: (method, result) => {
      if (method !== 'eth_getBlockByNumber') return result;
      const block = result as { readonly timestamp: string };
      return { ...block, timestamp: hex(Number(block.timestamp) - 600) };
    },
  };
  const { problem } = await running.when('told', ({ phase }) => phase === 'problem');
  expect(problem).toMatch(
    /127\.0\.0\.1:\d+ is 600 s behind the other one, at most 180 are expected/,
  );
  // What was agreed on before is not in doubt.
  await expect(sign(1n)).resolves.toMatchObject({ r: expect.any(String) as string });
  proxy.meddling = {};
  await until('final', () => capOf(BEN) === 30n);
});

test('a node that leaves an event out is caught before it counts, and nothing is signed', async () => {
  reserve(CID, 40n);
  await until('mined', () => newest()?.state === 'mined');
  proxy.meddling = {
    answers: (method, result) =>
      method === 'eth_getLogs' ? (result as readonly unknown[]).slice(0, -1) : result,
  };
  await mine();
  const { problem } = await running.when('told', disputed);
  expect(problem).toMatch(/two nodes contradict each other: they tell different events of job 0x/);
  expect(capOf(CID)).toBe(0n);
  await expect(sign(2n)).rejects.toThrow(/nothing is signed now: the two nodes contradict/);
  reserve(DAN, 50n);
  await looks();
  expect(newest()).toMatchObject({ kind: 'reserve', state: 'waiting', hash: null });
  proxy.meddling = {};
  await until('signed', () => newest()?.state === 'mined');
  expect(capOf(CID)).toBe(40n);
  await expect(sign(2n)).resolves.toMatchObject({ r: expect.any(String) as string });
});

test('a call is signed only when it would be the same from either node', async () => {
  await mine();
  await until('final', () => capOf(DAN) === 50n);
  // A lane's three words, as if nobody had reserved it: twice as much would be asked for.
  proxy.meddling = {
    answers: (method, result) =>
      method === 'eth_call' && String(result).length === 2 + 3 * 64
        ? `0x${'0'.repeat(192)}`
        : result,
  };
  reserve(DAN, 60n);
  await until('noted', () => newest()?.note !== null);
  await looks();
  expect(newest()).toMatchObject({
    ...{ state: 'waiting', hash: null },
    note: 'the two nodes do not tell the same yet: not signed until they do',
  });
  proxy.meddling = {};
  await until('signed', () => newest()?.state === 'mined');
  await mine();
  await until('final', () => capOf(DAN) === 60n);
});

test('a node that is silent disputes nothing, but without it nothing is sent', async () => {
  proxy.meddling = { lost: new Set(['eth_getBlockByNumber']) };
  const { problem, isDisputed } = await running.when('told', ({ phase }) => phase === 'problem');
  expect([isDisputed, problem]).toEqual([false, expect.stringContaining(proxy.url)]);
  await expect(sign(3n)).resolves.toMatchObject({ r: expect.any(String) as string });
  reserve(ANN, 25n);
  await looks();
  expect(newest()).toMatchObject({ state: 'waiting', hash: null });
  proxy.meddling = {};
  await until('sent', () => newest()?.state === 'mined');
});

test('a node on another branch is seen by the hash of the block that counts', async () => {
  await mine();
  await until('final', () => capOf(ANN) === 25n);
  fork = await startSimulatedChain({ chainId: CHAIN_ID, forkUrl: stage.chain.url });
  proxy.target = fork.url;
  await Promise.all([mine(), new Rpc(fork.url).call('anvil_mine', [hex(EPOCHS)])]);
  const { problem } = await running.when('told', disputed);
  expect(problem).toMatch(
    /block \d+ is 0x[0-9a-f]{64} at the first and 0x[0-9a-f]{64} at the second \(first http.*name another one/,
  );
  await expect(sign(4n)).rejects.toThrow(/nothing is signed now/);
  proxy.target = stage.chain.url;
  await running.when('agreed', isReady);
  await expect(sign(4n)).resolves.toMatchObject({ r: expect.any(String) as string });
});
