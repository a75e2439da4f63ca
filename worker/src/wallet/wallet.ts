/**
 * @file The contributor's own account: a keystore in the worker's home, made on the first join. Its key signs who the worker is
 * and what it redeems; it never leaves the process, and the compute thread never has it.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Account } from '@ravenlab/contracts';
import {
  confirmPassword,
  SIMULATED_CHAIN_ID,
  createKeystore,
  keystoreAddress,
  openKeystore,
  readPassword,
  terminalPrompt,
  writePrivate,
} from '@ravenlab/contracts';
import type { Address } from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';

/** Where a wallet's things are. Each identity of a machine has one: two processes must not share a lane. */
export interface WalletPaths {
  readonly folder: string;
  readonly keystore: string;
  /** Present when the password was made, not chosen. */
  readonly password: string;
  /** Vouchers and receipts, by job. */
  readonly lanes: string;
}

export interface Wallet {
  readonly account: Account;
  readonly paths: WalletPaths;
  /** Made just now. */
  readonly isNew: boolean;
}

export interface PasswordChoice {
  /** A file of mode 0600 with the password in its first line; null: the one beside the keystore. */
  readonly file: string | null;
  /** Asks in the terminal. */
  readonly isAsked: boolean;
}

export interface WalletOptions {
  readonly paths: WalletPaths;
  readonly password: PasswordChoice;
  /** Told what its owner should know. */
  readonly warn: (text: string) => void;
  /** Less than the default is for tests. */
  readonly scryptCost?: number;
}

const PASSWORD_BYTES = 24;
/** Scrypt's N where the password was made: nobody guesses 192 random bits, so a guess need not be slow, and a start need not be. */
const GENERATED_COST = 2 ** 12;

/** @param slot number of the identity that it goes with */
export function walletPaths(home: string, slot: number): WalletPaths {
  const folder = join(home, `wallet-${String(slot)}`);
  return {
    folder,
    keystore: join(folder, 'keystore.json'),
    password: join(folder, 'password'),
    lanes: join(folder, 'lanes'),
  };
}

/** Whose wallet it is, without its password; null when there is none yet. */
export function walletAddress(paths: WalletPaths): Address | null {
  return existsSync(paths.keystore) ? keystoreAddress(paths.keystore) : null;
}

/**
 * Opens the wallet, which takes a second on purpose where its password was chosen; makes it when there is none.
 * @throws ChainError when the password is wrong or missing, or others can read the files.
 */
export async function openWallet(options: WalletOptions): Promise<Wallet> {
  const { paths } = options;
  if (existsSync(paths.keystore)) return { ...(await open(options)), isNew: false };
  return { ...(await create(options)), isNew: true };
}

async function open(options: WalletOptions): Promise<Omit<Wallet, 'isNew'>> {
  const { paths } = options;
  const password = await passwordOf(options, paths.password);
  // Whether a key that everybody knows is acceptable depends on the job's chain: the checklist asks.
  const chainId = SIMULATED_CHAIN_ID;
  return { account: await openKeystore(paths.keystore, { password, chainId }), paths };
}

async function create(options: WalletOptions): Promise<Omit<Wallet, 'isNew'>> {
  const { paths, password: choice } = options;
  const isGenerated = choice.file === null && !choice.isAsked;
  const scryptCost = options.scryptCost ?? (isGenerated ? GENERATED_COST : undefined);
  // Written first: a keystore without its password would be money that nobody gets.
  if (isGenerated && !existsSync(paths.password)) {
    writePrivate(paths.password, `${randomBytes(PASSWORD_BYTES).toString('base64url')}\n`);
  }
  const password = await passwordOf(options, paths.password);
  if (choice.isAsked) await confirmPassword(password);
  const account = await createKeystore(paths.keystore, {
    password,
    ...(scryptCost === undefined ? {} : { scryptCost }),
  });
  return { account, paths };
}

async function passwordOf({ password, warn }: WalletOptions, beside: string): Promise<string> {
  if (!password.isAsked) {
    const file = password.file ?? beside;
    if (password.file === null && !existsSync(beside)) {
      throw new ChainError(
        `the wallet's password is not in ${beside}: it was chosen by you. Name its file with --password-file, or use ` +
          '--ask-password',
        { fault: 'user' },
      );
    }
    return readPassword({ file }, warn);
  }
  const prompt = terminalPrompt('Password of the wallet: ');
  return readPassword({ prompt }, warn);
}
