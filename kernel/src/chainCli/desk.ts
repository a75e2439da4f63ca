/** @file One person at one chain: settings and keys opened, a request brought to a block while its progress is told. */
import { resolve } from 'node:path';
import type { TokenInfo, TransactionReceipt } from '@ravenlab/contracts';
import { EscrowClient, readPassword, readToken, terminalPrompt } from '@ravenlab/contracts';
import type { JobId } from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';
import { chainChoice } from '../engine/chain/chainChoice.js';
import type { ChainDatabase, ShownTransaction } from '../engine/chain/chainDatabase.js';
import type { Intent } from '../engine/chain/intents.js';
import type { OpenNetwork } from '../engine/chain/network.js';
import { openChain } from '../engine/chain/openChain.js';
import { lookAt } from '../engine/chain/nodes.js';
import { Outbox } from '../engine/chain/outbox.js';
import { checkDecimals, nodesOf } from '../engine/chain/setUp.js';
import { dataHome } from '../engine/engineId.js';
import type { Arguments } from './arguments.js';

export type Say = (text: string) => void;
export type Env = Readonly<Record<string, string | undefined>>;

const POLL_MS = 250;
/** How long a command waits for its block; the outbox goes on with the next command or engine. */
const PATIENCE_MS = 180_000;
const SHOWN = 50;

export interface Desk {
  readonly network: OpenNetwork;
  readonly database: ChainDatabase;
  readonly outbox: Outbox;
  readonly escrow: EscrowClient;
  readonly token: TokenInfo;
}

/** What is asked for when neither a file nor the environment has the password. */
export async function passwordFor(
  keystore: string,
  file: string | null,
  env: Env,
  say: Say,
): Promise<string> {
  const sources = {
    file,
    env: env['RAVENLAB_CHAIN_PASSWORD'] ?? null,
    prompt: terminalPrompt(`Password of ${keystore}: `),
  };
  return readPassword(sources, say);
}

/** The settings that a command means. @throws ChainError where there are none. */
function settingsFile(args: Arguments, env: Env): string {
  const named = args.option('settings');
  if (named !== null) return resolve(named);
  const choice = chainChoice(env, dataHome(env));
  if (choice.kind === 'settings') return choice.file;
  throw new ChainError(
    'there are no settings of a network: npm run chain -- setup makes them. Engines use a simulated chain until then',
    { fault: 'user' },
  );
}

/** Runs a command at the chain of the settings, and closes it whatever happens. */
export async function atDesk<T>(
  args: Arguments,
  env: Env,
  say: Say,
  act: (desk: Desk) => Promise<T>,
): Promise<T> {
  const file = settingsFile(args, env);
  const home = dataHome(env);
  const { network, database } = await openChain({
    ...{ choice: { kind: 'settings', file }, home, folder: home, env, log: say },
    prompt: (keystore) => terminalPrompt(`Password of ${keystore}: `),
  });
  try {
    database.useChain(network.identity);
    if (network.place === null) throw new ChainError('the settings name no escrow');
    const escrow = await EscrowClient.at(network.chain, network.place.escrow);
    const token = await readToken(network.chain, network.place.token);
    checkDecimals(token, network.decimals);
    const { second, place } = network;
    const other = second === null ? null : await EscrowClient.at(second, place.escrow);
    const outbox = outboxOf(network, database, escrow, other);
    if (network.job !== null) database.addJob(network.job, network.jobBlock);
    return await act({ network, database, outbox, escrow, token });
  } finally {
    await network.stop();
    database.close();
  }
}

/** What sending needs of a network. */
export type Sending = Pick<OpenNetwork, 'chain' | 'second' | 'payer' | 'feeCeiling'> & {
  readonly info: Pick<OpenNetwork['info'], 'finality'>;
};

export function outboxOf(
  network: Sending,
  database: ChainDatabase,
  escrow: EscrowClient | null,
  secondEscrow: EscrowClient | null = null,
): Outbox {
  const { chain, payer, feeCeiling } = network;
  return new Outbox({
    ...{ chain, database, payer, feeCeiling },
    escrow: () => escrow,
    secondEscrow: () => secondEscrow,
    wallMs: Date.now,
  });
}

/**
 * Stores a request and stays until a block has it. Null when the chain had it already.
 * @throws ChainError when the contract refuses it, or it takes too long: it stays in the outbox then.
 */
export async function bring(
  desk: Pick<Desk, 'database' | 'outbox'> & { readonly network: Sending },
  intent: Intent,
  job: JobId | null,
  say: Say,
): Promise<TransactionReceipt | null> {
  const { network, database, outbox } = desk;
  const id = outbox.request(intent, job);
  const end = performance.now() + PATIENCE_MS;
  let told = '';
  while (performance.now() < end) {
    const { head, confirmed } = await lookAt(nodesOf(network));
    await outbox.poll(head.number, confirmed);
    const shown = database.newest(SHOWN).find((each) => each.id === id);
    if (shown === undefined) throw new ChainError(`request ${String(id)} is not in the outbox`);
    const text = progress(shown);
    if (text !== told) say((told = text));
    if (shown.state === 'mined' || shown.state === 'confirmed') {
      return shown.hash === null ? null : network.chain.receipt(shown.hash);
    }
    if (shown.state !== 'waiting' && shown.state !== 'sent') {
      throw new ChainError(`${intent.kind} failed: ${shown.note ?? shown.state}`);
    }
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
  throw new ChainError(
    `${intent.kind} is in no block after ${String(PATIENCE_MS / 1000)} s; it stays in the outbox and goes on with the ` +
      'next command, or with an engine',
    { retryable: true },
  );
}

export function progress({ kind, state, hash, block, note }: ShownTransaction): string {
  const where = block === null ? '' : ` in block ${String(block)}`;
  const what = hash === null ? '' : ` ${hash}`;
  return `${kind}: ${state}${where}${what}${note === null ? '' : ` (${note})`}`;
}

/** The job that a command means: the one it names, or the only one. */
export function jobOf({ database }: Desk, args: Arguments): JobId {
  const wanted = args.option('job');
  const jobs = database.jobs().filter(({ id }) => wanted === null || id.startsWith(wanted));
  const [job] = jobs;
  if (job !== undefined && jobs.length === 1) return job.id;
  const known = database.jobs().map(({ id }) => id);
  throw new ChainError(
    known.length === 0
      ? 'there is no job yet: npm run chain -- open makes one'
      : `which job? Name it with --job; there are: ${known.join(', ')}`,
    { fault: 'user' },
  );
}
