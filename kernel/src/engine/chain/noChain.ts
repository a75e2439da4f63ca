/** @file The chain of an engine that was told to have none: training is unpaid, and says so. */
import { ChainError } from '@ravenlab/protocol';
import { emptyStatus } from './chainProxy.js';
import type { ChainService } from './chainService.js';

const STATUS = emptyStatus('off');

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
