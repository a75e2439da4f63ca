/** @file What a payee keeps of one job, as it lies on its disk: the deal, the newest voucher, how far its receipts go. JSON. */
import type { Address, ChainHead, JobId, SignedVoucher } from '@ravenlab/protocol';
import {
  LIMITS,
  RavenError,
  VOUCHER_LIMITS,
  addressReader,
  baseUnits,
  decodeVoucher,
  encodeVoucher,
  hash32Reader,
  jobIdReader,
  read,
} from '@ravenlab/protocol';

/** What the worker works for: as the engine named it and, unless it could not look, as the chain confirmed it. */
export interface Deal {
  readonly chainId: number;
  readonly escrow: Address;
  readonly job: JobId;
  readonly payer: Address;
  readonly signer: Address;
  readonly payee: Address;
  readonly token: Address;
  readonly tokenSymbol: string;
  readonly decimals: number;
  /** Unix seconds by the clock of the chain; a voucher is redeemed until a day later. */
  readonly expiry: number;
  /** Base units reserved for the payee. */
  readonly cap: bigint;
}

export interface LaneRecord {
  readonly deal: Deal;
  readonly chain: ChainHead;
  readonly voucher: SignedVoucher | null;
  /** Delivered and not promised when this was written; base units. */
  readonly atRisk: bigint;
  /** How much of the log of receipts counts: what lies behind was being written when the process was killed. */
  readonly logBytes: number;
}

const VERSION = 1;
const money = baseUnits(VOUCHER_LIMITS.laneAmount);

const readRecord = read.record<{ version: number; deal: Deal; chain: ChainHead } & Rest>({
  version: (value, path) => (value === VERSION ? VERSION : read.reject(path, '1', value)),
  deal: read.record<Deal>({
    chainId: read.count(),
    escrow: addressReader,
    job: jobIdReader,
    payer: addressReader,
    signer: addressReader,
    payee: addressReader,
    token: addressReader,
    tokenSymbol: read.text(LIMITS.symbolChars),
    decimals: read.count(LIMITS.tokenDecimals),
    expiry: read.count(),
    cap: money,
  }),
  chain: read.record<ChainHead>({ count: read.count(), earned: money, head: hash32Reader }),
  voucher: read.nullable((value) => {
    const decoded = decodeVoucher(value);
    if (!decoded.ok) throw decoded.error;
    return decoded.value;
  }),
  atRisk: money,
  logBytes: read.count(),
});

type Rest = Pick<LaneRecord, 'voucher' | 'atRisk' | 'logBytes'>;

export function writeLaneRecord(record: LaneRecord): string {
  const { voucher } = record;
  const plain = {
    version: VERSION,
    ...record,
    voucher: voucher === null ? null : encodeVoucher(voucher),
  };
  const text = (_key: string, value: unknown): unknown =>
    typeof value === 'bigint' ? value.toString() : value;
  return `${JSON.stringify(plain, text, 2)}\n`;
}

/** @param file for the message @throws RavenError 'data' when it is not what `writeLaneRecord` makes. */
export function parseLaneRecord(text: string, file: string): LaneRecord {
  try {
    const { deal, chain, voucher, atRisk, logBytes } = readRecord(JSON.parse(text), 'record');
    return { deal, chain, voucher, atRisk, logBytes };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RavenError(
      'data',
      `${file} does not hold a voucher (${reason}): put back its backup, or move it away; an engine that still runs ` +
        'sends its newest voucher again',
      { cause },
    );
  }
}
