/** @file Commands at the chain of the settings: a job opened, filled, looked at, paid from and closed. */
import { randomBytes } from 'node:crypto';
import { parseAddress, tokenBalance, withoutSecrets } from '@ravenlab/contracts';
import type { Hash32, JobId } from '@ravenlab/protocol';
import { ChainError, NO_RECEIPT } from '@ravenlab/protocol';
import { amountText, parseAmount } from '../engine/chain/amounts.js';
import type { Intent } from '../engine/chain/intents.js';
import { checkClock, jobState } from '../engine/chain/setUp.js';
import type { Arguments } from './arguments.js';
import type { Desk, Say } from './desk.js';
import { bring, jobOf, progress } from './desk.js';

export type JobCommand = (desk: Desk, args: Arguments, say: Say) => Promise<void>;

const DAY_S = 86_400;
const DAYS = 30;
const SHOWN = 20;

const coins = ({ token }: Desk, amount: bigint): string =>
  `${amountText(amount, token.decimals)} ${token.symbol}`;

/** Money moves by block time; a clock that is wrong would choose the wrong expiry. */
async function nowS({ network }: Desk): Promise<number> {
  const head = await network.chain.head();
  checkClock(head, Date.now());
  return head.timestamp;
}

/** @throws ChainError when the payer has less than this. */
async function checkFunds(desk: Desk, amount: bigint): Promise<void> {
  const { network, token } = desk;
  const { payer, chain } = network;
  if (payer === null) {
    throw new ChainError('the settings name no payer keystore: use the payer’s own wallet', {
      fault: 'user',
    });
  }
  const has = await tokenBalance(chain, token.address, payer.address);
  if (has >= amount) return;
  throw new ChainError(
    `the payer ${payer.address} has ${coins(desk, has)}, and ${coins(desk, amount)} are to be deposited: send it ` +
      `${coins(desk, amount - has)} first`,
    { fault: 'user' },
  );
}

async function approve(desk: Desk, amount: bigint, say: Say): Promise<void> {
  const { token, escrow } = desk;
  const at = { token: token.address, escrow: escrow.address };
  await bring(desk, { kind: 'approve', ...at, amount: amount.toString() }, null, say);
}

export const open: JobCommand = async (desk, args, say) => {
  const { network, escrow, token, database } = desk;
  const amount = parseAmount(args.required('deposit'), token.decimals, '--deposit');
  await checkFunds(desk, amount);
  const expiry = (await nowS(desk)) + args.whole('days', DAYS) * DAY_S;
  const salt = `0x${randomBytes(32).toString('hex')}` as Hash32;
  const payer = network.payer?.address;
  if (payer === undefined) throw new ChainError('opening a job needs the payer’s key');
  const id = await escrow.jobId(payer, salt);
  await approve(desk, amount, say);
  const at = { escrow: escrow.address, token: token.address, signer: network.signer.address };
  const intent: Intent = { kind: 'open', ...at, salt, amount: amount.toString(), expiry };
  const receipt = await bring(desk, intent, id, say);
  database.addJob(id, receipt?.blockNumber ?? 0);
  say(`job ${id} holds ${coins(desk, amount)} until ${new Date(expiry * 1000).toISOString()}`);
};

export const deposit: JobCommand = async (desk, args, say) => {
  const job = jobOf(desk, args);
  const amount = parseAmount(args.word(1, 'how much to deposit'), desk.token.decimals, 'deposit');
  await checkFunds(desk, amount);
  await checkOpen(desk, job);
  await approve(desk, amount, say);
  const { address } = desk.escrow;
  const intent: Intent = { kind: 'topUp', escrow: address, amount: amount.toString(), expiry: 0 };
  await bring(desk, intent, job, say);
};

export const extend: JobCommand = async (desk, args, say) => {
  const job = jobOf(desk, args);
  const expiry = (await nowS(desk)) + args.whole('days', null) * DAY_S;
  const intent: Intent = { kind: 'topUp', escrow: desk.escrow.address, amount: '0', expiry };
  const receipt = await bring(desk, intent, job, say);
  if (receipt === null) say('the job lasts longer already; an expiry is never made earlier');
};

