/**
 * @file What a worker looks at before it works for a promise: whether the escrow is the escrow, the job what the engine says, the
 * token one that its owner wants, and the lane covered and open for long enough. RFC 3 §3. Asks the chain; believes no engine.
 */
import {
  ChainClient,
  EscrowClient,
  SIMULATED_CHAIN_ID,
  escrowSignatures,
  readToken,
  refuseDevAccount,
} from '@ravenlab/contracts';
import type { Address, TermsMessage } from '@ravenlab/protocol';
import { ChainError, WALLET_LIMITS } from '@ravenlab/protocol';
import type { Deal } from './laneRecord.js';
import { utc } from './redeem.js';

/** What the owner of a worker wants; none of it comes from an engine. */
export interface ChainPolicy {
  /** The owner's own view of the chain; null: there is none. */
  readonly rpcUrl: string | null;
  /** Tokens to be paid in. Any on the simulated chain, where nothing is worth anything. */
  readonly tokens: readonly Address[];
  /** Works for a promise on a chain that it cannot look at. */
  readonly trustsUnchecked: boolean;
}

/**
 * `chain`: all of it was seen there. `simulated`: not seen, and worth nothing anyway. `trusted`: not seen, because the owner
 * said that this engine is to be believed.
 */
export type Basis = 'chain' | 'simulated' | 'trusted';

export interface Checked {
  readonly deal: Deal;
  /** Base units that the lane was paid already. */
  readonly paid: bigint;
  readonly basis: Basis;
  /** By the chain's clock, where it was asked; seconds until the job expires. */
  readonly remainsS: number;
}

export interface CheckOptions {
  readonly policy: ChainPolicy;
  readonly payee: Address;
  /** CURVE key of the engine, Z85: that of the invite. */
  readonly serverKey: string;
  /** Wall clock, for terms that no chain is asked about. */
  readonly nowMs: () => number;
}

/** @throws ChainError saying what is not as it must be, and what the owner can do. */
export async function checkTerms(terms: TermsMessage, options: CheckOptions): Promise<Checked> {
  const { policy, payee, serverKey } = options;
  const { chainId, escrow, job, signer, serverSignature } = terms;
  const claim = { serverKey, escrow, job };
  const by = escrowSignatures(chainId, escrow).server.recover(claim, serverSignature);
  if (by !== signer) {
    throw refused(
      `the engine does not show that it works for job ${job}: its claim is signed by ${by ?? 'nobody'}`,
    );
  }
  refuseDevAccount(payee, chainId, 'the wallet');
  if (policy.rpcUrl !== null) return onChain(terms, policy.rpcUrl, options);

  const basis = basisWithout(chainId, policy);
  if (basis === 'trusted') checkToken(terms, policy);
  const remainsS = terms.expiry - Math.floor(options.nowMs() / 1000);
  checkHorizon(terms.expiry, remainsS);
  return { deal: dealOf(terms, payee), paid: terms.paid, basis, remainsS };
}

function basisWithout(chainId: number, { trustsUnchecked }: ChainPolicy): Basis {
  if (chainId === SIMULATED_CHAIN_ID) return 'simulated';
  if (trustsUnchecked) return 'trusted';
  throw refused(
    `the engine promises pay on chain ${String(chainId)}, and there is no way to see whether that is true. Name an RPC URL of ` +
      'that chain with --rpc; or believe this engine with --trust-unchecked; or work unpaid with --no-pay',
  );
}

async function onChain(
  terms: TermsMessage,
  rpcUrl: string,
  options: CheckOptions,
): Promise<Checked> {
  const { policy, payee } = options;
  const chain = await ChainClient.open(rpcUrl, terms.chainId);
  const escrow = await EscrowClient.at(chain, terms.escrow);
  const [job, lane, head] = await Promise.all([
    escrow.job(terms.job),
    escrow.lane(terms.job, payee),
    chain.head(),
  ]);
  if (job === null) throw refused(`the escrow ${terms.escrow} knows no job ${terms.job}`);
  for (const what of ['payer', 'signer', 'token'] as const) {
    if (job[what] === terms[what]) continue;
    throw refused(`the job's ${what} is ${job[what]} on the chain, the engine says ${terms[what]}`);
  }
  checkToken(terms, policy);
  const token = await readToken(chain, job.token);
  if (token.decimals !== terms.decimals) {
    throw refused(
      `the token has ${String(token.decimals)} decimals, the engine says ${String(terms.decimals)}: amounts would read wrong`,
    );
  }
  const remainsS = job.expiry - head.timestamp;
  checkHorizon(job.expiry, remainsS);
  const deal = {
    ...dealOf(terms, payee),
    tokenSymbol: token.symbol,
    expiry: job.expiry,
    cap: lane.cap,
  };
  return { deal, paid: lane.paid, basis: 'chain', remainsS };
}

/** What the chain says of a lane now. @throws ChainError when it does not answer, or the job is gone. */
export async function lookAtLane(
  { chainId, escrow, job, payee }: Deal,
  rpcUrl: string,
): Promise<{ cap: bigint; paid: bigint; expiry: number; remainsS: number }> {
  const chain = await ChainClient.open(rpcUrl, chainId);
  const client = await EscrowClient.at(chain, escrow);
  const [known, lane, head] = await Promise.all([
    client.job(job),
    client.lane(job, payee),
    chain.head(),
  ]);
  if (known === null) throw refused(`the escrow ${escrow} does not know job ${job} any more`);
  const { expiry } = known;
  return { cap: lane.cap, paid: lane.paid, expiry, remainsS: expiry - head.timestamp };
}

function checkToken({ chainId, token, tokenSymbol }: TermsMessage, { tokens }: ChainPolicy): void {
  if (chainId === SIMULATED_CHAIN_ID || tokens.includes(token)) return;
  throw refused(
    `it pays in ${tokenSymbol.replaceAll(/[^0-9A-Za-z.-]/g, '?')} (token ${token} on chain ${String(chainId)}), which is not on your list. ` +
      `Anybody can name a token like that. If you know this one and want it: --token ${token}`,
  );
}

function checkHorizon(expiry: number, remainsS: number): void {
  if (remainsS >= WALLET_LIMITS.horizonS) return;
  throw refused(
    `the job expires ${utc(expiry)}, in ${hours(remainsS)}; at least ${hours(WALLET_LIMITS.horizonS)} are needed to be sure to ` +
      'redeem. Its owner can extend it: npm run chain -- deposit … --expiry',
  );
}

function hours(seconds: number): string {
  return `${(Math.max(0, seconds) / 3_600).toFixed(1)} h`;
}

function dealOf(terms: TermsMessage, payee: Address): Deal {
  const { chainId, escrow, job, payer, signer, token, tokenSymbol, decimals, expiry, cap } = terms;
  return { chainId, escrow, job, payer, signer, payee, token, tokenSymbol, decimals, expiry, cap };
}

function refused(reason: string): ChainError {
  return new ChainError(`the worker does not take this job: ${reason}`, { fault: 'remote' });
}
