/** @file Which chain an engine works with, opened: a simulated one of its own, or the network of the settings with its keys. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Account } from '@ravenlab/contracts';
import {
  ChainClient,
  SIMULATED_CHAIN_ID,
  devAccounts,
  openKeystore,
  parseAddress,
  readPassword,
  startSimulatedChain,
} from '@ravenlab/contracts';
import type { Address, JobId } from '@ravenlab/protocol';
import { CHAIN_LIMITS } from '@ravenlab/protocol';
import type { ChainNetwork } from './chainService.js';
import { finalityOf } from './nodes.js';
import type { ChainSettings, KeySettings } from './settings.js';

/** Amounts as people write them, in coins of the token. */
export interface LimitTexts {
  readonly perContributor: string | null;
  readonly perHour: string | null;
  readonly perRun: string | null;
}

/** When lanes are settled by themselves. */
export interface SettleTexts {
  /** Coins of the token for one ether, in which gas is paid. */
  readonly etherPrice: string;
  /** Coins. */
  readonly atLeast: string;
  readonly timesFee: number;
  readonly everyHours: number;
}

export interface OpenNetwork {
  readonly info: ChainNetwork;
  /** The same for as long as it is the same chain: a simulated one may begin anew. */
  readonly identity: string;
  readonly chain: ChainClient;
  /** Another node of the same chain, which has to tell the same; null where there is none. */
  readonly second: ChainClient | null;
  readonly payer: Account | null;
  readonly signer: Account;
  /** Null on a simulated chain, where the engine deploys its own. */
  readonly place: { readonly escrow: Address; readonly token: Address } | null;
  /** Of the token, as the settings have them; null takes what it has. */
  readonly decimals: number | null;
  /** Named by the settings; null takes one that was opened from here. */
  readonly job: JobId | null;
  /** Of that job: older blocks hold nothing of it. */
  readonly jobBlock: number;
  readonly localPayees: readonly Address[];
  readonly feeCeiling: bigint;
  readonly limits: LimitTexts;
  readonly settle: SettleTexts | null;
  /** Resolves when the chain is gone by itself; never for a network. */
  readonly ended: Promise<string>;
  stop(): Promise<void>;
}

const GWEI = 10n ** 9n;
const NO_LIMIT_TEXTS: LimitTexts = { perContributor: null, perHour: null, perRun: null };
const STATE_FILE = 'state.json';
const PID_FILE = 'anvil.pid';
const POLL_MS = 20;
/** Nobody's account. */
const MARK = '0x000000000000000000000000000000000000a11e' as Address;
const MARK_BYTES = 16;

/** Account 0 pays, 1 signs, the others are for local workers. */
const FIRST_LOCAL_PAYEE = 2;
const LOCAL_PAYEES = 8;

/** Starts the engine's own chain where it ended the last time. @throws ChainError */
export async function openSimulated(
  folder: string,
  log: (text: string) => void,
): Promise<OpenNetwork> {
  const accounts = devAccounts();
  const [payer, signer] = accounts;
  if (payer === undefined || signer === undefined) throw new Error('there are twenty accounts');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const simulated = await startAgain(folder, log);
  try {
    writeFileSync(join(folder, PID_FILE), String(simulated.pid), { mode: 0o600 });
    const chain = await ChainClient.open(simulated.url, SIMULATED_CHAIN_ID);
    return {
      info: {
        chainId: SIMULATED_CHAIN_ID,
        name: 'simulated chain',
        isSimulated: true,
        rpcUrl: simulated.url,
        explorerUrl: null,
        finality: 1,
      },
      identity: await markOf(chain),
      ...{
        chain,
        second: null,
        payer,
        signer,
        place: null,
        decimals: null,
        job: null,
        jobBlock: 0,
      },
      localPayees: accounts
        .slice(FIRST_LOCAL_PAYEE, FIRST_LOCAL_PAYEE + LOCAL_PAYEES)
        .map(({ address }) => address),
      feeCeiling: CHAIN_LIMITS.simulatedFeeCeiling,
      ...{ limits: NO_LIMIT_TEXTS, settle: null },
      ended: simulated.ended,
      stop: () => simulated.stop(),
    };
  } catch (error) {
    await simulated.stop();
    throw error;
  }
}

/**
 * What a simulated chain is known by, kept in its own state. Its first block will not do: after a state was read back, anvil answers
 * now with that one, now with the one that it began with itself.
 */
async function markOf(chain: ChainClient): Promise<string> {
  const known = await chain.codeAt(MARK);
  if (known !== '0x') return known;
  const mark = `0x${randomBytes(MARK_BYTES).toString('hex')}`;
  await chain.rpc.call('anvil_setCode', [MARK, mark]);
  return mark;
}

async function startAgain(folder: string, log: (text: string) => void) {
  const stateFile = join(folder, STATE_FILE);
  await formerGone(join(folder, PID_FILE));
  const start = () => startSimulatedChain({ stateFile });
  return start().catch((error: unknown) => {
    if (!existsSync(stateFile)) throw error;
    // A state that was half written must not stop the chain for good; nothing on it was worth anything.
    renameSync(stateFile, `${stateFile}.unreadable`);
    log(`the simulated chain begins anew, its state could not be read: ${String(error)}`);
    return start();
  });
}

/** The chain of an engine that was killed writes its state a moment longer. */
async function formerGone(pidFile: string): Promise<void> {
  if (!existsSync(pidFile)) return;
  const pid = Number(readFileSync(pidFile, 'utf8'));
  const end = performance.now() + CHAIN_LIMITS.anvilExitMs;
  while (Number.isSafeInteger(pid) && pid > 0 && isAlive(pid) && performance.now() < end) {
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Asks for the password of a keystore; null where nobody can be asked. */
export type PasswordPrompt = (keystore: string) => (() => Promise<string>) | null;

interface Secrets {
  /** Of the environment. */
  readonly password: string | null;
  readonly prompt: PasswordPrompt;
  readonly log: (text: string) => void;
}

/** Opens the network of the settings, and the keystores. @throws ChainError that says what to mend. */
export async function openNetwork(
  settings: ChainSettings,
  { password, prompt, log }: Secrets,
): Promise<OpenNetwork> {
  const { chainId, rpcUrl, secondRpcUrl, name, explorerUrl, confirmations, limits } = settings;
  const chain = await ChainClient.open(rpcUrl, chainId);
  const second = secondRpcUrl === null ? null : await ChainClient.open(secondRpcUrl, chainId);
  const finality = await finalityOf(second === null ? [chain] : [chain, second], confirmations);
  const open = async ({ keystore, passwordFile }: KeySettings): Promise<Account> => {
    const secret = await readPassword(
      { file: passwordFile, env: password, prompt: prompt(keystore) },
      log,
    );
    return openKeystore(keystore, { password: secret, chainId });
  };
  return {
    info: {
      ...{ chainId, rpcUrl, name, explorerUrl, finality },
      isSimulated: false,
    },
    ...{ chain, second },
    identity: (await chain.block(0))?.hash ?? `chain ${String(chainId)}`,
    payer: settings.payer === null ? null : await open(settings.payer),
    signer: await open(settings.signer),
    place: {
      escrow: parseAddress(settings.escrow, 'escrow of the settings'),
      token: parseAddress(settings.token, 'token of the settings'),
    },
    decimals: settings.decimals,
    ...{ job: settings.job, jobBlock: settings.jobBlock },
    localPayees: [],
    feeCeiling: BigInt(settings.maxFeeGwei) * GWEI,
    ...{ limits, settle: settings.settle },
    ended: new Promise(() => undefined),
    stop: () => Promise.resolve(),
  };
}
