/**
 * @file The receipts of one lane as a hash chain: hash = H(previous hash, line). What was earned is what the chain says,
 * and a voucher anchors its head. RFC 3 §5. Keeping the lines is the store's business.
 */
import { RavenError } from './errors.js';
import { VOUCHER_LIMITS } from './limits.js';
import type { Receipt } from './receipt.js';
import { NO_RECEIPT, parseReceiptLine, receiptLine } from './receipt.js';
import type { Hash32 } from './voucher.js';

/** SHA-256; 32 bytes for any bytes. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

const HASH_BYTES = 32;

/** Where a chain has got to: all that has to be kept of it. */
export interface ChainHead {
  readonly count: number;
  readonly earned: bigint;
  readonly head: Hash32;
}

export const EMPTY_CHAIN: ChainHead = { count: 0, earned: 0n, head: NO_RECEIPT };

/** A receipt as it is stored: the line, and the hash that includes all lines before it. */
export interface ChainedReceipt {
  readonly line: string;
  readonly hash: Hash32;
}

/** Appends a receipt. @throws RavenError 'ledger' when it is not the next one of its lane, or is paid though refused. */
export function appendReceipt(
  chain: ChainHead,
  receipt: Receipt,
  sha256: Sha256,
): { readonly chain: ChainHead; readonly entry: ChainedReceipt } {
  assertLine(
    receipt.n === chain.count + 1,
    `receipt ${String(receipt.n)} after ${String(chain.count)}`,
  );
  assertLine(
    receipt.verdict === 'accepted' || receipt.amount === 0n,
    'a refused unit is paid nothing',
  );
  const line = receiptLine(receipt);
  const head = hashOf(chain.head, line, sha256);
  const earned = chain.earned + receipt.amount;
  return { chain: { count: receipt.n, earned, head }, entry: { line, hash: head } };
}

/** What an exported log amounts to, or the first line that is not what it should be. */
export type LogCheck =
  | { readonly ok: true; readonly chain: ChainHead }
  | { readonly ok: false; readonly line: number; readonly reason: string };

/**
 * Hashes the lines of one lane's log again.
 * @param anchor the head that a voucher or the chain names; the log must end there
 */
export function checkLog(lines: Iterable<string>, anchor: Hash32, sha256: Sha256): LogCheck {
  let chain = EMPTY_CHAIN;
  let lane: string | null = null;
  for (const line of lines) {
    const number = chain.count + 1;
    const refuse = (reason: string): LogCheck => ({ ok: false, line: number, reason });
    const parsed = parseReceiptLine(line);
    if (!parsed.ok) return refuse(parsed.error.message);
    const receipt = parsed.value;
    if (receipt.n !== number) return refuse(`its number is ${String(receipt.n)}`);
    if (receipt.verdict === 'refused' && receipt.amount > 0n) {
      return refuse('a refused unit is paid');
    }
    const owner = `${receipt.job} ${receipt.payee}`;
    if (lane !== null && owner !== lane) return refuse('it belongs to another lane');
    lane = owner;
    chain = appendReceipt(chain, receipt, sha256).chain;
    if (chain.earned > VOUCHER_LIMITS.laneAmount) return refuse('more than a lane can hold');
  }
  if (chain.head !== anchor) {
    const reason = `the log ends at ${chain.head}, the anchor is ${anchor}`;
    return { ok: false, line: chain.count, reason };
  }
  return { ok: true, chain };
}

function hashOf(previous: Hash32, line: string, sha256: Sha256): Hash32 {
  const bytes = new Uint8Array(HASH_BYTES + line.length);
  for (let i = 0; i < HASH_BYTES; i++) {
    bytes[i] = Number.parseInt(previous.slice(2 + i * 2, 4 + i * 2), 16);
  }
  // A line is ASCII: its columns are digits, hex and words.
  for (let i = 0; i < line.length; i++) bytes[HASH_BYTES + i] = line.charCodeAt(i);
  let text = '0x';
  for (const byte of sha256(bytes)) text += byte.toString(16).padStart(2, '0');
  return text as Hash32;
}

function assertLine(condition: boolean, message: string): asserts condition {
  if (!condition) throw new RavenError('ledger', message, { fault: 'local' });
}
