/** @file Fields of the messages of a deal (deal.ts) as msgpack carries them. Says what is well formed, not what is true. */
import type {
  AcceptMessage,
  ChallengeMessage,
  IdentifyMessage,
  PresentedMessage,
  Signature,
  TermsMessage,
  VoucherAckMessage,
  VoucherMessage,
} from './deal.js';
import { LIMITS, VOUCHER_LIMITS } from './limits.js';
import type { Fields, Reader } from './read.js';
import { count, list, nullable, record, reject, text } from './read.js';
import { addressReader, baseUnits, hash32Reader, jobIdReader, voucherReader } from './voucher.js';
import { isCurveKey } from './z85.js';

export interface DealMessages {
  readonly challenge: ChallengeMessage;
  readonly identify: IdentifyMessage;
  readonly terms: TermsMessage;
  readonly accept: AcceptMessage;
  readonly voucher: VoucherMessage;
  readonly voucherAck: VoucherAckMessage;
  readonly presented: PresentedMessage;
}

const signature = record<Signature>({ r: hash32Reader, vs: hash32Reader });

const curveKey: Reader<string> = (value, path) =>
  typeof value === 'string' && isCurveKey(value)
    ? value
    : reject(path, `${String(LIMITS.curveKeyChars)} characters of Z85`, value);

const laneUnits = baseUnits(VOUCHER_LIMITS.laneAmount);

/** One reader per field of every message, without `kind`; a missing one does not compile. */
export const DEAL_FIELDS: {
  readonly [K in keyof DealMessages]: Fields<Omit<DealMessages[K], 'kind'>>;
} = {
  challenge: {
    nonce: hash32Reader,
    expiry: count(),
    chainId: count(),
    escrow: addressReader,
    serverKey: curveKey,
  },
  identify: { signature, clientKey: curveKey },
  terms: {
    chainId: count(),
    escrow: addressReader,
    job: jobIdReader,
    payer: addressReader,
    signer: addressReader,
    token: addressReader,
    tokenSymbol: text(LIMITS.symbolChars),
    decimals: count(LIMITS.tokenDecimals),
    expiry: count(),
    cap: laneUnits,
    paid: laneUnits,
    perGflop: laneUnits,
    perMib: laneUnits,
    holdbackUnits: count(LIMITS.holdbackUnits),
    serverSignature: signature,
  },
  accept: { job: jobIdReader },
  voucher: {
    voucher: voucherReader,
    lines: list(text(VOUCHER_LIMITS.receiptLineChars), VOUCHER_LIMITS.linesPerVoucher),
  },
  voucherAck: { job: jobIdReader, seq: count() },
  presented: { voucher: nullable(voucherReader) },
};
