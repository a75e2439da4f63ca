/** @file Keystores on a real file system: who may read them, what is refused, and with which words. */
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChainError } from '@ravenlab/protocol';
import { devAccounts } from '../../../contracts/src/devAccounts.js';
import { createKeystore, keystoreAddress, openKeystore } from '../../../contracts/src/keystore.js';
import { readPassword } from '../../../contracts/src/password.js';
import { writePrivate } from '../../../contracts/src/privateFile.js';

/** The real cost takes a second each. */
const scryptCost = 2 ** 10;
const password = 'correct horse';
const home = mkdtempSync(join(tmpdir(), 'ravenlab-keys-'));
let count = 0;
const nextFile = (): string => join(home, `keys${String(count++)}`, 'payer.json');

afterAll(() => rmSync(home, { recursive: true, force: true }));

const failure = async (promise: Promise<unknown>): Promise<ChainError> => {
  const error: unknown = await promise.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ChainError);
  return error as ChainError;
};

test('a key that was made opens with its password and no other', async () => {
  const file = nextFile();
  const made = await createKeystore(file, { password, scryptCost });
  expect(await openKeystore(file, { password, chainId: 1 })).toEqual(made);
  expect(keystoreAddress(file)).toBe(made.address);
  const error = await failure(openKeystore(file, { password: 'wrong', chainId: 1 }));
  expect(error.message).toContain('the password is wrong');
  expect(error.message).toContain(file);
});

test('the file is 0600 in a folder of 0700, holds no key in clear, and nothing is left beside it', async () => {
  const file = nextFile();
  const { privateKey } = await createKeystore(file, { password, scryptCost });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(statSync(join(file, '..')).mode & 0o777).toBe(0o700);
  expect(readFileSync(file, 'utf8')).not.toContain(privateKey.slice(2));
  expect(readdirSync(join(file, '..'))).toEqual(['payer.json']);
});

test.each([0o644, 0o640, 0o604, 0o660])(
  'a keystore of mode %o is refused with what to do',
  async (mode) => {
    const file = nextFile();
    await createKeystore(file, { password, scryptCost });
    chmodSync(file, mode);
    const error = await failure(openKeystore(file, { password, chainId: 1 }));
    expect(error.message).toMatch(/mode is 0\d{3}, expected 0600.*chmod 600/);
    expect(() => keystoreAddress(file)).toThrow(/chmod 600/);
  },
);

test('a keystore is never replaced, and a file that is rewritten gets its rights back', async () => {
  const file = nextFile();
  const { address } = await createKeystore(file, { password, scryptCost });
  const error = await failure(createKeystore(file, { password, scryptCost }));
  expect(error.message).toContain('exists already');
  expect(keystoreAddress(file)).toBe(address);
  const settings = join(home, 'settings.json');
  writeFileSync(settings, 'old', { mode: 0o644 });
  writePrivate(settings, 'new');
  expect(statSync(settings).mode & 0o777).toBe(0o600);
  expect(readFileSync(settings, 'utf8')).toBe('new');
});

test('a key that everybody knows opens for the simulated chain only', async () => {
  const file = nextFile();
  const { privateKey, address } = devAccounts()[3]!;
  await createKeystore(file, { password, privateKey, scryptCost });
  await expect(openKeystore(file, { password, chainId: 31_337 })).resolves.toMatchObject({
    address,
  });
  const error = await failure(openKeystore(file, { password, chainId: 8_453 }));
  expect(error.message).toMatch(/whose keys everybody knows.*chain 8453/);
});

test('what is no keystore says so, and an import that is no key does not repeat it', async () => {
  const file = join(home, 'other.json');
  writePrivate(file, '{"hello": 1}');
  expect((await failure(openKeystore(file, { password, chainId: 1 }))).message).toContain(
    'no keystore',
  );
  const secret = 'not-a-key-but-perhaps-a-password';
  const error = await failure(
    createKeystore(nextFile(), { password, privateKey: secret, scryptCost }),
  );
  expect(`${error.message} ${String(error.cause)}`).not.toContain(secret);
  expect((await failure(createKeystore(nextFile(), { password: '' }))).message).toContain('empty');
});

test('a password comes from a private file, then the environment with a warning, and never from nowhere', async () => {
  const warnings: string[] = [];
  const warn = (text: string) => warnings.push(text);
  const file = join(home, 'password');
  writePrivate(file, 'from a file\n');
  expect(await readPassword({ file, env: 'from env' }, warn)).toBe('from a file');
  expect(warnings).toEqual([]);
  expect(await readPassword({ env: 'from env' }, warn)).toBe('from env');
  expect(warnings).toHaveLength(1);
  chmodSync(file, 0o644);
  expect((await failure(readPassword({ file }, warn))).message).toContain('chmod 600');
  expect((await failure(readPassword({}, warn))).message).toContain('password file');
});
