/** @file Readers of the panel protocol: what is well formed passes unchanged, all else is refused by value with the field named. */
import fc from 'fast-check';
import { parseFrontMessage, parseKernelMessage, readPanelResult } from '@ravenlab/protocol';
import { BUSY_STATE, CHAIN, contributorOf, overTheWire, txOf } from './lib.js';

const SNAPSHOT = { type: 'snapshot', stream: 1, seq: 0, atMs: 99, state: BUSY_STATE } as const;

function errorOf(value: unknown): string {
  const parsed = parseKernelMessage(value);
  return parsed.ok ? 'accepted' : parsed.error;
}

test('a full snapshot survives the wire', () => {
  expect(parseKernelMessage(overTheWire(SNAPSHOT))).toEqual({ ok: true, value: SNAPSHOT });
});

test('a field that a newer kernel added is dropped, not refused', () => {
  const parsed = parseKernelMessage({ ...SNAPSHOT, mood: 'sunny' });
  expect(parsed).toEqual({ ok: true, value: SNAPSHOT });
});

describe('a bad kernel message is refused with the field named:', () => {
  const withRow = (change: object) => ({
    ...SNAPSHOT,
    state: { ...BUSY_STATE, contributors: [{ ...contributorOf('w1'), ...change }] },
  });
  const withPayments = (change: object) => ({
    ...SNAPSHOT,
    state: { ...BUSY_STATE, payments: { ...BUSY_STATE.payments, ...change } },
  });
  const withChain = (change: object) => withPayments({ chain: { ...CHAIN, ...change } });
  const withTx = (change: object) => withPayments({ transactions: [{ ...txOf(1), ...change }] });
  const cases: readonly (readonly [string, unknown, RegExp])[] = [
    ['no object', 'hello', /message: expected an object, got "hello"/],
    ['an array', [], /expected an object/],
    ['null', null, /expected an object, got null/],
    ['an unknown type', { type: 'exec' }, /message.type: expected one of snapshot, delta/],
    ['an inherited name as type', { type: 'constructor' }, /message.type/],
    ['a missing state', { ...SNAPSHOT, state: undefined }, /snapshot.state: expected an object/],
    ['a negative sequence number', { ...SNAPSHOT, seq: -1 }, /snapshot.seq/],
    ['a fractional sequence number', { ...SNAPSHOT, seq: 0.5 }, /snapshot.seq/],
    ['an unknown worker state', withRow({ state: 'evil' }), /contributors\[0\].state/],
    ['money as a number', withRow({ earnedUnits: 12 }), /contributors\[0\].earnedUnits/],
    ['negative money', withRow({ earnedUnits: '-1' }), /earnedUnits/],
    ['money with a point', withRow({ earnedUnits: '1.5' }), /earnedUnits/],
    ['money of 79 digits', withRow({ earnedUnits: '9'.repeat(79) }), /earnedUnits/],
    ['a NaN rate', withRow({ samplesPerSecond: Number.NaN }), /samplesPerSecond/],
    ['an endless name', withRow({ name: 'x'.repeat(65) }), /name: expected a string of at most 64/],
    ['an escrow that is no address', withChain({ escrow: '0xE5' }), /chain.escrow: expected 0x/],
    ['an explorer that runs code', withChain({ explorerUrl: 'javascript:alert(1)' }), /an https/],
    ['an explorer with a quote', withChain({ explorerUrl: 'https://a"x=/{hash}' }), /an https/],
    ['an explorer without a place', withChain({ explorerUrl: 'https://a/tx' }), /with {hash}/],
    ['a transaction of an unknown kind', withTx({ kind: 'steal' }), /transactions\[0\].kind/],
    ['a hash that is a link', withTx({ hash: 'https://a' }), /transactions\[0\].hash/],
    [
      'too many rows',
      { ...SNAPSHOT, state: { ...BUSY_STATE, contributors: new Array(501).fill({}) } },
      /at most 500 items, got an array of 501/,
    ],
    [
      'a loss that is not a number',
      {
        type: 'delta',
        stream: 1,
        seq: 1,
        atMs: 0,
        patch: {
          job: { change: {}, loss: { stride: 1, lastCount: 1, keep: 0, append: [[0, 'x']] } },
        },
      },
      /append\[0\]\[1\]: expected a finite number/,
    ],
  ];
  test.each(cases)('%s', (_name, message, expected) => {
    expect(errorOf(message)).toMatch(expected);
  });
});

test('a patch cannot reach a prototype', () => {
  const text = `{"type":"delta","stream":1,"seq":1,"atMs":0,"patch":{"cluster":{"__proto__":{"state":"off"}},"__proto__":{"job":1}}}`;
  const parsed = parseKernelMessage(JSON.parse(text));
  expect(parsed).toEqual({
    ok: true,
    value: { type: 'delta', stream: 1, seq: 1, atMs: 0, patch: { cluster: {} } },
  });
  expect(({} as { state?: string }).state).toBeUndefined();
});

test('no JSON value makes a reader throw', () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.constantFrom('snapshot', 'delta', 'open', 'cmd'),
      (body, type) => {
        const message = Object.assign({ type }, body);
        expect(() => [parseFrontMessage(message), parseKernelMessage(message)]).not.toThrow();
      },
    ),
  );
});

describe('a command', () => {
  const scale = { type: 'cmd', id: 'c1', op: 'scale', args: { workers: 4 } };

  test('is read with the arguments of its op', () => {
    expect(parseFrontMessage(scale)).toEqual({ ok: true, value: scale });
  });

  const bad: readonly (readonly [string, object, RegExp])[] = [
    ['an unknown op', { op: 'rm' }, /cmd.op: expected one of stopRun/],
    ['an op of Object.prototype', { op: 'toString' }, /cmd.op/],
    ['missing arguments', { args: undefined }, /cmd.args: expected an object/],
    ['a worker count out of bounds', { args: { workers: 1e9 } }, /integer from 0 to 1024/],
    ['a deposit in coins', { op: 'deposit', args: { amount: '1.5' } }, /cmd.args.amount/],
    ['a limit as a number', { op: 'setLimits', args: { perLane: 5 } }, /cmd.args.perLane/],
    ['an export as code', { op: 'exportLedger', args: { format: 'js' } }, /cmd.args.format/],
    ['an empty id', { id: '' }, /cmd.id: expected an id/],
  ];
  test.each(bad)('with %s is refused', (_name, change, expected) => {
    const parsed = parseFrontMessage({ ...scale, ...change });
    expect(parsed.ok ? 'accepted' : parsed.error).toMatch(expected);
  });
});

test('a result is read as its op demands', () => {
  const value = { command: 'npm run worker -- join x', expiresAtMs: null };
  expect(readPanelResult('invite', value)).toEqual(value);
  expect(() => readPanelResult('invite', { command: 7 })).toThrow(/result of invite.command/);
});
