/**
 * @file Entry of the chain's thread: keys, signatures and transactions, off the I/O loop, which would wait milliseconds for each of them.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { toWireError } from '@ravenlab/protocol';
import { ChainAgent } from './chainAgent.js';
import type { ChainCalls, ChainRequest, ChainResponse, ChainThreadData } from './chainMessages.js';
import { openChain } from './openChain.js';

const { choice, home, folder, owner } = workerData as ChainThreadData;

function say(response: ChainResponse): void {
  parentPort?.postMessage(response);
}

const log = (text: string): void => {
  say({ kind: 'log', text });
};

const agent = new ChainAgent({
  open: () => openChain({ choice, home, folder, env: process.env, log }),
  owner,
  wallMs: Date.now,
  onStatus: (status) => {
    say({ kind: 'status', status });
  },
  onLanes: (lanes) => {
    say({ kind: 'lanes', lanes });
  },
  log,
});

type Answers = {
  readonly [K in keyof ChainCalls]: (
    ...args: Parameters<ChainCalls[K]>
  ) => Awaited<ReturnType<ChainCalls[K]>> | ReturnType<ChainCalls[K]>;
};

const ANSWERS: Answers = {
  signVoucher: (voucher) => agent.signVoucher(voucher),
  isOwnVoucher: (voucher) => agent.isOwnVoucher(voucher),
  isHello: (claim, signature) => agent.isHello(claim, signature),
  signServer: (serverKey) => agent.signServer(serverKey),
  reserve: (caps) => agent.reserve(caps),
  settle: (lanes, ledgerHead) => agent.settle(lanes, ledgerHead),
  deposit: (amount) => agent.deposit(amount),
  extend: (expiry) => agent.extend(expiry),
  refund: () => agent.refund(),
  setLimits: (limits) => {
    agent.setLimits(limits);
  },
  close: () => agent.close(),
};

async function answer({ id, call, args }: ChainRequest): Promise<void> {
  try {
    const act = ANSWERS[call] as (...given: readonly unknown[]) => unknown;
    say({ kind: 'done', id, value: await act(...args) });
  } catch (error) {
    say({ kind: 'failed', id, error: toWireError(error) });
  }
}

parentPort?.on('message', (request: ChainRequest) => {
  void answer(request);
});

agent.start();
