/** @file The chain beside a real engine: there when it is wanted, in nobody's way, gone with its engine. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Training,
  isAlive,
  startTestEngine,
  until,
  waitForWorkers,
} from '../lib/engineUnderTest.js';
import type { TestEngine } from '../lib/engineUnderTest.js';
import { newHome } from './lib.js';

const ENGINE_ID = 'c4a1c4a1c4a1c4a1';
const { home, remove } = newHome();
const folder = join(home, 'engines', ENGINE_ID, 'chain');
let engine: TestEngine | null = null;

afterEach(async () => {
  await engine?.stop({ keepHome: true });
  engine = null;
});
afterAll(remove);

const guardPid = (): number | null => {
  const file = join(folder, 'anvil.pid');
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : null;
};

async function start(chain: string): Promise<TestEngine> {
  engine = await startTestEngine({
    ...{ workers: 0, home, engineId: ENGINE_ID },
    env: { RAVENLAB_CHAIN: chain },
  });
  return engine;
}

test('an engine without a chain starts none', async () => {
  await start('off');
  expect(existsSync(folder)).toBe(false);
});

test('an engine is ready before its chain is begun, and takes it along when it ends', async () => {
  const running = await start('simulated');
  // It answered already, and there is nothing yet.
  expect(guardPid()).toBeNull();
  const pid = await until('an anvil', guardPid);
  expect(isAlive(pid)).toBe(true);
  await running.status();
  await running.stop({ keepHome: true });
  engine = null;
  expect(isAlive(pid)).toBe(false);
  expect(existsSync(join(folder, 'state.json'))).toBe(true);
});

test('an engine that is killed takes its chain along too', async () => {
  const running = await start('simulated');
  const before = guardPid();
  const pid = await until('another anvil', () => {
    const now = guardPid();
    return now !== before && now;
  });
  const { enginePid } = await running.status();
  process.kill(enginePid, 'SIGKILL');
  await until('the end of anvil', () => !isAlive(pid));
});

test('local workers earn while a model trains, are settled, and an engine that is started again goes on', async () => {
  const paying = async () => {
    engine = await startTestEngine({
      ...{ workers: 2, home, engineId: 'c4a1c4a1c4a1c4a2' },
      env: { RAVENLAB_CHAIN: 'simulated' },
    });
    await waitForWorkers(engine, 2);
    return engine;
  };
  const payments = async (of: TestEngine) => (await of.status()).panel.payments;
  const sum = (amounts: readonly string[]) => amounts.reduce((all, each) => all + BigInt(each), 0n);
  const first = await paying();
  await until('a chain', async () => (await payments(first)).settlement === 'ready');
  const training = new Training(first);
  await training.prepare();
  await training.run(60);
  // No voucher is sent to a machine of the payer's own: what it earned is settled.
  const covered = ({ payees }: Awaited<ReturnType<typeof payments>>) =>
    payees.length === 2 && payees.every(({ cap, metered }) => BigInt(cap) >= BigInt(metered));
  await until('lanes for both', async () => covered(await payments(first)));
  const earned = BigInt((await payments(first)).totalMetered);
  expect(earned).toBeGreaterThan(0n);
  await first.command('settle');
  await until('the settlement', async () => {
    const { payees, transactions } = await payments(first);
    return transactions[0]?.kind === 'settle' && sum(payees.map((each) => each.settled)) === earned;
  });
  await first.stop({ keepHome: true });
  const second = await paying();
  const again = await until('the lanes as the chain has them', async () => {
    const { payees, settlement } = await payments(second);
    return settlement === 'ready' && sum(payees.map((payee) => payee.settled)) === earned && payees;
  });
  expect(again.map(({ metered, settled }) => settled === metered)).toEqual([true, true]);
});

test('settings that cannot be used are a problem of pay, never of the engine', async () => {
  const running = await start(join(home, 'nowhere.json'));
  await expect(running.status()).resolves.toMatchObject({ panel: expect.anything() as unknown });
  const log = join(home, 'engines', ENGINE_ID, 'engine.log');
  await until('a line in the log', () => readFileSync(log, 'utf8').includes('nowhere.json'));
  await expect(running.status()).resolves.toBeDefined();
});
