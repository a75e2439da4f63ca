/** @file The simulated chain as a process: what it listens on, what it enforces, and that it leaves nothing behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { ChainError } from '@ravenlab/protocol';
import { startSimulatedChain } from '../../contracts/src/anvil.js';
import type { SimulatedChain } from '../../contracts/src/anvil.js';
import { Rpc } from './lib/rpc.js';

const ROOT = resolve(__dirname, '../..');
const DEADLINE_MS = 10_000;
const started: SimulatedChain[] = [];

async function start(options: Parameters<typeof startSimulatedChain>[0] = {}) {
  const chain = await startSimulatedChain(options);
  started.push(chain);
  return chain;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((chain) => chain.stop()));
});

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Children of a process, from /proc. */
function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
      } catch {
        return false;
      }
    });
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('it did not happen in time');
    await new Promise((done) => setTimeout(done, 10));
  }
}

test('start_answersOnALoopbackPortOfItsOwn', async () => {
  const [first, second] = await Promise.all([start(), start({ chainId: 31_338 })]);
  expect(await new Rpc(first.url).call('eth_chainId', [])).toBe('0x7a69');
  expect(await new Rpc(second.url).call('eth_chainId', [])).toBe('0x7a6a');
  expect(first.url).not.toBe(second.url);
  expect(new URL(first.url).hostname).toBe('127.0.0.1');
});

test('start_doesNotListenOnOtherInterfaces', async () => {
  const chain = await start();
  const others = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((each) => !each.internal && each.family === 'IPv4');
  const port = new URL(chain.url).port;
  if (others.length === 0) console.log('only the loopback here: nothing else to try');
  for (const { address } of others) {
    await expect(fetch(`http://${address}:${port}`, { method: 'POST' })).rejects.toThrow();
  }
});

test('start_failsIfThePortIsTaken_withAnvilsOwnWords', async () => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await expect(start({ port })).rejects.toThrow(ChainError);
  await expect(start({ port })).rejects.toThrow(
    /could not be started: exit code [1-9].*\n.*in use/is,
  );
  server.close();
});

test('start_enforcesTheGasCapOfATransaction', async () => {
  const chain = await start();
  const rpc = new Rpc(chain.url);
  const [from] = (await rpc.call('eth_accounts', [])) as string[];
  const send = (gas: number) =>
    rpc.call('eth_sendTransaction', [{ from, to: from, gas: `0x${gas.toString(16)}` }]);
  await expect(send(2 ** 24 + 1)).rejects.toThrow(/gas/);
  await expect(send(2 ** 24)).resolves.toMatch(/^0x/);
});

test('stop_leavesNoProcess_andKeepsTheStateForTheNextStart', async () => {
  const home = mkdtempSync(join(tmpdir(), 'ravenlab-chain-'));
  try {
    const stateFile = join(home, 'state.json');
    const first = await start({ stateFile });
    const rpc = new Rpc(first.url);
    await rpc.call('anvil_setBalance', [`0x${'ab'.repeat(20)}`, '0x2a']);
    await rpc.call('evm_mine', []);
    const pids = [first.pid, ...childrenOf(first.pid)];
    await first.stop();
    expect(pids).toHaveLength(2);
    expect(pids.filter(isAlive)).toEqual([]);

    const second = new Rpc((await start({ stateFile })).url);
    expect(await second.call('eth_getBalance', [`0x${'ab'.repeat(20)}`, 'latest'])).toBe('0x2a');
    expect(await second.call('eth_blockNumber', [])).toBe('0x1');
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});

test('parentKilledWithSigkill_endsTheChain', async () => {
  const script = `
    import { startSimulatedChain } from './contracts/src/index.ts';
    const chain = await startSimulatedChain();
    console.log(JSON.stringify({ pid: chain.pid, url: chain.url }));
    setInterval(() => {}, 1000);`;
  const args = ['--import', './scripts/lib/runTypeScript.mjs', '--input-type=module', '-e', script];
  const parent = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const { pid } = JSON.parse(line.toString('utf8')) as { pid: number };
  const pids = [pid, ...childrenOf(pid)];
  expect(pids).toHaveLength(2);
  expect(pids.every(isAlive)).toBe(true);
  parent.kill('SIGKILL');
  await until(() => !pids.some(isAlive));
});
