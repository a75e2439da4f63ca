/** @file What the drill of the voucher path and its child say to each other. Plain JSON; money as decimal strings. */
import type { Address, SignedVoucher, WireVoucher } from '@ravenlab/protocol';
import { decodeVoucher } from '@ravenlab/protocol';
import type { LaneOnChain } from '../../../kernel/src/engine/chain/chainService.js';
import { PAPER_JOB } from './paperChain.js';

export interface ChildOrders {
  readonly folder: string;
  readonly seed: number;
  /** The control: vouchers leave before they are stored. */
  readonly isEarly: boolean;
  readonly payees: readonly Address[];
  /** Last vouchers that the workers hold. */
  readonly held: readonly WireVoucher[];
  /** What the chain has paid. */
  readonly paid: Readonly<Record<string, string>>;
}

export type FromChild =
  | { readonly kind: 'ready' }
  | { readonly kind: 'sent'; readonly voucher: WireVoucher; readonly lines: readonly string[] }
  | { readonly kind: 'failed'; readonly text: string };

export function readVoucher(wire: WireVoucher): SignedVoucher {
  const voucher = decodeVoucher(wire);
  if (!voucher.ok) throw voucher.error;
  return voucher.value;
}

export function vouchersIn({ held }: ChildOrders): ReadonlyMap<Address, SignedVoucher> {
  return new Map(held.map(readVoucher).map((voucher) => [voucher.payee, voucher]));
}

/** Enough is reserved for whatever the drill does. */
export function lanesIn({ payees, paid }: ChildOrders): LaneOnChain[] {
  return payees.map((payee) => ({
    ...{ job: PAPER_JOB, payee, cap: 2n ** 100n },
    paid: BigInt(paid[payee] ?? '0'),
  }));
}
