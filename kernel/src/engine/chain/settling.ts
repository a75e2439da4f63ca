/** @file When lanes of a chain are settled by themselves, as its settings and the price of gas say it now. */
import { CHAIN_LIMITS } from '@ravenlab/protocol';
import type { SettlePolicy, SettleRule } from '../../core/chain/settling.js';
import { FREE_SETTLING, settleRule } from '../../core/chain/settling.js';
import { parseAmount } from './amounts.js';
import type { OpenNetwork, SettleTexts } from './network.js';

const HOUR_MS = 3_600_000;

/** What of a network is looked at. */
export type SettlingNetwork = Pick<OpenNetwork, 'chain' | 'payer' | 'settle'> & {
  readonly info: Pick<OpenNetwork['info'], 'isSimulated'>;
};

export class Settling {
  private readonly network: SettlingNetwork;
  private readonly policy: SettlePolicy | null;
  private readonly wallMs: () => number;
  private lookedMs = Number.NEGATIVE_INFINITY;
  private current: SettleRule | null;

  /** @throws ChainError when the settings name amounts that the token does not have. */
  constructor(network: SettlingNetwork, decimals: number, wallMs: () => number) {
    const { settle, payer, info } = network;
    this.network = network;
    this.wallMs = wallMs;
    this.policy = settle === null || payer === null ? null : policyOf(settle, decimals);
    this.current = info.isSimulated ? FREE_SETTLING : null;
  }

  /** Null: when somebody asks, or until the price of gas is known. */
  get rule(): SettleRule | null {
    return this.current;
  }

  /** Asks what gas costs, now and then. @throws ChainError when the node does not say. */
  async look(): Promise<void> {
    const { policy, network } = this;
    const nowMs = this.wallMs();
    if (policy === null || nowMs - this.lookedMs < CHAIN_LIMITS.feeLookMs) return;
    const { baseFee, maxPriorityFeePerGas } = await network.chain.fees();
    this.lookedMs = nowMs;
    this.current = settleRule(policy, baseFee + maxPriorityFeePerGas);
  }
}

/** @throws ChainError for what is no amount of this token. */
export function policyOf(texts: SettleTexts, decimals: number): SettlePolicy {
  return {
    perEther: parseAmount(texts.etherPrice, decimals, 'settle.etherPrice'),
    timesFee: BigInt(texts.timesFee),
    atLeast: parseAmount(texts.atLeast, decimals, 'settle.atLeast'),
    everyMs: texts.everyHours * HOUR_MS,
  };
}
