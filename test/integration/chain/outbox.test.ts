/**
 * @file The outbox at a real anvil that is made to misbehave: blocks withheld and taken back, sendings lost, gas too dear, a nonce used by
 * somebody else. Minting play money is the transaction: its sum tells how often each had an effect.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Address } from '@ravenlab/protocol';
import { CHAIN_LIMITS } from '@ravenlab/protocol';
import { ChainClient } from '../../../contracts/src/chainClient.js';
import { devAccounts } from '../../../contracts/src/devAccounts.js';
import type { EscrowClient } from '../../../contracts/src/escrowClient.js';
import { tokenBalance, tokenCalls } from '../../../contracts/src/escrowClient.js';
import { confirmedBlock } from '../../../kernel/src/core/chain/eventWindow.js';
import { ChainDatabase } from '../../../kernel/src/engine/chain/chainDatabase.js';
import type { ReadyToPay } from '../../../kernel/src/engine/chain/setUp.js';
import { setUp } from '../../../kernel/src/engine/chain/setUp.js';
import { chunksOf } from '../../../kernel/src/engine/chain/intents.js';
import { JobWatch } from '../../../kernel/src/engine/chain/jobWatch.js';
import { openSimulated } from '../../../kernel/src/engine/chain/network.js';
import type { OpenNetwork } from '../../../kernel/src/engine/chain/network.js';
import { Outbox } from '../../../kernel/src/engine/chain/outbox.js';
import { NodeProxy } from '../lib/nodeProxy.js';
import { PAYEES, newHome } from './lib.js';

const CONFIRMATIONS = 3;
const GWEI = 10n ** 9n;
const [payer] = devAccounts();
const { home, remove } = newHome();

let network: OpenNetwork;
let database: ChainDatabase;
let ready: ReadyToPay;
/** Between the outbox and the node. */
let lossy: NodeProxy;
let chain: ChainClient;
let nowMs = 1_000_000;
let payees = 0;

const rpc = (method: string, params: readonly unknown[] = []) =>
  network.chain.rpc.call(method, params);
const mine = (blocks = 1) => rpc('anvil_mine', [`0x${blocks.toString(16)}`]);

function outboxOf(
  options: { readonly ceiling?: bigint; readonly on?: ChainDatabase } = {},
): Outbox {
  return new Outbox({
    ...{ chain, database: options.on ?? database, payer: payer! },
    feeCeiling: options.ceiling ?? 1_000n * GWEI,
    escrow: () => ready.escrow,
    wallMs: () => nowMs,
  });
}

/** An account that has nothing, and a request that gives it this much. */
function mintTo(outbox: Outbox, amount: bigint): { readonly id: number; readonly to: Address } {
  const to = `0x${(0xabc0000 + payees++).toString(16).padStart(40, '0')}` as Address;
  const intent = {
    kind: 'mint',
    token: ready.token.address,
    to,
    amount: amount.toString(),
  } as const;
  return { id: outbox.request(intent, null), to };
}

const balance = (of: Address) => tokenBalance(network.chain, ready.token.address, of);
const stateOf = (id: number) => database.row(id)?.state;
const noteOf = (id: number) => database.newest(50).find((row) => row.id === id)?.note ?? null;

async function poll(outbox: Outbox): Promise<void> {
  const head = await network.chain.blockNumber();
  await outbox.poll(head, confirmedBlock(head, CONFIRMATIONS));
}

beforeAll(async () => {
  network = await openSimulated(join(home, 'node'), () => undefined);
  lossy = await NodeProxy.start(network.info.rpcUrl);
  chain = await ChainClient.open(lossy.url, 31_337);
  database = new ChainDatabase(join(home, 'outbox.sqlite'));
  database.useChain(network.identity);
  let escrow: EscrowClient | null = null;
  const { feeCeiling } = network;
  const outbox = new Outbox({
    ...{ chain: network.chain, database, payer: payer! },
    ...{ feeCeiling, escrow: () => escrow, wallMs: Date.now },
  });
  const onEscrow = (found: EscrowClient) => (escrow = found);
  ready = await setUp({ network, database, outbox, owner: 'test', onEscrow, wallMs: Date.now });
  await mine(CHAIN_LIMITS.reorgBlocks);
  await poll(outbox);
});

beforeEach(async () => {
  lossy.meddling = {};
  await rpc('evm_setAutomine', [true]);
});

afterAll(async () => {
  lossy.stop();
  database.close();
  await network.stop();
  remove();
});

