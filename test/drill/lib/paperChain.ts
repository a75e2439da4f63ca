/**
 * @file A chain on paper, for what is drilled beside it: vouchers are signed with a real key, caps are granted at once, and what
 * was settled is a line in a file before the answer. Real chains are drilled in `money`.
 */
import { appendFileSync } from 'node:fs';
import { devAccounts, escrowSignatures } from '@ravenlab/contracts';
import type { Address, Hash32, JobId, SignedVoucher, Voucher } from '@ravenlab/protocol';
import { FREE_SETTLING } from '../../../kernel/src/core/chain/settling.js';
import type {
  ChainService,
  ChainStatus,
  LaneOnChain,
} from '../../../kernel/src/engine/chain/chainService.js';
import { NO_CHAIN } from '../../../kernel/src/engine/chain/noChain.js';

const hex = (digit: string, digits: number): string => `0x${digit.repeat(digits)}`;
export const PAPER_JOB = hex('7', 64) as JobId;
const PAPER_ESCROW = hex('e', 40) as Address;
const CHAIN_ID = 31_337;

const { voucher: vouchers } = escrowSignatures(CHAIN_ID, PAPER_ESCROW);

function signer() {
  const account = devAccounts()[1];
  if (account === undefined) throw new Error('there is no second well-known account');
  return account;
}

/** Whether the job's signer signed it. */
export function isPaperVoucher(voucher: SignedVoucher): boolean {
  return vouchers.recover(voucher, voucher) === signer().address;
}

function statusOf(): ChainStatus {
  const { address } = signer();
  return {
    ...NO_CHAIN.status(),
    phase: 'ready',
    network: {
      ...{ chainId: CHAIN_ID, name: 'paper', isSimulated: true, rpcUrl: '', explorerUrl: null },
      finality: 1,
    },
    escrow: PAPER_ESCROW,
    token: { address: hex('d', 40) as Address, symbol: 'PAPER', decimals: 18 },
    job: {
      ...{ id: PAPER_JOB, payer: address, signer: address, expiry: 4_000_000_000 },
      ...{ deposit: 2n ** 111n, free: 2n ** 111n, reserved: 0n, state: 'open' },
    },
    localPayees: [hex('c', 40) as Address],
    canPay: true,
    settling: FREE_SETTLING,
  };
}

export interface PaperChainOptions {
  /** Lines `payee cumulative`, one for each lane that was settled. */
  readonly file: string;
  /** Told before a signature is returned; for a control that sends too early. */
  readonly onSigned?: (voucher: SignedVoucher) => void;
}

/** @param lanes what earlier lives were granted and paid */
export function paperChain(
  { file, onSigned }: PaperChainOptions,
  lanes: readonly LaneOnChain[],
): ChainService {
  const status = statusOf();
  const known = new Map(lanes.map((lane) => [lane.payee, lane]));
  const listeners = new Set<(lane: LaneOnChain) => void>();
  const tell = (lane: LaneOnChain): void => {
    known.set(lane.payee, lane);
    for (const listener of listeners) listener(lane);
  };
  const laneOf = (payee: Address): LaneOnChain =>
    known.get(payee) ?? { job: PAPER_JOB, payee, cap: 0n, paid: 0n };
  let transactions = 0;
  return {
    ...NO_CHAIN,
    status: () => status,
    onLane: (listener) => {
      listeners.add(listener);
      for (const lane of known.values()) listener(lane);
      return () => listeners.delete(listener);
    },
    signVoucher: (voucher: Voucher) => {
      const signature = vouchers.sign(voucher, signer());
      onSigned?.({ ...voucher, ...signature });
      return Promise.resolve(signature);
    },
    isOwnVoucher: (voucher) => Promise.resolve(isPaperVoucher(voucher)),
    signServer: () => Promise.resolve({ r: hex('1', 64) as Hash32, vs: hex('2', 64) as Hash32 }),
    reserve: (caps) => {
      for (const { payee, cap } of caps) tell({ ...laneOf(payee), cap });
      return Promise.resolve(++transactions);
    },
    settle: (settled) => {
      for (const { payee, cumulative } of settled) {
        appendFileSync(file, `${payee} ${String(cumulative)}\n`);
        tell({ ...laneOf(payee), paid: cumulative });
      }
      return Promise.resolve(++transactions);
    },
  };
}
