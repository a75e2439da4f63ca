/**
 * @file Makes a network ready to pay: escrow and token found or deployed, a job found, claimed or opened. On a network that is somebody's
 * money nothing is deployed or opened from here: that is `npm run chain`, by hand.
 */
import { randomBytes } from 'node:crypto';
import type { Block, JobOnChain, TokenInfo } from '@ravenlab/contracts';
import { EscrowClient, GRACE_S, readToken } from '@ravenlab/contracts';
import type { Address, Hash32, JobId } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import type { ChainDatabase } from './chainDatabase.js';
import type { JobState } from './chainService.js';
import type { Intent } from './intents.js';
import type { OpenNetwork } from './network.js';
import type { Nodes } from './nodes.js';
import { lookAt } from './nodes.js';
import type { Outbox } from './outbox.js';

export interface SetUpOptions {
  readonly network: OpenNetwork;
  readonly database: ChainDatabase;
  readonly outbox: Outbox;
  /** Who may sign for the job: this engine. */
  readonly owner: string;
  /** The outbox needs it as soon as it is known. */
  readonly onEscrow: (escrow: EscrowClient, second: EscrowClient | null) => void;
  readonly wallMs: () => number;
}

export interface ReadyToPay {
  readonly escrow: EscrowClient;
  readonly token: TokenInfo;
  readonly job: JobId;
}

const SYMBOL = 'RVN';
const TOKEN_NAME = 'Simulated coin';
const POLL_MS = 10;

export async function setUp(options: SetUpOptions): Promise<ReadyToPay> {
  const { network, database } = options;
  const { chain, info } = network;
  if (!info.isSimulated) checkClock(await chain.head(), options.wallMs());
  const known = network.place ?? database.place();
  const place = known ?? (await deploy(options));
  const escrow = await EscrowClient.at(chain, place.escrow);
  const { second } = network;
  options.onEscrow(escrow, second === null ? null : await EscrowClient.at(second, place.escrow));
  const token = await readToken(chain, place.token);
  checkDecimals(token, network.decimals);
  const job =
    (await findJob(options, escrow, token)) ??
    (info.isSimulated ? await openSimulatedJob(options, escrow, token) : null);
  if (job !== null) return { escrow, token, job };
  throw new ChainError(
    `no open job of ${network.signer.address} for this notebook at escrow ${escrow.address}: npm run chain -- open makes one`,
    { fault: 'user' },
  );
}

/** The nodes of a network, and when what they say counts. */
export function nodesOf({
  chain,
  second,
  info,
}: Pick<OpenNetwork, 'chain' | 'second'> & {
  readonly info: Pick<OpenNetwork['info'], 'finality'>;
}): Nodes {
  return { chain, second, finality: info.finality };
}

/** By block time: a machine's clock decides nothing, but one that is wrong makes every expiry a surprise. */
export function jobState(job: JobOnChain, timeS: number): JobState {
  if (timeS > job.expiry + GRACE_S) return 'closed';
  return timeS > job.expiry ? 'expired' : 'open';
}

/** @throws ChainError when clock and chain are too far apart to judge an expiry by. */
export function checkClock(head: Block, wallMs: number): void {
  const aheadS = Math.round(wallMs / 1000) - head.timestamp;
  if (Math.abs(aheadS) <= CHAIN_LIMITS.clockSkewS) return;
  const how = aheadS > 0 ? 'behind' : 'ahead of';
  throw new ChainError(
    `the chain's newest block is ${String(Math.abs(aheadS))} s ${how} this machine's clock, at most ` +
      `${String(CHAIN_LIMITS.clockSkewS)} are expected: set the clock, or wait until the node has caught up`,
    { retryable: true },
  );
}

/** A price for 18 decimals is a million million times too high for 6. @throws ChainError that says what to write. */
export function checkDecimals({ symbol, decimals }: TokenInfo, expected: number | null): void {
  if (expected === null || expected === decimals) return;
  throw new ChainError(
    `token ${symbol} has ${String(decimals)} decimals, the settings say ${String(expected)}, for which the price was made: set ` +
      `"decimals": ${String(decimals)} there, and look at "price" again (npm run chain -- setup writes both)`,
    { fault: 'user' },
  );
}

async function deploy(options: SetUpOptions): Promise<{ escrow: Address; token: Address }> {
  const { database, network } = options;
  if (!network.info.isSimulated) throw new ChainError('a network needs an escrow in its settings');
  const deployed = async (intent: Intent): Promise<Address> => {
    const { contract } = await brought(options, intent, null);
    if (contract === null) throw new ChainError(`${intent.kind} left no contract`);
    return contract;
  };
  const escrow = await deployed({ kind: 'deployEscrow' });
  const decimals = CHAIN_LIMITS.simulatedDecimals;
  const token = await deployed({ kind: 'deployToken', name: TOKEN_NAME, symbol: SYMBOL, decimals });
  database.setPlace(escrow, token);
  return { escrow, token };
}

