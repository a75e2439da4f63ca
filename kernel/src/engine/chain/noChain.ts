/** @file The chain of an engine that was told to have none: training is unpaid, and says so. */
import { ChainError } from '@ravenlab/protocol';
import type { ChainService, ChainStatus } from './chainService.js';

const STATUS: ChainStatus = {
  ...{ phase: 'off', problem: null, network: null, escrow: null, token: null, job: null },
  ...{ transactions: [], localPayees: [], canPay: false },
  limits: { perLane: null, perHour: null, perRun: null },
};

const refuse = (): Promise<never> =>
  Promise.reject(
    new ChainError('this engine works without a chain: RAVENLAB_CHAIN is off', { fault: 'user' }),
  );

export const NO_CHAIN: ChainService = {
  status: () => STATUS,
  onChange: () => () => undefined,
  onLane: () => () => undefined,
  signVoucher: refuse,
  isOwnVoucher: refuse,
  isHello: refuse,
  signServer: refuse,
  reserve: refuse,
  settle: refuse,
  deposit: refuse,
  extend: refuse,
  refund: refuse,
  setLimits: refuse,
  close: () => Promise.resolve(),
};
