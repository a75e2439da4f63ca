/**
 * @file The accounts of the simulated chain, whose keys everybody knows. They are here so that they can be used there, and
 * refused everywhere else.
 */
import { HDNodeWallet, Mnemonic } from 'ethers';
import type { Address } from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';
import { SIMULATED_CHAIN_ID } from './anvil.js';
import type { Account } from './keystore.js';

/** Anvil's and hardhat's. */
const PHRASE = 'test test test test test test test test test test test junk';
const PATH = "m/44'/60'/0'/0/";

/** As many as hardhat funds; anvil funds the first ten. */
const KNOWN = 20;

let accounts: readonly Account[] | null = null;

/** All of them; `[0]` deploys and pays, `[1]` signs vouchers. Derived once, in a few milliseconds each. */
export function devAccounts(): readonly Account[] {
  if (accounts !== null) return accounts;
  const mnemonic = Mnemonic.fromPhrase(PHRASE);
  accounts = Array.from({ length: KNOWN }, (_, index) => {
    const { address, privateKey } = HDNodeWallet.fromMnemonic(mnemonic, `${PATH}${String(index)}`);
    return { address: address.toLowerCase() as Address, privateKey };
  });
  return accounts;
}

/**
 * @param purpose of the key, for the message
 * @throws ChainError when everybody knows this account's key and the chain is not a simulated one.
 */
export function refuseDevAccount(address: Address, chainId: number, purpose: string): void {
  if (chainId === SIMULATED_CHAIN_ID) return;
  if (!devAccounts().some((account) => account.address === address)) return;
  throw new ChainError(
    `${purpose} ${address} is one of the accounts of anvil and hardhat, whose keys everybody knows; on chain ` +
      `${String(chainId)} whatever it gets is stolen at once. Make a key of your own: npm run chain -- keystore new`,
    { fault: 'user' },
  );
}
