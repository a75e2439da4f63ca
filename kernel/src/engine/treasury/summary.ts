/** @file The chain's status as the panel is shown it. */
import type { PaymentChain, PaymentTx } from '@ravenlab/protocol';
import { PANEL_LIMITS } from '@ravenlab/protocol';
import type { ChainStatus, ChainTransaction } from '../chain/chainService.js';
import type { TreasurySummary } from '../treasuryView.js';

/** @param paid base units that lanes have been paid in all, confirmed. */
export function summaryOf(status: ChainStatus, paid: bigint): TreasurySummary {
  const { phase, problem, job, limits, settling, transactions, token } = status;
  return {
    ...{ settlement: phase, problem, limits, settling, chain: chainOf(status) },
    token: token === null ? null : { symbol: token.symbol, decimals: token.decimals },
    balance: {
      deposit: job?.deposit ?? 0n,
      free: job?.free ?? 0n,
      reserved: job?.reserved ?? 0n,
      paid,
    },
    expiryMs: job === null ? null : job.expiry * 1000,
    transactions: transactions.slice(0, PANEL_LIMITS.transactions).map(transactionOf),
  };
}

function chainOf({ network, escrow, token, job, canPay }: ChainStatus): PaymentChain | null {
  if (network === null || escrow === null || token === null || job === null) return null;
  return {
    label: network.name.slice(0, PANEL_LIMITS.nameChars),
    ...{ chainId: network.chainId, isSimulated: network.isSimulated },
    ...{ escrow, token: token.address, job: job.id, payer: job.payer, signer: job.signer },
    isPayerHere: canPay,
    explorerUrl: network.explorerUrl,
  };
}

function transactionOf({ amount, note, ...rest }: ChainTransaction): PaymentTx {
  return {
    ...rest,
    amount: amount?.toString() ?? null,
    note: note?.slice(0, PANEL_LIMITS.textChars) ?? null,
  };
}
