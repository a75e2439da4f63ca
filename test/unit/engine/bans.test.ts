/** @file Bans: by worker and by the wallet that it proved, on disk before anybody comes back, and lifted together. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { ClusterEvent } from '../../../kernel/src/core/cluster/events.js';
import { step } from '../../../kernel/src/core/cluster/machine.js';
import { restoreRules } from '../../../kernel/src/core/cluster/rules.js';
import { createCluster } from '../../../kernel/src/core/cluster/state.js';
import { Bans } from '../../../kernel/src/engine/bans.js';
import { RulesStore } from '../../../kernel/src/engine/rulesStore.js';
import type { WorkerHub } from '../../../kernel/src/engine/workerHub.js';

const [LIAR, LOCAL] = ['ab'.repeat(32), 'cd'.repeat(32)] as [WorkerId, WorkerId];
const WALLET = `0xAb${'1'.repeat(38)}` as Address;
const SPELT = WALLET.toLowerCase();

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ravenlab-bans-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function start() {
  const cluster = createCluster();
  const rules = new RulesStore(folder, (message) => {
    throw new Error(message);
  });
  const kept = rules.load();
  if (kept !== null) restoreRules(cluster, kept);
  const done: string[] = [];
  const bans = new Bans({
    ...{ cluster, rules },
    hub: () =>
      ({ banish: (wallet: Address) => done.push(`sent away ${wallet}`) }) as unknown as WorkerHub,
    walletOf: (worker) => (worker === LIAR ? WALLET : null),
    feed: (event: ClusterEvent) => {
      step(cluster, event, 1, 0);
    },
    onUnbanned: (worker) => done.push(`pardoned ${worker.slice(0, 2)}`),
  });
  return { cluster, bans, done };
}

test('a ban survives the engine, with the wallet and why', async () => {
  const first = start();
  first.bans.ban(LIAR, true);
  first.bans.ban(LOCAL, false);
  await Promise.resolve();
  expect(first.done).toEqual([`sent away ${WALLET}`]);
  const { cluster, bans } = start();
  expect([...cluster.bannedWallets]).toEqual([[SPELT, LIAR]]);
  expect([...cluster.caught]).toEqual([LIAR]);
  expect(cluster.standings.get(LOCAL)?.status).toBe('banned');
  // However it is spelt.
  expect(bans.workerOf(WALLET)).toBe(LIAR);
  expect(bans.workerOf(SPELT)).toBe(LIAR);
  expect(bans.workerOf(LIAR)).toBeNull();
});

test('who is let in again is let in with its wallet, for good', async () => {
  const first = start();
  first.bans.ban(LIAR, true);
  await Promise.resolve();
  first.bans.unban(LIAR);
  expect(first.done).toContain('pardoned ab');
  const { cluster, bans } = start();
  expect(bans.workerOf(WALLET)).toBeNull();
  expect(cluster.standings.get(LIAR)?.status).not.toBe('banned');
  expect(cluster.caught.size).toBe(0);
});

test('as many wallets are remembered as workers; the one that was banned first makes room', () => {
  const { cluster } = start();
  for (let each = 0; each <= ENGINE_LIMITS.standings; each++) {
    const wallet = `0x${each.toString(16).padStart(40, '0')}`;
    step(cluster, { kind: 'ban', worker: LIAR, wallet }, 1, 0);
  }
  expect(cluster.bannedWallets.size).toBe(ENGINE_LIMITS.standings);
  expect(cluster.bannedWallets.has(`0x${'0'.repeat(40)}`)).toBe(false);
});
