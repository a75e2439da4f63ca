/** @file Vouchers and receipts as they travel: what comes back is what was sent, and nothing else is taken. */
import type { Receipt, SignedVoucher } from '@ravenlab/protocol';
import {
  NO_RECEIPT,
  RECEIPT_COLUMNS,
  VOUCHER_LIMITS,
  decodeVoucher,
  encodeVoucher,
  escrowDomain,
  parseReceiptLine,
  receiptLine,
} from '@ravenlab/protocol';

const hash = (digit: string): string => `0x${digit.repeat(64)}`;
const VOUCHER = {
  job: hash('1'),
  payee: `0x${'a'.repeat(40)}`,
  cumulative: 12_345_678_901_234_567_890n,
  seq: 7,
  ledgerHead: hash('2'),
  r: hash('3'),
  vs: hash('4'),
} as SignedVoucher;
const RECEIPT = {
  n: 3,
  job: VOUCHER.job,
  payee: VOUCHER.payee,
  lease: 99,
  program: 'b'.repeat(64),
  flops: 2 ** 53 - 1,
  sizeBytes: 0,
  amount: VOUCHER_LIMITS.laneAmount,
  result: hash('5'),
  verdict: 'accepted',
} as Receipt;

test('a voucher survives JSON, to the last base unit', () => {
  const wire: unknown = JSON.parse(JSON.stringify(encodeVoucher(VOUCHER)));
  expect(decodeVoucher(wire)).toEqual({ ok: true, value: VOUCHER });
});

test.each<[string, Record<string, unknown>]>([
  ['money as a number', { cumulative: 5 }],
  ['money with a sign', { cumulative: '-5' }],
  ['money with a leading zero', { cumulative: '05' }],
  ['money in hex', { cumulative: '0x5' }],
  ['money with an exponent', { cumulative: '1e5' }],
  ['empty money', { cumulative: '' }],
  ['more than a lane holds', { cumulative: (VOUCHER_LIMITS.laneAmount + 1n).toString() }],
  ['a megabyte of digits', { cumulative: '9'.repeat(1_000_000) }],
  ['a sequence number below zero', { seq: -1 }],
  ['a sequence number that is no integer', { seq: 1.5 }],
  ['an upper-case address', { payee: `0x${'A'.repeat(40)}` }],
  ['a short address', { payee: `0x${'a'.repeat(39)}` }],
  ['an address that is an object', { payee: { toString: () => VOUCHER.payee } }],
  ['a hash without 0x', { ledgerHead: '2'.repeat(66) }],
  ['a signature of the long form', { vs: `${hash('4')}1b` }],
  ['a missing job', { job: undefined }],
])('a voucher with %s is refused', (_what, change) => {
  const result = decodeVoucher({ ...encodeVoucher(VOUCHER), ...change });
  const [field] = Object.keys(change);
  expect(result.ok).toBe(false);
  expect(!result.ok && result.error.message).toContain(`voucher.${String(field)}`);
});

test.each([null, undefined, 'voucher', 7, [], [VOUCHER]])('%p is no voucher', (value) => {
  expect(decodeVoucher(value).ok).toBe(false);
});

test('a receipt line is columns in their order, and reads back to the same receipt', () => {
  const line = receiptLine(RECEIPT);
  expect(line.split(',')).toHaveLength(RECEIPT_COLUMNS.length);
  expect(line.length).toBeLessThanOrEqual(VOUCHER_LIMITS.receiptLineChars);
  expect(parseReceiptLine(line)).toEqual({ ok: true, value: RECEIPT });
});

test.each([
  ['a column less', (line: string) => line.slice(0, line.lastIndexOf(','))],
  ['a column more', (line: string) => `${line},`],
  ['a space', (line: string) => line.replace(',', ', ')],
  ['a leading zero', (line: string) => `0${line}`],
  ['a sign', (line: string) => `+${line}`],
  ['an upper-case digit', (line: string) => line.replace('b', 'B')],
  ['an unknown verdict', (line: string) => line.replace('accepted', 'admired')],
  ['a line end', (line: string) => `${line}\n`],
  ['a count beyond 2^53', (line: string) => line.replace(String(2 ** 53 - 1), String(2 ** 53))],
  ['too many characters', (line: string) => line + 'x'.repeat(VOUCHER_LIMITS.receiptLineChars)],
])('a receipt line with %s is refused: it would hash differently', (_what, change) => {
  const line = change(receiptLine(RECEIPT));
  expect(line).not.toBe(receiptLine(RECEIPT));
  expect(parseReceiptLine(line).ok).toBe(false);
});

test('the domain names chain and escrow; the first receipt hangs on nothing', () => {
  expect(escrowDomain(31_337, VOUCHER.payee)).toEqual({
    name: 'LaneEscrow',
    version: '1',
    chainId: 31_337,
    verifyingContract: VOUCHER.payee,
  });
  expect(NO_RECEIPT).toBe(hash('0'));
});
