/**
 * @file Encrypted key files (Web3 secret storage, version 3): made, read, and named by address without their password. Not a place
 * where keys are kept in memory: whoever opens one holds it.
 */
import { Wallet, decryptKeystoreJson, encryptKeystoreJson, isKeystoreJson } from 'ethers';
import type { Address } from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';
import { refuseDevAccount } from './devAccounts.js';
import { readPrivate, writePrivate } from './privateFile.js';

/** A key and whose it is. */
export interface Account {
  readonly address: Address;
  /** 0x and 64 hex digits; never printed, sent or logged. */
  readonly privateKey: string;
}

/** Scrypt's N: about a second and 128 MiB for each guess, as geth and ethers have it. */
const SCRYPT_COST = 2 ** 17;

export interface CreateOptions {
  readonly password: string;
  /** Imports this one; without it, one is made. */
  readonly privateKey?: string;
  /** Less than the default is for tests. */
  readonly scryptCost?: number;
}

/**
 * Makes a key file of mode 0600; its folder is made with 0700.
 * @throws ChainError when there is such a file already, or the key is none.
 */
export async function createKeystore(file: string, options: CreateOptions): Promise<Account> {
  const account = accountOf(options.privateKey ?? Wallet.createRandom().privateKey);
  const { password, scryptCost = SCRYPT_COST } = options;
  if (password === '') {
    throw new ChainError(
      `the password of keystore ${file} is empty: it would be open to whoever reads it`,
      {
        fault: 'user',
      },
    );
  }
  const text = await encryptKeystoreJson(account, password, { scrypt: { N: scryptCost } });
  writePrivate(file, `${text}\n`, { isNew: true });
  return account;
}

export interface OpenOptions {
  readonly password: string;
  /** The chain that it is for: well-known keys open for the simulated one only. */
  readonly chainId: number;
}

/**
 * Opens a key file; takes about a second, on purpose.
 * @throws ChainError when others can read it, the password is wrong, it is no key file, or the key is everybody's.
 */
export async function openKeystore(file: string, options: OpenOptions): Promise<Account> {
  const text = keystoreText(file);
  let privateKey: string;
  try {
    ({ privateKey } = await decryptKeystoreJson(text, options.password));
  } catch (cause) {
    const isPassword = cause instanceof Error && cause.message.includes('password');
    const why = isPassword
      ? 'the password is wrong'
      : `it is damaged (${(cause as Error).message})`;
    throw new ChainError(`keystore ${file} cannot be opened: ${why}`, { fault: 'user', cause });
  }
  const account = accountOf(privateKey);
  refuseDevAccount(account.address, options.chainId, `keystore ${file}: account`);
  return account;
}

/** Whose key is in a file; needs no password. @throws ChainError as `openKeystore` does. */
export function keystoreAddress(file: string): Address {
  const { address } = JSON.parse(keystoreText(file)) as { readonly address?: unknown };
  if (typeof address === 'string' && /^(0x)?[0-9a-fA-F]{40}$/.test(address)) {
    return `0x${address.replace(/^0x/, '').toLowerCase()}` as Address;
  }
  throw new ChainError(`keystore ${file} does not say whose key it holds`, { fault: 'user' });
}

/** @throws ChainError when it is not 32 bytes of hex within the curve's order; the message does not repeat it. */
export function accountOf(privateKey: string): Account {
  try {
    const wallet = new Wallet(privateKey);
    return { address: wallet.address.toLowerCase() as Address, privateKey: wallet.privateKey };
  } catch {
    // Its message would quote the key.
    throw new ChainError('a private key is 64 hex digits, with or without 0x; this is none', {
      fault: 'user',
    });
  }
}

function keystoreText(file: string): string {
  const text = readPrivate(file, 'keystore');
  if (isKeystoreJson(text)) return text;
  throw new ChainError(
    `${file} is no keystore: expected JSON of Web3 secret storage, version 3, as npm run chain -- keystore new makes it`,
    { fault: 'user' },
  );
}
