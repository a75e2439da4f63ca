/** @file The engine's own chain: set up from nothing, found again after a restart, begun anew when its state is lost. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Address, Hash32, JobId } from '@ravenlab/protocol';
import { CHAIN_LIMITS } from '@ravenlab/protocol';
import { escrowSignatures } from '../../../contracts/src/signing.js';
import type { AgentUnderTest } from './lib.js';
import { PAYEES, isReady, isSettled, newHome, startAgent } from './lib.js';

const HEAD = `0x${'ab'.repeat(32)}` as Hash32;
const COIN = 10n ** 18n;
const { home, remove } = newHome();
let running: AgentUnderTest | null = null;

function start(): AgentUnderTest {
  running = startAgent({ home });
  return running;
}

afterEach(async () => {
  await running?.close();
  running = null;
});
afterAll(remove);

test('from nothing to a funded job, labelled as simulated', async () => {
  const { when } = start();
  const { network, job, token, canPay, localPayees } = await when('ready', isReady);
  expect(network).toMatchObject({ chainId: 31_337, name: 'simulated chain', isSimulated: true });
  expect(token).toMatchObject({ symbol: 'RVN', decimals: 18 });
  const deposit = CHAIN_LIMITS.simulatedDeposit * COIN;
  expect(job).toMatchObject({ free: deposit, reserved: 0n, deposit, state: 'open' });
  expect(canPay).toBe(true);
  expect(localPayees).toEqual(PAYEES.slice(0, 8));
});

test('lanes are reserved and settled as targets: asking twice does nothing twice', async () => {
  const { agent, when, lanes } = start();
  await when('ready', isReady);
  const [ann, bob] = PAYEES as [(typeof PAYEES)[number], (typeof PAYEES)[number]];
  const caps = [
    { payee: ann, cap: 5n * COIN },
    { payee: bob, cap: 7n * COIN },
  ];
  expect(agent.reserve(caps)).not.toBeNull();
  expect(agent.reserve(caps)).toBeNull();
  await when('reserved', (status) => status.job?.reserved === 12n * COIN && isSettled(status));
  expect(agent.reserve(caps)).toBeNull();
  agent.reserve([{ payee: ann, cap: 6n * COIN }]);
  await when('raised', (status) => status.job?.reserved === 13n * COIN && isSettled(status));
  agent.settle([{ payee: ann, cumulative: 2n * COIN }], HEAD);
  expect(agent.settle([{ payee: ann, cumulative: 2n * COIN }], HEAD)).toBeNull();
  await when('settled', (status) => status.job?.reserved === 11n * COIN && isSettled(status));
  expect(agent.settle([{ payee: ann, cumulative: 2n * COIN }], HEAD)).toBeNull();
  const ofAnn = { payee: ann, cap: 6n * COIN, paid: 2n * COIN };
  expect(agent.lanes()).toContainEqual(expect.objectContaining(ofAnn));
  expect(lanes).toContainEqual(expect.objectContaining(ofAnn));
});

test('a restarted engine finds its job, its lanes and what it promised', async () => {
  const { agent, when } = start();
  const { job, transactions } = await when('ready', isReady);
  expect(job?.deposit).toBe(CHAIN_LIMITS.simulatedDeposit * COIN);
  expect(job?.reserved).toBe(11n * COIN);
  expect(agent.lanes()).toContainEqual(
    expect.objectContaining({ payee: PAYEES[0], cap: 6n * COIN, paid: 2n * COIN }),
  );
  expect(transactions.filter(({ kind }) => kind === 'open')).toHaveLength(1);
});

test('a voucher is signed within the spend limits and no further, also after a restart', async () => {
  const sign = (agent: AgentUnderTest['agent'], job: JobId, cumulative: bigint) => {
    const voucher = { job, payee: PAYEES[0]!, cumulative, seq: 1, ledgerHead: HEAD };
    return agent.signVoucher(voucher).then((signature) => ({ ...voucher, ...signature }));
  };
  const first = start();
  const { job, escrow } = await first.when('ready', isReady);
  first.agent.setLimits({ perLane: null, perHour: 3n * COIN, perRun: null });
  const voucher = await sign(first.agent, job!.id, 2n * COIN);
  const { recover } = escrowSignatures(31_337, escrow!).voucher;
  expect(recover(voucher, voucher)).toBe(job!.signer);
  expect(first.agent.isOwnVoucher(voucher)).toBe(true);
  expect(first.agent.isOwnVoucher({ ...voucher, seq: 2 })).toBe(false);
  await expect(sign(first.agent, job!.id, 4n * COIN)).rejects.toThrow(/spend limit of one hour/);
  await expect(sign(first.agent, HEAD as unknown as JobId, 1n)).rejects.toThrow(/this engine's is/);
  await first.close();

  const { agent, when } = start();
  await when('ready', isReady);
  agent.setLimits({ perLane: null, perHour: 3n * COIN, perRun: null });
  await expect(sign(agent, job!.id, 4n * COIN)).rejects.toThrow(/spend limit of one hour/);
  const beyond = [{ payee: PAYEES[0]!, cumulative: 4n * COIN }];
  expect(() => agent.settle(beyond, HEAD)).toThrow(/spend limit of one hour/);
  await expect(sign(agent, job!.id, 3n * COIN)).resolves.toMatchObject({ seq: 1 });
});

test('more than is free is not asked for, and said with both amounts; what fits is reserved', async () => {
  const { agent, when } = start();
  const { job } = await when('ready', isReady);
  const free = job!.free / COIN;
  const caps = [
    { payee: PAYEES[3]!, cap: (free + 4n) * COIN },
    { payee: PAYEES[4]!, cap: 5n * COIN },
  ];
  expect(() => agent.reserve(caps)).toThrow(
    `the job has ${String(free)} RVN free, and 9 RVN more are needed for 1 contributor(s): deposit more`,
  );
  const { transactions } = await when('reserved', isSettled);
  expect(transactions[0]).toMatchObject({ kind: 'reserve', state: 'confirmed' });
  expect(agent.lanes()).toContainEqual(
    expect.objectContaining({ payee: PAYEES[4]!, cap: 5n * COIN }),
  );
  agent.deposit(20n * COIN);
  await when('deposited', isSettled);
  expect(agent.reserve(caps)).not.toBeNull();
  await when('reserved', isSettled);
  expect(agent.status().job?.free).toBe(11n * COIN);
});

test('what the contract refuses is told with its words, and nothing behind it waits', async () => {
  const { agent, when } = start();
  await when('ready', isReady);
  agent.reserve([{ payee: `0x${'0'.repeat(40)}` as Address, cap: COIN }]);
  agent.deposit(5n * COIN);
  const { transactions, job } = await when('settled', (status) => isSettled(status));
  const [topUp, approve, mint, refused] = transactions;
  expect(refused).toMatchObject({ kind: 'reserve', state: 'refused' });
  expect(refused?.note).toMatch(/the contract refuses: ZeroAddress/);
  expect([mint, approve, topUp].map((each) => [each?.kind, each?.state])).toEqual([
    ['mint', 'confirmed'],
    ['approve', 'confirmed'],
    ['topUp', 'confirmed'],
  ]);
  expect(job?.deposit).toBe((CHAIN_LIMITS.simulatedDeposit + 20n + 5n) * COIN);
});

test('a chain that is killed is told, started again, and found as it was last written', async () => {
  const { when, logs } = start();
  const { job } = await when('ready', isReady);
  const guard = Number(readFileSync(join(home, 'engine-a', 'anvil.pid'), 'utf8'));
  const children = readFileSync(`/proc/${String(guard)}/task/${String(guard)}/children`, 'utf8');
  process.kill(Number(children), 'SIGKILL');
  const down = await when('told', ({ phase }) => phase === 'problem');
  expect(down.problem).toMatch(/ended|does not answer/);
  const again = await when('ready again', isReady);
  expect(again.job?.id).toBe(job?.id);
  expect(logs.length).toBeGreaterThan(0);
});

test('a state that is lost or damaged means a new job, never an old id', async () => {
  const first = start();
  const { job } = await first.when('ready', isReady);
  await first.close();
  writeFileSync(join(home, 'engine-a', 'state.json'), '{"half": ');
  const second = start();
  const damaged = await second.when('ready', isReady);
  expect(second.logs.join()).toContain('begins anew');
  expect(damaged.job?.id).not.toBe(job?.id);
  expect(damaged.job).toMatchObject({ reserved: 0n, state: 'open' });
  expect(second.agent.lanes()).toEqual([]);
  await second.close();
  rmSync(join(home, 'engine-a', 'state.json'));
  const lost = await start().when('ready', isReady);
  expect(lost.job?.id).not.toBe(damaged.job?.id);
});
