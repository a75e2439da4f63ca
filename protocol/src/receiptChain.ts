/**
 * @file The receipts of one lane as a hash chain: hash = H(previous hash, line). What was earned is what the chain says,
 * and a voucher anchors its head. RFC 3 §5. Keeping the lines is the store's business.
 */
import { RavenError } from './errors.js';
import { VOUCHER_LIMITS } from './limits.js';
import type { Receipt } from './receipt.js';
import { NO_RECEIPT, parseReceiptLine, receiptLine } from './receipt.js';
import type { Address, Hash32 } from './voucher.js';

/** SHA-256; 32 bytes for any bytes. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

const HASH_BYTES = 32;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

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
  assertLine(line.length <= VOUCHER_LIMITS.receiptLineChars, 'a line is too long');
  const head = hashOf(chain.head, line, sha256);
  const earned = chain.earned + receipt.amount;
  return { chain: { count: receipt.n, earned, head }, entry: { line, hash: head } };
}

/** Where one lane stood when it was settled. */
export interface LaneHead {
  readonly payee: Address;
  readonly count: number;
  readonly head: Hash32;
}

/**
 * What a settlement names on the chain: the head of its lane, or, of several, the hash of a line for each, ascending by payee:
 * `payee,count,head`, with a line feed after each.
 * @returns also those lines; null when the head is the lane's own.
 */
export function settlementHead(
  lanes: readonly LaneHead[],
  sha256: Sha256,
): { readonly head: Hash32; readonly statement: string | null } {
  const [first] = lanes;
  if (lanes.length === 1 && first !== undefined) return { head: first.head, statement: null };
  const sorted = [...lanes].sort((a, b) => (a.payee < b.payee ? -1 : 1));
  const statement = sorted
    .map(({ payee, count, head }) => `${payee},${String(count)},${head}\n`)
    .join('');
  return { head: hexOf(sha256(asciiOf(statement))), statement };
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

/** What is hashed, one after the other: nobody keeps it. */
const input = new Uint8Array(HASH_BYTES + VOUCHER_LIMITS.receiptLineChars);

function hashOf(previous: Hash32, line: string, sha256: Sha256): Hash32 {
  const bytes = input.subarray(0, HASH_BYTES + line.length);
  for (let i = 0; i < HASH_BYTES; i++) {
    bytes[i] = (digitAt(previous, 2 + i * 2) << 4) | digitAt(previous, 3 + i * 2);
  }
  putAscii(bytes, HASH_BYTES, line);
  return hexOf(sha256(bytes));
}

/** Of a lower-case hex digit. */
function digitAt(text: string, at: number): number {
  const code = text.charCodeAt(at);
  return code < 58 ? code - 48 : code - 87;
}

function hexOf(bytes: Uint8Array): Hash32 {
  let text = '0x';
  for (const byte of bytes) text += HEX[byte] ?? '';
  return text as Hash32;
}

function asciiOf(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  putAscii(bytes, 0, text);
  return bytes;
}

/** Of text whose columns are digits, hex and words. */
function putAscii(bytes: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}

function assertLine(condition: boolean, message: string): asserts condition {
  if (!condition) throw new RavenError('ledger', message, { fault: 'local' });
}