/** Blocks come when the chain is ready for them. */
async function pollUntil(outbox: Outbox, id: number, state: 'mined'): Promise<void> {
  for (let i = 0; i < 50 && stateOf(id) !== state; i++) {
    await poll(outbox);
    await delay(20);
  }
  expect(stateOf(id)).toBe(state);
}

test('what is lost on the way was stored before, and another outbox sends the same bytes', async () => {
  const { id, to } = mintTo(outboxOf(), 5n);
  lossy.meddling = { lost: new Set(['eth_sendRawTransaction']) };
  await expect(poll(outboxOf())).rejects.toThrow(/does not answer/);
  expect(stateOf(id)).toBe('sent');
  const [stored] = database.attempts(id);
  expect(await balance(to)).toBe(0n);
  lossy.meddling = {};
  // As after kill -9: nothing but the file is left.
  const later = outboxOf();
  await pollUntil(later, id, 'mined');
  expect(database.attempts(id)).toEqual([stored]);
  await mine(CONFIRMATIONS);
  await poll(later);
  expect([stateOf(id), await balance(to)]).toEqual(['confirmed', 5n]);
});

test('an answer that is lost is no second transaction', async () => {
  const outbox = outboxOf();
  const { id, to } = mintTo(outbox, 7n);
  await poll(outbox);
  // The node has it; a restarted outbox cannot know, and says it again.
  await poll(outboxOf());
  nowMs += CHAIN_LIMITS.rebroadcastMs;
  await poll(outboxOf());
  await mine(CONFIRMATIONS);
  await poll(outboxOf());
  expect([stateOf(id), await balance(to)]).toEqual(['confirmed', 7n]);
});

test('what no block takes is offered an eighth more for, and takes effect once', async () => {
  await rpc('evm_setAutomine', [false]);
  const outbox = outboxOf();
  const { id, to } = mintTo(outbox, 11n);
  await poll(outbox);
  await poll(outbox);
  expect(database.attempts(id)).toHaveLength(1);
  nowMs += CHAIN_LIMITS.bumpMs;
  await poll(outbox);
  const [second, first] = database.attempts(id);
  expect(first).toBeDefined();
  expect(second!.hash).not.toBe(first!.hash);
  expect(8n * second!.maxFeePerGas).toBeGreaterThanOrEqual(9n * first!.maxFeePerGas);
  expect(8n * second!.maxPriorityFeePerGas).toBeGreaterThanOrEqual(
    9n * first!.maxPriorityFeePerGas,
  );
  await mine(CONFIRMATIONS);
  await poll(outbox);
  expect([stateOf(id), await balance(to)]).toEqual(['confirmed', 11n]);
});

test('gas above the ceiling postpones, without a nonce, until it is cheaper', async () => {
  await rpc('anvil_setNextBlockBaseFeePerGas', [`0x${(90n * GWEI).toString(16)}`]);
  await mine();
  const outbox = outboxOf({ ceiling: 20n * GWEI });
  const { id, to } = mintTo(outbox, 13n);
  await poll(outbox);
  expect([stateOf(id), database.row(id)?.nonce]).toEqual(['waiting', null]);
  expect(noteOf(id)).toMatch(/gas costs \d+\.\d\d gwei, the ceiling is 20\.00: postponed/);
  await rpc('anvil_setNextBlockBaseFeePerGas', [`0x${GWEI.toString(16)}`]);
  await mine();
  await poll(outbox);
  await mine(CONFIRMATIONS);
  await poll(outbox);
  expect([stateOf(id), await balance(to)]).toEqual(['confirmed', 13n]);
});

test('a block that is taken back puts its transaction on its way again', async () => {
  const before = await rpc('evm_snapshot');
  const outbox = outboxOf();
  const { id, to } = mintTo(outbox, 17n);
  await poll(outbox);
  await poll(outbox);
  expect([stateOf(id), await balance(to)]).toEqual(['mined', 17n]);
  await rpc('evm_revert', [before]);
  expect(await balance(to)).toBe(0n);
  await poll(outbox);
  expect(stateOf(id)).toBe('sent');
  await poll(outbox);
  await mine(CONFIRMATIONS);
  await poll(outbox);
  expect([stateOf(id), await balance(to)]).toEqual(['confirmed', 17n]);
  expect(database.attempts(id)).toHaveLength(1);
});

