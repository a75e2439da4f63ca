/** @file Messages of the deal between engine and invited worker: money, keys and digests survive the wire within their bounds. */
import type {
  Address,
  DoneUnit,
  EngineToWorker,
  ExecutionId,
  Hash32,
  JobId,
  LeaseId,
  WorkerToEngine,
} from '@ravenlab/protocol';
import {
  LIMITS,
  VOUCHER_LIMITS,
  decodeEngineMessage,
  decodeWorkerMessage,
  encodeEngineMessage,
  encodeWorkerMessage,
  isCurveKey,
} from '@ravenlab/protocol';

const KEY = 'HelloWorld'.repeat(4);
const hash = (digit: string): Hash32 => `0x${digit.repeat(64)}` as Hash32;
const address = (digit: string): Address => `0x${digit.repeat(40)}` as Address;
const JOB = hash('a') as string as JobId;
const SIGNATURE = { r: hash('1'), vs: hash('2') };
const VOUCHER = {
  ...{ job: JOB, payee: address('b'), cumulative: VOUCHER_LIMITS.laneAmount, seq: 3 },
  ...{ ledgerHead: hash('c'), ...SIGNATURE },
};

const backAtWorker = (message: EngineToWorker): EngineToWorker | string => {
  const decoded = decodeEngineMessage(encodeEngineMessage(message));
  return decoded.ok ? decoded.value : decoded.error.message;
};
const backAtEngine = (message: WorkerToEngine): WorkerToEngine | string => {
  const decoded = decodeWorkerMessage(encodeWorkerMessage(message));
  return decoded.ok ? decoded.value : decoded.error.message;
};

test('a CURVE key is 40 digits of Z85, and no group of them is above 32 bits', () => {
  expect(isCurveKey(KEY)).toBe(true);
  expect(isCurveKey(KEY.slice(1))).toBe(false);
  expect(isCurveKey(`${KEY.slice(1)}"`)).toBe(false);
  expect(isCurveKey(`#####${KEY.slice(5)}`)).toBe(false);
});

test('money of any size a lane can hold survives, at any depth of a message', () => {
  const terms: EngineToWorker = {
    ...{ kind: 'terms', chainId: 31_337, escrow: address('e'), job: JOB, payer: address('0') },
    ...{ signer: address('1'), token: address('2'), tokenSymbol: 'DEV', decimals: 18 },
    ...{ expiry: 1_800_000_000, cap: VOUCHER_LIMITS.laneAmount, paid: 0n, perGflop: 2n ** 60n },
    ...{ perMib: 1n, holdbackUnits: 19, serverSignature: SIGNATURE },
  };
  expect(backAtWorker(terms)).toEqual(terms);
  const voucher: EngineToWorker = { kind: 'voucher', voucher: VOUCHER, lines: ['1,2', '2,3'] };
  expect(backAtWorker(voucher)).toEqual(voucher);
  const presented: WorkerToEngine = { kind: 'presented', voucher: VOUCHER };
  expect(backAtEngine(presented)).toEqual(presented);
  expect(backAtEngine({ kind: 'presented', voucher: null })).toMatchObject({ voucher: null });
});

test('the longest voucher fits one control message', () => {
  const line = 'x'.repeat(VOUCHER_LIMITS.receiptLineChars);
  const lines = Array.from({ length: VOUCHER_LIMITS.linesPerVoucher }, () => line);
  expect(backAtWorker({ kind: 'voucher', voucher: VOUCHER, lines })).toMatchObject({ lines });
  expect(() =>
    encodeEngineMessage({ kind: 'voucher', voucher: VOUCHER, lines: [...lines, line] }),
  ).toThrow('at most 480 items');
});

const REFUSED: readonly (readonly [string, EngineToWorker, string])[] = [
  [
    'a lane amount above 112 bits',
    { kind: 'voucher', voucher: { ...VOUCHER, cumulative: 2n ** 112n }, lines: [] },
    'voucher.voucher.cumulative: expected at most',
  ],
  [
    'an address in mixed case, which would be another string for an equal account',
    {
      ...{ kind: 'challenge', nonce: hash('a'), expiry: 1, chainId: 1, serverKey: KEY },
      escrow: `0x${'A'.repeat(40)}` as Address,
    },
    'challenge.escrow: expected 0x and 40 lower-case hex digits',
  ],
  [
    'a key that is not a key',
    {
      ...{ kind: 'challenge', nonce: hash('a'), expiry: 1, chainId: 1, escrow: address('a') },
      serverKey: 'short',
    },
    `challenge.serverKey: expected ${String(LIMITS.curveKeyChars)} characters of Z85`,
  ],
];

test.each(REFUSED)('%s is refused by its sender already', (_, message, reason) => {
  expect(() => encodeEngineMessage(message)).toThrow(reason);
});

test('a digest is 8 words of the header, wherever the outputs went', () => {
  const digest = `0x${'0123456789abcdef'.repeat(4)}` as Hash32;
  const unit = (lease: number, isAhead: boolean, own: Hash32 | null): DoneUnit => ({
    ...{ lease: lease as LeaseId, status: 'ok', computeUs: 9, digest: own },
    outputs: isAhead ? null : [[new Uint8Array(8)]],
  });
  const message = (...units: DoneUnit[]): WorkerToEngine => ({
    ...{ kind: 'done', execution: 1 as ExecutionId, outputBytes: [8], units },
  });
  const units = [unit(1, false, digest), unit(2, true, digest), unit(3, false, null)];
  expect(backAtEngine(message(...units))).toMatchObject({
    units: [{ digest }, { digest, outputs: null }, { digest: null }],
  });
  const headerBytes = (own: Hash32 | null): number =>
    encodeWorkerMessage(message(unit(1, false, own)))[0]?.byteLength ?? 0;
  expect(headerBytes(digest) - headerBytes(null)).toBe(32);
});
