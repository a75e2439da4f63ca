/** @file The chain beside a real engine: there when it is wanted, in nobody's way, gone with its engine. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, startTestEngine, until } from '../lib/engineUnderTest.js';
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

test('settings that cannot be used are a problem of pay, never of the engine', async () => {
  const running = await start(join(home, 'nowhere.json'));
  await expect(running.status()).resolves.toMatchObject({ panel: expect.anything() as unknown });
  const log = join(home, 'engines', ENGINE_ID, 'engine.log');
  await until('a line in the log', () => readFileSync(log, 'utf8').includes('nowhere.json'));
  await expect(running.status()).resolves.toBeDefined();
});
