/** @file Payments in the panel, without a browser: calls as bytes, the balance in parts, words for every state. */
import fc from 'fast-check';
import { Interface } from 'ethers';
import { EMPTY_PAYMENTS, SETTLEMENTS, TX_KINDS, TX_STATES } from '@ravenlab/protocol';
import { readArtifact } from '../../../contracts/src/artifact.js';
import {
  allowanceCall,
  approveCall,
  jobsCall,
  readJob,
  refundCall,
  topUpCall,
  wordsOf,
} from '../../../extension/src/model/calldata.js';
import {
  TX_LABELS,
  TX_TEXTS,
  balanceParts,
  explorerPage,
  settlementLabel,
  shortHex,
  urgencyOf,
} from '../../../extension/src/model/paymentsText.js';
import type { Translate } from '../../../extension/src/model/wording.js';
import { CHAIN, txOf } from '../panel/lib.js';

const ENGLISH: Translate = { __: (text) => text, _n: (singular) => singular };
const escrow = new Interface(readArtifact('LaneEscrow').abi);
const token = new Interface(readArtifact('DevToken').abi);

const hexOf = (bytes: number) =>
  fc
    .uint8Array({ minLength: bytes, maxLength: bytes })
    .map((raw) => `0x${Buffer.from(raw).toString('hex')}`);
const address = hexOf(20);
const job = hexOf(32);
const amount = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n });
const time = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

test('calls are the bytes that the committed ABI makes of them', () => {
  fc.assert(
    fc.property(address, address, job, amount, time, (owner, spender, id, sum, expiry) => {
      expect(approveCall(spender, sum)).toBe(token.encodeFunctionData('approve', [spender, sum]));
      expect(allowanceCall(owner, spender)).toBe(
        token.encodeFunctionData('allowance', [owner, spender]),
      );
      expect(topUpCall(id, sum, expiry)).toBe(
        escrow.encodeFunctionData('topUp', [id, sum, expiry]),
      );
      expect(refundCall(id)).toBe(escrow.encodeFunctionData('refund', [id]));
      expect(jobsCall(id)).toBe(escrow.encodeFunctionData('jobs', [id]));
    }),
  );
});

test('a job is read as the escrow encodes it, with its zeros', () => {
  fc.assert(
    fc.property(
      address,
      time,
      address,
      address,
      amount,
      amount,
      (payer, expiry, signer, of, free, rest) => {
        const result = escrow.encodeFunctionResult('jobs', [payer, expiry, signer, of, free, rest]);
        expect(readJob(result)).toEqual({ payer, expiryS: expiry, token: of, free });
      },
    ),
  );
});

test.each([null, '0x', '0x12', `0x${'z'.repeat(64)}`, { result: 1 }])(
  'what is no word of a contract is refused: %p',
  (result) => {
    expect(() => wordsOf(result, 1)).toThrow(/expected 1 words/);
  },
);

test('what does not fit a word is refused, not cut', () => {
  expect(() => refundCall(`0x${'1'.repeat(65)}`)).toThrow(/at most 32 bytes/);
  expect(() => refundCall('javascript:')).toThrow(/at most 32 bytes/);
});

test('the parts of the balance are the whole of the bar, beyond what a double can count', () => {
  const balance = {
    deposit: '0',
    paid: '0',
    reserved: `2${'0'.repeat(30)}`,
    free: `6${'0'.repeat(30)}`,
  };
  expect(balanceParts(balance).map(({ name, share }) => [name, share])).toEqual([
    ['paid', 0],
    ['reserved', 0.25],
    ['free', 0.75],
  ]);
  expect(balanceParts(EMPTY_PAYMENTS.balance).map(({ share }) => share)).toEqual([0, 0, 0]);
});

test('a simulated chain is called so, and only when it works', () => {
  const words = (change: object) => settlementLabel({ ...EMPTY_PAYMENTS, ...change }).text(ENGLISH);
  expect(words({ settlement: 'ready', chain: CHAIN })).toBe('Simulated chain');
  expect(words({ settlement: 'ready', chain: { ...CHAIN, isSimulated: false } })).toBe('On chain');
  expect(words({ settlement: 'problem', chain: CHAIN })).toBe('Chain problem');
  expect(words({})).toBe('Metered only');
  expect(words({ settlement: 'starting' })).toBe('Chain starts with the first run');
  expect(words({ settlement: 'starting', currency: 'RVN' })).toBe('Chain starts');
});

test('every state and kind has words', () => {
  for (const kind of TX_KINDS) expect(TX_TEXTS[kind](ENGLISH)).not.toBe('');
  for (const state of TX_STATES) expect(TX_LABELS[state].text(ENGLISH)).not.toBe('');
  const labels = SETTLEMENTS.map((settlement) =>
    settlementLabel({ ...EMPTY_PAYMENTS, settlement }),
  );
  expect(new Set(labels.map((label) => label.text(ENGLISH))).size).toBe(SETTLEMENTS.length);
});

test('a transaction leads to its page only where there is one', () => {
  const tx = txOf(7);
  expect(explorerPage('https://scan.example/tx/{hash}', tx)).toBe(
    `https://scan.example/tx/${tx.hash!}`,
  );
  expect(explorerPage(null, tx)).toBeNull();
  expect(explorerPage('https://scan.example/tx/{hash}', { ...tx, hash: null })).toBeNull();
});

test('an address is short to the eye', () => {
  expect(shortHex(CHAIN.escrow)).toBe('0xeeee…eeee');
  expect(shortHex('0x12')).toBe('0x12');
});

test('time that runs out worries, time that is not known does not', () => {
  expect([null, 0, 60_000, 86_400_000].map(urgencyOf)).toEqual(['quiet', 'bad', 'warn', 'quiet']);
});
