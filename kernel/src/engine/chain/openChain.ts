/** @file Opens the chain that was chosen, with the file of what is known of it. */
import { join } from 'node:path';
import { keystoreAddress } from '@ravenlab/contracts';
import type { Address } from '@ravenlab/protocol';
import type { OpenChain } from './chainAgent.js';
import { ChainDatabase } from './chainDatabase.js';
import type { PasswordPrompt } from './network.js';
import { openNetwork, openSimulated } from './network.js';
import type { ChainChoice } from './chainChoice.js';
import type { ChainSettings } from './settings.js';
import { readSettings } from './settings.js';

export interface OpenChainOptions {
  readonly choice: Exclude<ChainChoice, { kind: 'off' }>;
  readonly home: string;
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: (text: string) => void;
  /** How a person is asked for a keystore's password; an engine asks nobody. */
  readonly prompt?: PasswordPrompt;
}

const DATABASE = 'chain.sqlite';

/** @throws ChainError that says what to mend; nothing is left open then. */
export async function openChain(options: OpenChainOptions): Promise<OpenChain> {
  const { choice, home, folder, env, log } = options;
  if (choice.kind === 'simulated') {
    const database = new ChainDatabase(join(folder, DATABASE));
    return paired(database, openSimulated(folder, log));
  }
  const settings = readSettings(choice.file, env);
  const database = new ChainDatabase(networkDatabase(home, settings));
  return paired(
    database,
    openNetwork(settings, {
      password: env['RAVENLAB_CHAIN_PASSWORD'] ?? null,
      prompt: options.prompt ?? (() => null),
      log,
    }),
  );
}

/** One file for each account: who sends from it has to know every nonce. */
export function accountDatabase(home: string, chainId: number, account: Address): string {
  return join(home, 'chain', `${String(chainId)}-${account}`, DATABASE);
}

function networkDatabase(home: string, { chainId, payer, signer }: ChainSettings): string {
  return accountDatabase(home, chainId, keystoreAddress((payer ?? signer).keystore));
}

async function paired(
  database: ChainDatabase,
  opening: Promise<OpenChain['network']>,
): Promise<OpenChain> {
  try {
    return { database, network: await opening };
  } catch (error) {
    database.close();
    throw error;
  }
}
