/**
 * @file What the outbox is asked to bring about, and the call that does it. A request names the state that is wanted; the call is made from
 * what the chain holds when it is signed, so that a request that was made twice, or is signed late, does nothing twice.
 */
import { deployData, escrowCalls, tokenCalls } from '@ravenlab/contracts';
import type { EscrowClient } from '@ravenlab/contracts';
import type { Address, Hash32, JobId } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';

/** Plain JSON; amounts are decimal strings in base units. */
export type Intent =
  | { readonly kind: 'deployEscrow' }
  | {
      readonly kind: 'deployToken';
      readonly name: string;
      readonly symbol: string;
      readonly decimals: number;
    }
  | {
      readonly kind: 'mint';
      readonly token: Address;
      readonly to: Address;
      readonly amount: string;
    }
  | {
      readonly kind: 'approve';
      readonly token: Address;
      readonly escrow: Address;
      readonly amount: string;
    }
  | {
      readonly kind: 'open';
      readonly escrow: Address;
      readonly salt: Hash32;
      readonly token: Address;
      readonly signer: Address;
      readonly amount: string;
      readonly expiry: number;
    }
  | {
      readonly kind: 'topUp';
      readonly escrow: Address;
      readonly amount: string;
      readonly expiry: number;
    }
  | { readonly kind: 'reserve'; readonly escrow: Address; readonly caps: readonly LaneTarget[] }
  | {
      readonly kind: 'settle';
      readonly escrow: Address;
      readonly lanes: readonly LaneTarget[];
      readonly ledgerHead: Hash32;
    }
  | { readonly kind: 'refund'; readonly escrow: Address };

/** A lane and what its cap, or what it was paid, should be at least. */
export type LaneTarget = readonly [payee: Address, amount: string];

export interface Call {
  readonly to: Address | null;
  readonly data: string;
}

/** Splits what does not fit into one transaction. */
export function chunksOf(targets: readonly LaneTarget[]): readonly (readonly LaneTarget[])[] {
  const { payeesPerTransaction } = CHAIN_LIMITS;
  return Array.from({ length: Math.ceil(targets.length / payeesPerTransaction) }, (_, i) =>
    targets.slice(i * payeesPerTransaction, (i + 1) * payeesPerTransaction),
  );
}

/**
 * The call that brings a request about, now; null when the chain has it already.
 * @param escrow is there for all but the first three kinds, which need none
 */
export async function callOf(
  intent: Intent,
  job: JobId | null,
  escrow: EscrowClient | null,
): Promise<Call | null> {
  switch (intent.kind) {
    case 'deployEscrow':
      return { to: null, data: deployData('LaneEscrow') };
    case 'deployToken':
      return {
        to: null,
        data: deployData('DevToken', [intent.name, intent.symbol, intent.decimals]),
      };
    case 'mint':
      return { to: intent.token, data: tokenCalls.mint(intent.to, BigInt(intent.amount)) };
    case 'approve':
      return { to: intent.token, data: tokenCalls.approve(intent.escrow, BigInt(intent.amount)) };
    case 'open': {
      const { salt, token, signer, amount, expiry } = intent;
      const opened = { salt, token, signer, amount: BigInt(amount), expiry };
      return { to: intent.escrow, data: escrowCalls.open(opened) };
    }
    case 'topUp':
      return topUp(intent, present(job), present(escrow));
    case 'reserve':
      return reserve(intent, present(job), present(escrow));
    case 'settle':
      return settle(intent, present(job), present(escrow));
    case 'refund':
      return { to: intent.escrow, data: escrowCalls.refund(present(job)) };
  }
}

/** Base units that a request is about; null where it moves none. */
export function amountOfIntent(intent: Intent): bigint | null {
  switch (intent.kind) {
    case 'mint':
    case 'approve':
    case 'open':
    case 'topUp':
      return BigInt(intent.amount);
    default:
      return null;
  }
}

async function topUp(
  { escrow: to, amount, expiry }: Extract<Intent, { kind: 'topUp' }>,
  job: JobId,
  escrow: EscrowClient,
): Promise<Call | null> {
  const now = await escrow.job(job);
  if (now === null) throw new ChainError(`there is no job ${job} at ${escrow.address}`);
  // The contract refuses an earlier one, and a deposit must not fail for that.
  const later = Math.max(expiry, now.expiry);
  if (BigInt(amount) === 0n && later === now.expiry) return null;
  return { to, data: escrowCalls.topUp(job, BigInt(amount), later) };
}

async function reserve(
  { escrow: to, caps }: Extract<Intent, { kind: 'reserve' }>,
  job: JobId,
  escrow: EscrowClient,
): Promise<Call | null> {
  const wanted = await Promise.all(
    caps.map(async ([payee, cap]) => {
      const lane = await escrow.lane(job, payee);
      return { payee, added: BigInt(cap) - lane.cap };
    }),
  );
  const lanes = wanted.filter(({ added }) => added > 0n);
  if (lanes.length === 0) return null;
  const payees = lanes.map(({ payee }) => payee);
  return {
    to,
    data: escrowCalls.reserve(
      job,
      payees,
      lanes.map(({ added }) => added),
    ),
  };
}

async function settle(
  { escrow: to, lanes: targets, ledgerHead }: Extract<Intent, { kind: 'settle' }>,
  job: JobId,
  escrow: EscrowClient,
): Promise<Call | null> {
  const wanted = await Promise.all(
    targets.map(async ([payee, cumulative]) => {
      const lane = await escrow.lane(job, payee);
      const amount = BigInt(cumulative);
      return { payee, amount, isDue: amount > lane.paid && amount <= lane.cap };
    }),
  );
  const lanes = wanted.filter(({ isDue }) => isDue);
  if (lanes.length === 0) return null;
  const payees = lanes.map(({ payee }) => payee);
  return {
    to,
    data: escrowCalls.settle(
      job,
      payees,
      lanes.map(({ amount }) => amount),
      ledgerHead,
    ),
  };
}

function present<T>(value: T | null): T {
  if (value === null) throw new ChainError('this request needs a job and an escrow');
  return value;
}
