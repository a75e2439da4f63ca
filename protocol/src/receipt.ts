/**
 * @file Receipts: one line of text for each unit that was judged, hashed into a chain per lane. RFC 3 §5. The line that is
 * hashed is the line that is exported, so that a file and a hash program are all an auditor needs.
 */
import { RemoteProtocolError } from './errors.js';
import type { LeaseId, ProgramHash } from './ids.js';
import { VOUCHER_LIMITS } from './limits.js';
import type { Reader } from './read.js';
import { count, reject } from './read.js';
import type { Address, Hash32, JobId } from './voucher.js';
import { addressReader, baseUnits, hash32Reader, jobIdReader } from './voucher.js';
import type { Decoded } from './words.js';
import { decoded } from './words.js';

/** What was found about a result; `refused` ones are paid nothing, and still leave a line. */
export const VERDICTS = ['accepted', 'refused'] as const;
export type Verdict = (typeof VERDICTS)[number];

export interface Receipt {
  /** Counts up by one within a lane, from 1. */
  readonly n: number;
  readonly job: JobId;
  readonly payee: Address;
  /** Under which its worker delivered it: both sides know it, and no life of an engine uses one again. */
  readonly lease: LeaseId;
  readonly program: ProgramHash;
  /** From the op table, the same on both sides. */
  readonly flops: number;
  readonly sizeBytes: number;
  /** Base units; 0 when refused. */
  readonly amount: bigint;
  /** SHA-256 of the result. */
  readonly result: Hash32;
  readonly verdict: Verdict;
}

/** What the first receipt of a lane is chained to. */
export const NO_RECEIPT = `0x${'0'.repeat(64)}` as Hash32;

/** Columns of an exported log, in order; each is digits, hex or one word, so that nothing needs quoting. */
export const RECEIPT_COLUMNS = [
  'n',
  'job',
  'payee',
  'lease',
  'program',
  'flops',
  'sizeBytes',
  'amount',
  'result',
  'verdict',
] as const satisfies readonly (keyof Receipt)[];

/** The line that is hashed and exported, without a line end. */
export function receiptLine(receipt: Receipt): string {
  const { n, job, payee, lease, program, flops, sizeBytes, amount, result, verdict } = receipt;
  const work = `${String(lease)},${program},${String(flops)},${String(sizeBytes)}`;
  return `${String(n)},${job},${payee},${work},${String(amount)},${result},${verdict}`;
}

const programReader: Reader<ProgramHash> = (value, path) =>
  typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
    ? (value as ProgramHash)
    : reject(path, '64 lower-case hex digits', value);

const verdictReader: Reader<Verdict> = (value, path) =>
  VERDICTS.find((verdict) => verdict === value) ??
  reject(path, `one of ${VERDICTS.join(', ')}`, value);

/** Digits without sign, fraction or leading zero. */
const digitsReader: Reader<number> = (value, path) =>
  typeof value === 'string' && /^(0|[1-9][0-9]{0,15})$/.test(value)
    ? count()(Number(value), path)
    : reject(path, 'a whole number', value);

/** A line of an exported log; one that would be written differently is refused. */
export function parseReceiptLine(line: string): Decoded<Receipt> {
  return decoded(() => {
    if (line.length > VOUCHER_LIMITS.receiptLineChars) {
      throw new RemoteProtocolError(
        `receipt: a line of ${String(line.length)} characters, at most ` +
          `${String(VOUCHER_LIMITS.receiptLineChars)} are possible`,
      );
    }
    const cells = line.split(',');
    if (cells.length !== RECEIPT_COLUMNS.length) {
      throw new RemoteProtocolError(
        `receipt: expected ${String(RECEIPT_COLUMNS.length)} columns, got ${String(cells.length)}`,
      );
    }
    const cell = <T>(column: (typeof RECEIPT_COLUMNS)[number], reader: Reader<T>): T =>
      reader(cells[RECEIPT_COLUMNS.indexOf(column)], `receipt.${column}`);
    return {
      n: cell('n', digitsReader),
      job: cell('job', jobIdReader),
      payee: cell('payee', addressReader),
      lease: cell('lease', digitsReader) as LeaseId,
      program: cell('program', programReader),
      flops: cell('flops', digitsReader),
      sizeBytes: cell('sizeBytes', digitsReader),
      amount: cell('amount', baseUnits(VOUCHER_LIMITS.laneAmount)),
      result: cell('result', hash32Reader),
      verdict: cell('verdict', verdictReader),
    };
  });
}