/** The one that is this engine's, else one that is nobody's. */
async function findJob(
  { network, database, owner, wallMs }: SetUpOptions,
  escrow: EscrowClient,
  token: TokenInfo,
): Promise<JobId | null> {
  const head = await network.chain.head();
  if (network.job !== null) database.addJob(network.job, network.jobBlock);
  const jobs = database.jobs().filter((job) => job.owner === null || job.owner === owner);
  const timeS = blockTime(head, network.info.isSimulated, wallMs());
  const reasons: string[] = [];
  for (const { id } of [...jobs].sort((a) => (a.owner === owner ? -1 : 1))) {
    const job = await escrow.job(id);
    const reason = whyNot(job, network, token, timeS);
    if (reason === null && database.claimJob(id, owner)) return id;
    if (reason !== null) reasons.push(`job ${id.slice(0, 10)}…: ${reason}`);
  }
  if (network.job !== null && !network.info.isSimulated) {
    throw new ChainError(
      `the job of the settings cannot be used: ${reasons.join('; ') || 'it is another notebook’s'}`,
      { fault: 'user' },
    );
  }
  return null;
}

function whyNot(
  job: JobOnChain | null,
  { signer, payer }: OpenNetwork,
  token: TokenInfo,
  timeS: number,
): string | null {
  if (job === null) return 'there is no such job at this escrow';
  if (job.signer !== signer.address) return `its signer is ${job.signer}, not ${signer.address}`;
  if (job.token !== token.address) return `it pays token ${job.token}, not ${token.address}`;
  if (payer !== null && job.payer !== payer.address) return `its payer is ${job.payer}`;
  const state = jobState(job, timeS);
  const since = new Date(job.expiry * 1000).toISOString();
  if (state === 'expired') return `it expired at ${since}; extend it with npm run chain -- extend`;
  return state === 'closed' ? `it expired at ${since} and is closed: open a new one` : null;
}

/** An idle simulated chain makes no blocks, and its time stands still. */
export function blockTime(head: Block, isSimulated: boolean, wallMs: number): number {
  return isSimulated ? Math.max(head.timestamp, Math.floor(wallMs / 1000)) : head.timestamp;
}

async function openSimulatedJob(
  options: SetUpOptions,
  escrow: EscrowClient,
  token: TokenInfo,
): Promise<JobId> {
  const { network, database, owner } = options;
  const { payer, signer, chain } = network;
  if (payer === null) throw new ChainError('a simulated chain has a payer');
  const amount = (CHAIN_LIMITS.simulatedDeposit * 10n ** BigInt(token.decimals)).toString();
  const head = await chain.head();
  const expiry = blockTime(head, true, options.wallMs()) + CHAIN_LIMITS.simulatedJobS;
  // A salt that was never used: a chain that begins anew must not give an old job's id, and old vouchers, a new lane.
  const salt = `0x${randomBytes(32).toString('hex')}` as Hash32;
  const at = { escrow: escrow.address, token: token.address };
  await brought(options, { kind: 'mint', token: at.token, to: payer.address, amount }, null);
  await brought(options, { kind: 'approve', ...at, amount }, null);
  const id = await escrow.jobId(payer.address, salt);
  const opened: Intent = { kind: 'open', ...at, salt, signer: signer.address, amount, expiry };
  await brought(options, opened, id);
  database.addJob(id, head.number);
  if (!database.claimJob(id, owner)) throw new ChainError(`job ${id} was taken by another engine`);
  return id;
}

/** Asks for it and waits until a block has it; a simulated chain makes one for each transaction. */
async function brought(options: SetUpOptions, intent: Intent, job: JobId | null) {
  const { outbox, database, network } = options;
  const id = outbox.request(intent, job);
  for (let poll = 0; poll < CHAIN_LIMITS.setUpPolls; poll++) {
    const { head, confirmed } = await lookAt(nodesOf(network));
    await outbox.poll(head.number, confirmed);
    const row = database.row(id);
    if (row?.state === 'mined' || row?.state === 'confirmed') {
      const [attempt] = database.attempts(id);
      const receipt = attempt === undefined ? null : await network.chain.receipt(attempt.hash);
      if (receipt !== null) return receipt;
    } else if (row?.state !== 'waiting' && row?.state !== 'sent') {
      const shown = database.newest(CHAIN_LIMITS.transactionsShown).find((each) => each.id === id);
      throw new ChainError(`${intent.kind} failed: ${shown?.note ?? String(row?.state)}`);
    }
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
  throw new ChainError(
    `${intent.kind} was in no block after ${String(CHAIN_LIMITS.setUpPolls)} looks`,
  );
}
