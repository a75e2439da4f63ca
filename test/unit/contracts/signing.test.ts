/** @file Signatures of an escrow: who signed is found again, and anything else that was signed is somebody else's. */
import { SigningKey, TypedDataEncoder, Wallet, computeAddress, id, verifyTypedData } from 'ethers';
import type { Address, Hash32, JobId, Voucher } from '@ravenlab/protocol';
import { VOUCHER_TYPES, escrowDomain } from '@ravenlab/protocol';
import { devAccounts } from '../../../contracts/src/devAccounts.js';
import {
  compactSignature,
  escrowSignatures,
  longSignature,
} from '../../../contracts/src/signing.js';
import { curveKeyWord } from '../../../contracts/src/z85.js';

const ESCROW = `0x${'e5'.repeat(20)}` as Address;
const [payer, signer] = devAccounts() as [
  ReturnType<typeof devAccounts>[number],
  ReturnType<typeof devAccounts>[number],
];
const signatures = escrowSignatures(31_337, ESCROW);
const voucher: Voucher = {
  job: `0x${'0a'.repeat(32)}` as JobId,
  payee: payer.address,
  cumulative: 123_456_789_012_345_678_901n,
  seq: 7,
  ledgerHead: `0x${'0b'.repeat(32)}` as Hash32,
};
/** The example keys of ZeroMQ's manual (zmq_curve). */
const KEY = 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7';
const KEY_BYTES = '54fcba24e93249969316fb617c872bb0c1d1ff14800427c594cbfacf1bc2d652';

test('a voucher is signed as ethers signs typed data, and as wallets show it', async () => {
  const signature = signatures.voucher.sign(voucher, signer);
  const types = { Voucher: VOUCHER_TYPES.Voucher.map((field) => ({ ...field })) };
  const domain = { ...escrowDomain(31_337, ESCROW) };
  expect(longSignature(signature)).toBe(
    await new Wallet(signer.privateKey).signTypedData(domain, types, { ...voucher }),
  );
  expect(
    verifyTypedData(domain, types, { ...voucher }, longSignature(signature)).toLowerCase(),
  ).toBe(signer.address);
  expect(compactSignature(longSignature(signature))).toEqual(signature);
});

test('digests and signatures are those of ethers, for any message', () => {
  const types = { Voucher: VOUCHER_TYPES.Voucher.map((field) => ({ ...field })) };
  const domain = { ...escrowDomain(31_337, ESCROW) };
  for (let i = 1; i <= 64; i++) {
    const random = (text: string) => id(`${text} ${String(i)}`);
    const message: Voucher = {
      job: random('job') as JobId,
      payee: random('payee').slice(0, 42) as Address,
      cumulative: BigInt(random('amount')) >> BigInt(128 + 2 * i - 1),
      seq: i === 64 ? Number.MAX_SAFE_INTEGER : i,
      ledgerHead: random('head') as Hash32,
    };
    const digest = TypedDataEncoder.hash(domain, types, { ...message });
    expect(signatures.voucher.digest(message)).toBe(digest);
    const account = { address: signer.address, privateKey: random('key') };
    const { r, yParityAndS } = new SigningKey(account.privateKey).sign(digest);
    const signature = signatures.voucher.sign(message, account);
    expect(signature).toEqual({ r, vs: yParityAndS });
    expect(signatures.voucher.recover(message, signature)).toBe(
      computeAddress(account.privateKey).toLowerCase(),
    );
  }
});

test('what does not fit its type is not signed as something else', () => {
  const sign = (change: object) => () => signatures.voucher.digest({ ...voucher, ...change });
  expect(sign({ cumulative: 2n ** 128n })).toThrow('no unsigned number of 128 bits');
  expect(sign({ cumulative: -1n })).toThrow('no unsigned number of 128 bits');
  expect(sign({ payee: '0x12' })).toThrow('is not 0x and 40 hex digits');
  expect(sign({ job: '0'.repeat(66) })).toThrow('is not 0x and 64 hex digits');
  expect(sign({ seq: undefined })).toThrow('Voucher lacks seq');
});

test('any other message, escrow or chain recovers to somebody else', () => {
  const signature = signatures.voucher.sign(voucher, signer);
  expect(signatures.voucher.recover(voucher, signature)).toBe(signer.address);
  const others: Voucher[] = [
    { ...voucher, cumulative: voucher.cumulative + 1n },
    { ...voucher, seq: 8 },
    { ...voucher, payee: signer.address },
    { ...voucher, job: `0x${'0c'.repeat(32)}` as JobId },
    { ...voucher, ledgerHead: `0x${'0c'.repeat(32)}` as Hash32 },
  ];
  for (const other of others) {
    expect(signatures.voucher.recover(other, signature)).not.toBe(signer.address);
  }
  for (const elsewhere of [escrowSignatures(1, ESCROW), escrowSignatures(31_337, payer.address)]) {
    expect(elsewhere.voucher.recover(voucher, signature)).not.toBe(signer.address);
  }
});

test('the other half of each signature, and words that are none, recover to nobody', () => {
  const { r, vs } = signatures.voucher.sign(voucher, signer);
  const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
  const parity = 1n << 255n;
  const s = BigInt(vs) & (parity - 1n);
  const mirrored = (order - s) | (BigInt(vs) & parity ? 0n : parity);
  const word = (value: bigint) => `0x${value.toString(16).padStart(64, '0')}` as Hash32;
  // A bit of s that is the parity's place cannot even be written: what is left is another number.
  expect(signatures.voucher.recover(voucher, { r, vs: word(mirrored) })).not.toBe(signer.address);
  const nonsense = [word(0n), word(order), word(2n ** 256n - 1n)];
  for (const bad of nonsense) {
    expect(signatures.voucher.recover(voucher, { r: bad, vs })).toBeNull();
    expect(signatures.voucher.recover(voucher, { r, vs: bad })).not.toBe(signer.address);
  }
});

test('a hello is bound to the wallet, both CURVE keys, the nonce and its time', () => {
  const hello = {
    wallet: payer.address,
    serverKey: KEY,
    clientKey: 'JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6',
    nonce: `0x${'0d'.repeat(32)}` as Hash32,
    expiry: 1_800_000_000,
  };
  const signature = signatures.hello.sign(hello, payer);
  expect(signatures.hello.recover(hello, signature)).toBe(payer.address);
  const others = [
    { ...hello, wallet: signer.address },
    { ...hello, serverKey: `${KEY.slice(0, -1)}8` },
    { ...hello, clientKey: KEY },
    { ...hello, nonce: `0x${'0e'.repeat(32)}` as Hash32 },
    { ...hello, expiry: hello.expiry + 1 },
  ];
  for (const other of others) {
    expect(signatures.hello.recover(other, signature)).not.toBe(payer.address);
  }
});

test('a server claim is no hello, and neither is a voucher', () => {
  const claim = { serverKey: KEY, escrow: ESCROW, job: voucher.job };
  const signature = signatures.server.sign(claim, signer);
  expect(signatures.server.recover(claim, signature)).toBe(signer.address);
  expect(signatures.voucher.recover(voucher, signature)).not.toBe(signer.address);
});

test('a CURVE key is the 32 bytes that Z85 writes, and nothing else is one', () => {
  expect(curveKeyWord(KEY)).toBe(`0x${KEY_BYTES}`);
  for (const bad of [
    '',
    KEY.slice(1),
    `${KEY}0`,
    `${KEY.slice(1)} `,
    '#'.repeat(40),
    `${KEY.slice(1)}é`,
  ]) {
    expect(() => curveKeyWord(bad)).toThrow(/40 characters of Z85/);
  }
});