export const reserve: JobCommand = async (desk, args, say) => {
  const job = jobOf(desk, args);
  const payee = parseAddress(args.word(1, 'the payee'), 'payee');
  const cap = parseAmount(args.word(2, 'the cap'), desk.token.decimals, 'cap');
  await checkOpen(desk, job);
  const caps = [[payee, cap.toString()]] as const;
  const receipt = await bring(
    desk,
    { kind: 'reserve', escrow: desk.escrow.address, caps },
    job,
    say,
  );
  if (receipt === null) say('the lane has as much already');
};

export const settle: JobCommand = async (desk, args, say) => {
  const job = jobOf(desk, args);
  const payee = parseAddress(args.word(1, 'the payee'), 'payee');
  const cumulative = parseAmount(args.word(2, 'the amount'), desk.token.decimals, 'amount');
  const { paid, cap } = await desk.escrow.lane(job, payee);
  if (cumulative > cap) {
    throw new ChainError(
      `the lane of ${payee} has a cap of ${coins(desk, cap)}, and ${coins(desk, cumulative)} are to be paid: reserve first`,
      { fault: 'user' },
    );
  }
  if (cumulative <= paid) {
    say(`${coins(desk, paid)} are paid already`);
    return;
  }
  const lanes = [[payee, cumulative.toString()]] as const;
  const at = { escrow: desk.escrow.address, ledgerHead: NO_RECEIPT };
  await bring(desk, { kind: 'settle', ...at, lanes }, job, say);
};

export const refund: JobCommand = async (desk, args, say) => {
  const job = jobOf(desk, args);
  const before = await desk.escrow.job(job);
  await bring(desk, { kind: 'refund', escrow: desk.escrow.address }, job, say);
  const after = await desk.escrow.job(job);
  if (before === null || after === null) throw new ChainError(`there is no job ${job}`);
  const sent = before.free + before.reserved - after.free - after.reserved;
  say(
    `${coins(desk, sent)} sent back; ${coins(desk, after.reserved)} stay reserved for contributors`,
  );
};

export const status: JobCommand = async (desk, _args, say) => {
  const { network, database, escrow, token } = desk;
  const { info, chain, payer, signer } = network;
  const head = await chain.head();
  say(
    `${info.name} (chain ${String(info.chainId)}) at ${withoutSecrets(info.rpcUrl)}, block ${String(head.number)}`,
  );
  say(`escrow ${escrow.address}, token ${token.symbol} ${token.address}, signer ${signer.address}`);
  if (payer !== null) {
    const balance = await tokenBalance(chain, token.address, payer.address);
    const ether = amountText(await chain.etherOf(payer.address), 18);
    say(`payer ${payer.address} has ${coins(desk, balance)}, and ${ether} ether for gas`);
  }
  for (const { id, owner } of database.jobs()) {
    const job = await escrow.job(id);
    if (job === null) continue;
    const who = owner === null ? 'nobody’s yet' : `of engine ${owner}`;
    const until = new Date(job.expiry * 1000).toISOString();
    say(
      `job ${id} (${who}): ${jobState(job, head.timestamp)} until ${until}, free ${coins(desk, job.free)}, ` +
        `reserved ${coins(desk, job.reserved)}`,
    );
  }
  for (const shown of database.newest(SHOWN)) say(progress(shown));
};

/** @throws ChainError when the job takes no money any more. */
async function checkOpen({ escrow, network }: Desk, id: JobId): Promise<void> {
  const job = await escrow.job(id);
  if (job === null) throw new ChainError(`there is no job ${id} at ${escrow.address}`);
  const { timestamp } = await network.chain.head();
  const state = jobState(job, timestamp);
  if (state === 'open') return;
  const since = new Date(job.expiry * 1000).toISOString();
  throw new ChainError(
    `job ${id.slice(0, 10)}… expired at ${since}: ` +
      (state === 'closed'
        ? 'it is closed for good; open a new one'
        : 'its lanes are still paid, and no more is reserved. Extend it: npm run chain -- extend --days 30'),
    { fault: 'user' },
  );
}
