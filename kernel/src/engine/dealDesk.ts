/**
 * @file What the hub asks of whoever pays: whether a wallet is whose it says, on what terms it works, and whom to tell of vouchers.
 * A seam: the hub knows no chain, and who pays knows no connection.
 */
import type {
  Address,
  ChallengeMessage,
  PresentedMessage,
  Signature,
  TermsMessage,
  VoucherAckMessage,
  WorkerId,
} from '@ravenlab/protocol';
import type { HelloClaim } from './chain/chainService.js';

export type Terms = Omit<TermsMessage, 'kind'>;

/** A worker and the wallet that it has proved to be its own. */
export interface Payee {
  readonly worker: WorkerId;
  readonly payee: Address;
}

export interface DealDesk {
  /** The chain and escrow that a proof is for; null while nobody is paid: then nobody is asked, and all work unpaid. */
  domain(): Pick<ChallengeMessage, 'chainId' | 'escrow'> | null;
  /** Whether the wallet of the claim signed it. Rejects when that cannot be found out now. */
  isHello(claim: HelloClaim, signature: Signature): Promise<boolean>;
  /** It waits for terms: now, or by `WorkerHub.offer` when they are there. */
  arrived(payee: Payee): void;
  /** Null while there are none, because its lane is not reserved yet. */
  terms(payee: Address): Terms | null;
  /** The last voucher that it holds, well formed and no more. */
  presented(payee: Payee, voucher: PresentedMessage['voucher']): void;
  /** It has this voucher on its disk. */
  acknowledged(payee: Payee, ack: VoucherAckMessage): void;
}

/** Nobody is paid. */
export const NO_DEALS: DealDesk = {
  domain: () => null,
  isHello: () => Promise.resolve(false),
  arrived: () => undefined,
  terms: () => null,
  presented: () => undefined,
  acknowledged: () => undefined,
};
