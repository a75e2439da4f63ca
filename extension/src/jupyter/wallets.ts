/** @file Wallets of this browser, as they announce themselves (EIP-6963). Asks none of them for anything. */
import type { Wallet, WalletProvider } from '../model/wallet.js';

/** A page may announce as many as it likes; so many are listed. */
const MAX_WALLETS = 16;
const MAX_NAME_CHARS = 40;
/** Wallets answer in the same turn of the loop; those that load late are found the next time. */
const WAIT_MS = 100;

function walletOf(detail: unknown): Wallet | null {
  if (typeof detail !== 'object' || detail === null) return null;
  const { info, provider } = detail as { readonly info?: unknown; readonly provider?: unknown };
  if (typeof info !== 'object' || info === null) return null;
  const { uuid, name } = info as { readonly uuid?: unknown; readonly name?: unknown };
  const isProvider =
    typeof provider === 'object' &&
    provider !== null &&
    typeof (provider as { readonly request?: unknown }).request === 'function';
  if (typeof uuid !== 'string' || typeof name !== 'string' || !isProvider) return null;
  return { id: uuid, name: name.slice(0, MAX_NAME_CHARS), provider: provider as WalletProvider };
}

/** Asks the page who is there. */
export async function findWallets(): Promise<readonly Wallet[]> {
  const found = new Map<string, Wallet>();
  const announced = (event: Event) => {
    const wallet = walletOf((event as CustomEvent<unknown>).detail);
    if (wallet !== null && found.size < MAX_WALLETS) found.set(wallet.id, wallet);
  };
  window.addEventListener('eip6963:announceProvider', announced);
  window.dispatchEvent(new Event('eip6963:requestProvider'));
  await new Promise((done) => window.setTimeout(done, WAIT_MS));
  window.removeEventListener('eip6963:announceProvider', announced);
  return [...found.values()];
}
