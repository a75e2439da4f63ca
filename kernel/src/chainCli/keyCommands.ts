/** @file Commands before there are settings: keys, an escrow, and the settings themselves. */
import { dirname, join, relative, resolve } from 'node:path';
import {
  ChainClient,
  EscrowClient,
  confirmPassword,
  createKeystore,
  keystoreAddress,
  openKeystore,
  parseAddress,
  readToken,
  terminalPrompt,
  writePrivate,
} from '@ravenlab/contracts';
import type { Address } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError, priceText } from '@ravenlab/protocol';
import { SETTINGS_FILE } from '../engine/chain/chainChoice.js';
import { parseAmount } from '../engine/chain/amounts.js';
import { ChainDatabase } from '../engine/chain/chainDatabase.js';
import type { Intent } from '../engine/chain/intents.js';
import { accountDatabase } from '../engine/chain/openChain.js';
import { DEFAULT_PRICE_TEXTS, rateOf } from '../engine/chain/prices.js';
import type { SettleTexts } from '../engine/chain/network.js';
import { policyOf } from '../engine/chain/settling.js';
import { readSettings } from '../engine/chain/settings.js';
import { dataHome } from '../engine/engineId.js';
import type { Arguments } from './arguments.js';
import type { Env, Say } from './desk.js';
import { bring, outboxOf, passwordFor } from './desk.js';

const GWEI = 10n ** 9n;
const KEY_ENV = 'RAVENLAB_CHAIN_IMPORT_KEY';

export async function keystore(args: Arguments, env: Env, say: Say): Promise<void> {
  const action = args.word(1, 'what to do with a keystore (new, import, address)');
  const file = resolve(args.word(2, 'the keystore’s file'));
  if (action === 'address') {
    say(keystoreAddress(file));
    return;
  }
  if (action !== 'new' && action !== 'import') {
    throw new ChainError(`keystore ${action}: expected new, import or address`, { fault: 'user' });
  }
  const password = await newPassword(file, args.option('password-file'), env, say);
  const made = { password };
  const account =
    action === 'new'
      ? await createKeystore(file, made)
      : await createKeystore(file, { ...made, privateKey: await importedKey(env, say) });
  say(
    `${account.address} is in ${file} (mode 0600). Who loses its password, or the file, loses the key: keep a copy.`,
  );
}

/** One that is typed is typed twice: a key whose password nobody knows is lost. */
async function newPassword(
  file: string,
  passwordFile: string | null,
  env: Env,
  say: Say,
): Promise<string> {
  const password = await passwordFor(file, passwordFile, env, say);
  const isTyped = passwordFile === null && (env['RAVENLAB_CHAIN_PASSWORD'] ?? '') === '';
  if (isTyped) await confirmPassword(password);
  return password;
}

async function importedKey(env: Env, say: Say): Promise<string> {
  const given = env[KEY_ENV];
  if (given !== undefined && given !== '') {
    say(`the key comes from ${KEY_ENV}; take it out of your environment now`);
    return given;
  }
  const ask = terminalPrompt('Private key (not shown): ');
  if (ask !== null) return ask();
  throw new ChainError(`a key is imported in a terminal, or from ${KEY_ENV}`, { fault: 'user' });
}

/** Deploys an escrow, and play money where it is asked for. */
export async function deploy(args: Arguments, env: Env, say: Say): Promise<void> {
  const chainId = args.whole('chain-id', null);
  const file = resolve(args.required('payer'));
  const chain = await ChainClient.open(args.required('rpc'), chainId);
  const password = await passwordFor(file, args.option('payer-password-file'), env, say);
  const payer = await openKeystore(file, { password, chainId });
  const database = new ChainDatabase(accountDatabase(dataHome(env), chainId, payer.address));
  try {
    database.useChain((await chain.block(0))?.hash ?? `chain ${String(chainId)}`);
    const network = {
      ...{ chain, second: null, payer },
      feeCeiling: BigInt(args.whole('max-fee-gwei', CHAIN_LIMITS.maxFeeGwei)) * GWEI,
      info: { finality: CHAIN_LIMITS.confirmations },
    };
    const outbox = outboxOf(network, database, null);
    const deployed = async (intent: Intent): Promise<string> => {
      const receipt = await bring({ network, database, outbox }, intent, null, say);
      const contract = receipt?.contract ?? null;
      if (contract === null) throw new ChainError(`${intent.kind} left no contract`);
      return contract;
    };
    say(`escrow: ${await deployed({ kind: 'deployEscrow' })}`);
    const symbol = args.option('dev-token');
    if (symbol === null) return;
    const decimals = args.whole('decimals', CHAIN_LIMITS.simulatedDecimals);
    const token = { kind: 'deployToken', name: `Play money ${symbol}`, symbol, decimals } as const;
    say(`token: ${await deployed(token)} (anybody can mint it: it is worth nothing)`);
  } finally {
    database.close();
  }
}

