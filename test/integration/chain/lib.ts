/** @file A chain agent on a real anvil, for tests: started, waited for, stopped. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address } from '@ravenlab/protocol';
import { devAccounts } from '../../../contracts/src/devAccounts.js';
import { tokenCalls } from '../../../contracts/src/escrowClient.js';
import { Rpc } from '../../../contracts/src/rpc.js';
import { ChainAgent } from '../../../kernel/src/engine/chain/chainAgent.js';
import type { ChainStatus, LaneOnChain } from '../../../kernel/src/engine/chain/chainService.js';
import { openChain } from '../../../kernel/src/engine/chain/openChain.js';
import type { ChainChoice } from '../../../kernel/src/engine/chain/chainChoice.js';

export interface AgentUnderTest {
  readonly agent: ChainAgent;
  readonly lanes: LaneOnChain[];
  readonly logs: string[];
  /** Resolves with the first status that fits. @throws Error after ten seconds. */
  when(what: string, fits: (status: ChainStatus) => boolean): Promise<ChainStatus>;
  close(): Promise<void>;
}

export interface AgentOptions {
  readonly home: string;
  readonly owner?: string;
  readonly choice?: Exclude<ChainChoice, { kind: 'off' }>;
  readonly env?: Readonly<Record<string, string>>;
  readonly wallMs?: () => number;
  readonly networkPollMs?: number;
}

const DEADLINE_MS = 15_000;

export function newHome(): { readonly home: string; remove(): void } {
  const home = mkdtempSync(join(tmpdir(), 'ravenlab-chain-'));
  return { home, remove: () => rmSync(home, { recursive: true, force: true }) };
}

export function startAgent(options: AgentOptions): AgentUnderTest {
  const { home, owner = 'engine-a', choice = { kind: 'simulated' }, env = {} } = options;
  const lanes: LaneOnChain[] = [];
  const logs: string[] = [];
  const listeners = new Set<(status: ChainStatus) => void>();
  const log = (text: string) => logs.push(text);
  const agent = new ChainAgent({
    open: () => openChain({ choice, home, folder: join(home, owner), env, log }),
    owner,
    wallMs: options.wallMs ?? Date.now,
    ...(options.networkPollMs === undefined ? {} : { networkPollMs: options.networkPollMs }),
    onStatus: (status) => listeners.forEach((listener) => listener(status)),
    onLanes: (changed) => lanes.push(...changed),
    log,
  });
  agent.start();
  return {
    ...{ agent, lanes, logs },
    when: (what, fits) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          listeners.delete(listener);
          const { phase, problem, job, transactions } = agent.status();
          const text = JSON.stringify(
            { phase, problem, job, transactions },
            (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
          );
          reject(new Error(`${what}: not within ${String(DEADLINE_MS)} ms: ${text}`));
        }, DEADLINE_MS);
        // A test that lost interest must not keep the process.
        timer.unref();
        const listener = (status: ChainStatus) => {
          if (!fits(status)) return;
          clearTimeout(timer);
          listeners.delete(listener);
          resolve(status);
        };
        listeners.add(listener);
        listener(agent.status());
      }),
    close: () => agent.close(),
  };
}

export const isReady = ({ phase }: ChainStatus): boolean => phase === 'ready';

/** Nothing is under way any more. */
export const isSettled = ({ transactions }: ChainStatus): boolean =>
  transactions.every(({ state }) => !['waiting', 'sent', 'mined'].includes(state));

/** Anvil's accounts from the third on. */
export const PAYEES: readonly Address[] = devAccounts()
  .slice(2)
  .map(({ address }) => address);

/** What a test does to an anvil that nobody could do to a network. */
export function escrowClock(url: string) {
  const rpc = new Rpc(url);
  return {
    /** Later by so many seconds. */
    travel: async (seconds: number): Promise<void> => {
      await rpc.call('evm_increaseTime', [seconds]);
      await rpc.call('evm_mine', []);
    },
    /** Play money from nowhere. */
    mint: async (token: Address, to: Address, amount: bigint): Promise<void> => {
      const from = devAccounts()[9]?.address;
      const transaction = { from, to: token, data: tokenCalls.mint(to, amount) };
      await rpc.call('eth_sendTransaction', [transaction]);
      await rpc.call('evm_mine', []);
    },
  };
}