test('a nonce that the account used elsewhere is told, and what comes next is not held up', async () => {
  await rpc('evm_setAutomine', [false]);
  const outbox = outboxOf();
  const { id, to } = mintTo(outbox, 19n);
  await poll(outbox);
  const nonce = database.row(id)!.nonce!;
  // The owner's own wallet, with a better offer for the same nonce.
  const [offer] = database.attempts(id);
  const fees = {
    maxFeePerGas: 3n * offer!.maxFeePerGas,
    maxPriorityFeePerGas: 3n * offer!.maxPriorityFeePerGas,
  };
  const data = tokenCalls.approve(PAYEES[0]!, 0n);
  const draft = { ...fees, to: ready.token.address, data, nonce, gasLimit: 100_000n };
  await network.chain.broadcast(network.chain.sign(draft, payer!).raw);
  await mine();
  await rpc('evm_setAutomine', [true]);
  const next = mintTo(outbox, 23n);
  for (let look = 0; look < CHAIN_LIMITS.replacedPolls + 2; look++) await poll(outbox);
  expect([stateOf(id), await balance(to)]).toEqual(['replaced', 0n]);
  expect(noteOf(id)).toMatch(/used its nonce \d+: is the account used elsewhere/);
  await mine(CONFIRMATIONS);
  await poll(outbox);
  expect([stateOf(next.id), await balance(next.to)]).toEqual(['confirmed', 23n]);
});

test('two engines that share an account do each request once', async () => {
  const other = new ChainDatabase(join(home, 'outbox.sqlite'));
  other.useChain(network.identity);
  const outboxes = [outboxOf(), outboxOf({ on: other })] as const;
  const made = Array.from({ length: 8 }, (_, i) => mintTo(outboxes[i % 2 ? 0 : 1], BigInt(i + 1)));
  for (let look = 0; look < 60 && outboxes[0].isBusy; look++) {
    await Promise.all(outboxes.map((outbox) => poll(outbox)));
    await mine();
  }
  expect(made.map(({ id }) => stateOf(id))).toEqual(made.map(() => 'confirmed'));
  expect(await Promise.all(made.map(({ to }) => balance(to)))).toEqual(
    made.map((_, i) => BigInt(i + 1)),
  );
  other.close();
});

test('a lane counts when its blocks are confirmed, and no longer when they are taken back', async () => {
  const { escrow, job } = ready;
  const outbox = outboxOf();
  const watch = new JobWatch({ escrow, database, job });
  const look = async () => {
    const head = await network.chain.head();
    return watch.poll(head, confirmedBlock(head.number, CONFIRMATIONS));
  };
  await look();
  const payee = PAYEES[5]!;
  const reserve = (cap: bigint) =>
    outbox.request(
      { kind: 'reserve', escrow: escrow.address, caps: [[payee, cap.toString()]] },
      job,
    );
  const capNow = () => watch.all().find((lane) => lane.payee === payee)?.cap ?? 0n;
  reserve(40n);
  await poll(outbox);
  await look();
  expect([(await escrow.lane(job, payee)).cap, capNow()]).toEqual([40n, 0n]);
  await mine(CONFIRMATIONS - 1);
  expect(await look()).toEqual([{ job, payee, cap: 40n, paid: 0n }]);

  const before = await rpc('evm_snapshot');
  reserve(60n);
  await poll(outbox);
  await mine(CONFIRMATIONS);
  await look();
  expect(capNow()).toBe(60n);
  await rpc('evm_revert', [before]);
  // Another chain of the same length, on which nothing was raised.
  await mine(CONFIRMATIONS + 1);
  expect(await look()).toEqual([{ job, payee, cap: 40n, paid: 0n }]);
  await poll(outbox);
  await poll(outbox);
  await mine(CONFIRMATIONS);
  await look();
  expect(capNow()).toBe(60n);
});

test('300 payees are one transaction below the gas cap, and 301 are two', async () => {
  const many = Array.from({ length: 301 }, (_, i) => [PAYEES[i % 2]!, '1'] as const);
  expect(chunksOf(many).map((chunk) => chunk.length)).toEqual([300, 1]);
  const { escrow, job } = ready;
  const outbox = outboxOf();
  const payeeAt = (i: number) => `0x${(0xdef0000 + i).toString(16).padStart(40, '0')}` as Address;
  const caps = Array.from({ length: CHAIN_LIMITS.payeesPerTransaction }, (_, i) => {
    return [payeeAt(i), '1000'] as const;
  });
  const id = outbox.request({ kind: 'reserve', escrow: escrow.address, caps }, job);
  await poll(outbox);
  await mine(CONFIRMATIONS);
  await poll(outbox);
  expect(stateOf(id)).toBe('confirmed');
  const { gasUsed } = (await network.chain.receipt(database.attempts(id)[0]!.hash))!;
  expect(gasUsed).toBeLessThan(CHAIN_LIMITS.transactionGas);
  expect((await escrow.lane(job, payeeAt(299))).cap).toBe(1_000n);
});
