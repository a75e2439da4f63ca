/** @file Which chain is chosen, what settings may say, and amounts as people write them. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { amountText, parseAmount } from '../../../../kernel/src/engine/chain/amounts.js';
import { chainChoice } from '../../../../kernel/src/engine/chain/chainChoice.js';
import { readSettings } from '../../../../kernel/src/engine/chain/settings.js';

const home = mkdtempSync(join(tmpdir(), 'ravenlab-settings-'));
const file = join(home, 'chain.json');
afterAll(() => rmSync(home, { recursive: true, force: true }));

const GOOD = {
  ...{ rpcUrl: 'https://node.example', chainId: 8_453, escrow: '0xe', token: '0xt' },
  signer: { keystore: 'keys/signer.json', passwordFile: '/safe/password' },
};

function read(changes: object, env: Readonly<Record<string, string>> = {}) {
  writeFileSync(file, JSON.stringify({ ...GOOD, ...changes }), { mode: 0o600 });
  return readSettings(file, env);
}

test('a simulated chain unless something else is said', () => {
  rmSync(file, { force: true });
  expect(chainChoice({}, home)).toEqual({ kind: 'simulated' });
  expect(chainChoice({ RAVENLAB_CHAIN: 'off' }, home)).toEqual({ kind: 'off' });
  expect(chainChoice({ RAVENLAB_CHAIN: '/x.json' }, home)).toEqual({
    kind: 'settings',
    file: '/x.json',
  });
  writeFileSync(file, '{}', { mode: 0o600 });
  expect(chainChoice({}, home)).toEqual({ kind: 'settings', file });
  expect(chainChoice({ RAVENLAB_CHAIN: 'simulated' }, home)).toEqual({ kind: 'simulated' });
});

test('paths are relative to the file, the payer is optional, and the environment names another node', () => {
  const settings = read({}, { RAVENLAB_CHAIN_RPC: 'http://other' });
  expect(settings).toMatchObject({
    ...{ rpcUrl: 'http://other', name: 'chain 8453', payer: null, job: null, confirmations: null },
    signer: { keystore: join(home, 'keys/signer.json'), passwordFile: '/safe/password' },
    limits: { perContributor: null, perHour: null, perRun: null },
    ...{
      settle: null,
      secondRpcUrl: null,
      decimals: 18,
      price: { perTflop: '0.001', perTib: '0' },
    },
  });
  expect(read({ settle: { etherPrice: '3000' } }).settle).toEqual({
    ...{ etherPrice: '3000', atLeast: '0', timesFee: 100, everyHours: 24 },
  });
});

test.each([
  [{ chainId: '1' }, /chainId is "1", expected a whole number/],
  [{ chainId: undefined }, /chainId is missing/],
  [{ rpcUrl: 5 }, /rpcUrl is 5, expected text/],
  [{ signer: undefined }, /signer is missing, expected an object/],
  [{ signer: {} }, /signer\.keystore is missing/],
  [{ confirmations: 64 }, /confirmations is 64, expected a whole number from 1 to 60/],
  [{ settle: {} }, /settle\.etherPrice is missing, expected text/],
  [{ settle: { etherPrice: '1', timesFee: 0 } }, /settle\.timesFee is 0, expected a whole number/],
  [{ decimals: 6, price: { perTflop: '0.0001' } }, /perTflop is 0\.0001, expected a multiple of/],
  [{ decimals: 99 }, /decimals is 99, expected a whole number from 0 to 36/],
  [{ job: '0x12' }, /job is "0x12", expected 0x and 64 hex digits/],
])('%j is refused with the field, what it is and what it should be', (changes, message) => {
  expect(() => read(changes)).toThrow(message);
});

test('settings that others can read, or that are no JSON, are refused', () => {
  read({});
  chmodSync(file, 0o644);
  expect(() => readSettings(file, {})).toThrow(/chmod 600/);
  chmodSync(file, 0o600);
  writeFileSync(file, '{');
  expect(() => readSettings(file, {})).toThrow(/are no JSON/);
});

test('property: an amount that is written is the amount that is read', () => {
  const amount = fc.bigInt({ min: 0n, max: 2n ** 112n });
  fc.assert(
    fc.property(amount, fc.integer({ min: 0, max: 30 }), (value, decimals) => {
      expect(parseAmount(amountText(value, decimals), decimals, 'amount')).toBe(value);
    }),
  );
});

test('what is finer than the token, or no number, is refused', () => {
  expect(parseAmount('0.50000000', 1, 'x')).toBe(5n);
  expect(() => parseAmount('0.0000001', 6, 'deposit')).toThrow(/deposit '0.0000001' is finer/);
  for (const bad of ['', '-1', '1e3', '.5', '1.', '0x10', 'NaN', '1,5']) {
    expect(() => parseAmount(bad, 18, 'deposit')).toThrow(/expected a number like/);
  }
});