/** Checks everything that settings name, then writes them. */
export async function setUp(args: Arguments, env: Env, say: Say): Promise<void> {
  const chainId = args.whole('chain-id', null);
  const rpcUrl = args.required('rpc');
  const chain = await ChainClient.open(rpcUrl, chainId);
  const escrow = await EscrowClient.at(chain, parseAddress(args.required('escrow'), 'escrow'));
  const token = await readToken(chain, parseAddress(args.required('token'), 'token'));
  await checkSecond(args, chainId, escrow.address);
  const file = resolve(args.option('settings') ?? join(dataHome(env), SETTINGS_FILE));
  const signer = keyOf(args, 'signer', file);
  if (signer === null) throw new ChainError('--signer is missing', { fault: 'user' });
  const limits = limitsOf(args, token.decimals);
  const price = {
    perTflop: args.option('price-per-tflop') ?? DEFAULT_PRICE_TEXTS.perTflop,
    perTib: args.option('price-per-tib') ?? DEFAULT_PRICE_TEXTS.perTib,
  };
  const rate = rateOf(price, token.decimals);
  const settings = {
    ...{ rpcUrl, chainId, name: args.option('name') ?? `chain ${String(chainId)}` },
    explorerUrl: args.option('explorer'),
    ...{ escrow: escrow.address, token: token.address, signer, payer: keyOf(args, 'payer', file) },
    ...{ decimals: token.decimals, price },
    ...{ secondRpcUrl: args.option('second-rpc'), ...confirmationsOf(args) },
    maxFeeGwei: args.whole('max-fee-gwei', CHAIN_LIMITS.maxFeeGwei),
    ...{ limits, settle: settleOf(args, token.decimals) },
  };
  writePrivate(file, `${JSON.stringify(settings, null, 2)}\n`);
  // What was written is what engines will read.
  readSettings(file, env);
  const { number } = await chain.head();
  say(`chain ${String(chainId)} answers, block ${String(number)}`);
  say(`escrow ${escrow.address} is the LaneEscrow of this version`);
  say(`token ${token.symbol} ${token.address}, ${String(token.decimals)} decimals`);
  say(`work costs ${priceText({ currency: token.symbol, decimals: token.decimals, rate })}`);
  say(`settings are in ${file}; engines that start from now on use them`);
}

function keyOf(args: Arguments, name: 'signer' | 'payer', settings: string) {
  const keystoreFile = args.option(name);
  if (keystoreFile === null) return null;
  // Refuses what others can read, before it is relied upon.
  keystoreAddress(resolve(keystoreFile));
  const password = args.option(`${name}-password-file`);
  const beside = (path: string): string => relative(dirname(settings), resolve(path));
  return {
    keystore: beside(keystoreFile),
    passwordFile: password === null ? null : beside(password),
  };
}

function settleOf(args: Arguments, decimals: number): SettleTexts | null {
  const etherPrice = args.option('ether-price');
  if (etherPrice === null) return null;
  const texts = {
    ...{ etherPrice, atLeast: args.option('settle-at-least') ?? '0' },
    timesFee: args.whole('settle-times-fee', CHAIN_LIMITS.settleTimesFee),
    everyHours: args.whole('settle-every-hours', CHAIN_LIMITS.settleHours),
  };
  // What is written can be read.
  policyOf(texts, decimals);
  return texts;
}

/** Nothing is written where the network's own word is to count. */
function confirmationsOf(args: Arguments): { readonly confirmations?: number } {
  if (args.option('confirmations') === null) return {};
  return { confirmations: args.whole('confirmations', null) };
}

/** A second node has to be of the same chain, and to know the same escrow. */
async function checkSecond(args: Arguments, chainId: number, escrow: Address): Promise<void> {
  const url = args.option('second-rpc');
  if (url !== null) await EscrowClient.at(await ChainClient.open(url, chainId), escrow);
}

function limitsOf(args: Arguments, decimals: number) {
  const checked = (name: 'per-contributor' | 'per-hour' | 'per-run'): string | null => {
    const text = args.option(name);
    if (text !== null) parseAmount(text, decimals, `--${name}`);
    return text;
  };
  return {
    perContributor: checked('per-contributor'),
    perHour: checked('per-hour'),
    perRun: checked('per-run'),
  };
}
