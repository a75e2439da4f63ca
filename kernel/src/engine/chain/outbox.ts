/**
 * @file Sends what the outbox holds: one transaction at a time, its bytes stored before they leave, sent again until a block has them,
 * offered more for when none takes them, and once more when a block is taken back. Waits for nothing: each `poll` does what can be
 * done now.
 */
import type { Account, ChainClient, EscrowClient } from '@ravenlab/contracts';
import { RpcRefusal, RpcUnreachable, refusalText } from '@ravenlab/contracts';
import type { JobId } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import { firstOffer, raisedOffer } from '../../core/chain/fees.js';
import type { Attempt, ChainDatabase, OutboxRow } from './chainDatabase.js';
import type { Intent } from './intents.js';
import { amountOfIntent, callOf } from './intents.js';

export interface OutboxOptions {
  readonly chain: ChainClient;
  readonly database: ChainDatabase;
  /** Who sends and pays for gas; null when the key is not at hand: what is asked for then waits. */
  readonly payer: Account | null;
  /** Wei per gas that is never exceeded. */
  readonly feeCeiling: bigint;
  readonly escrow: () => EscrowClient | null;
  /** The escrow as a second node has it, which has to tell the same before anything is signed; null where there is none. */
  readonly secondEscrow?: () => EscrowClient | null;
  readonly wallMs: () => number;
}

/** Above the estimate: state may change between estimate and block. */
const GAS_MARGIN_PERCENT = 20n;

export class Outbox {
  private readonly options: OutboxOptions;
  private lastBroadcastMs = Number.NEGATIVE_INFINITY;
  /** Looks in a row at which a transaction's nonce was used and its receipt not there, by id. */
  private readonly usedNonces = new Map<number, number>();

  constructor(options: OutboxOptions) {
    this.options = options;
  }

  /**
   * Stores a request. @returns its id, by which it is followed.
   * @throws ChainError when too many wait, or the key is not at hand.
   */
  request(intent: Intent, job: JobId | null): number {
    const { database, payer, wallMs } = this.options;
    if (payer === null) {
      throw new ChainError(
        `${intent.kind} needs the payer's key, and the settings name no payer keystore: do it with the payer's wallet, ` +
          'or name its keystore in the settings',
        { fault: 'user' },
      );
    }
    if (database.waiting().length >= CHAIN_LIMITS.outboxWaiting) {
      throw new ChainError(
        `${String(CHAIN_LIMITS.outboxWaiting)} transactions wait already: is the chain reachable, and gas below the ceiling?`,
        { retryable: true },
      );
    }
    return database.request(intent, job, amountOfIntent(intent), wallMs());
  }

  /** True while there is something to do or to wait for. */
  get isBusy(): boolean {
    const { database } = this.options;
    return database.waiting().length > 0 || database.followed(Number.MAX_SAFE_INTEGER).length > 0;
  }

  /**
   * @param confirmed newest block that counts
   * @throws RpcUnreachable, after which it goes on with the next poll.
   */
  async poll(head: number, confirmed: number): Promise<void> {
    const { database } = this.options;
    const finalBlock = Math.min(confirmed, head - CHAIN_LIMITS.reorgBlocks);
    const followed = database.followed(finalBlock);
    for (const row of followed) await this.follow(row, confirmed);
    await this.sendNext();
  }

  private async follow(row: OutboxRow, confirmed: number): Promise<void> {
    const { chain, database } = this.options;
    for (const { hash } of database.attempts(row.id)) {
      const receipt = await chain.receipt(hash);
      if (receipt === null) continue;
      this.usedNonces.delete(row.id);
      const block = receipt.blockNumber;
      const isKnown = row.block === block && row.state !== 'sent';
      if (!receipt.isSuccess) {
        const note = 'the contract refused it in its block; the gas is spent';
        if (!isKnown || row.state === 'mined') database.move(row.id, 'fail', { block, note });
        return;
      }
      if (!isKnown) {
        // Another block than before, or none before.
        if (row.state !== 'sent') database.move(row.id, 'reorganise', { block: null });
        database.move(row.id, 'mine', { block });
      }
      if (block <= confirmed) database.move(row.id, 'confirm', { block });
      return;
    }
    if (row.state !== 'sent') {
      const note = 'its block was taken back; it is sent again';
      database.move(row.id, 'reorganise', { block: null, note });
      this.lastBroadcastMs = Number.NEGATIVE_INFINITY;
    }
    await this.insist(row);
  }

  /** It is in no block: send it again, offer more, or find that its nonce is used. */
  private async insist(row: OutboxRow): Promise<void> {
    const { chain, database, payer, wallMs } = this.options;
    const [newest] = database.attempts(row.id);
    if (payer === null || newest === undefined || row.nonce === null) return;
    if ((await chain.nonceOf(payer.address)) > row.nonce) {
      const looks = (this.usedNonces.get(row.id) ?? 0) + 1;
      this.usedNonces.set(row.id, looks);
      if (looks < CHAIN_LIMITS.replacedPolls) return;
      const note = `another transaction of ${payer.address} used its nonce ${String(row.nonce)}: is the account used elsewhere?`;
      database.move(row.id, 'replace', { note });
      this.usedNonces.delete(row.id);
      return;
    }
    const nowMs = wallMs();
    if (row.sentMs !== null && nowMs - row.sentMs >= CHAIN_LIMITS.bumpMs) {
      await this.bump(row, newest, nowMs);
      return;
    }
    if (nowMs - this.lastBroadcastMs < CHAIN_LIMITS.rebroadcastMs) return;
    this.lastBroadcastMs = nowMs;
    await this.broadcast(row.id, newest.raw);
  }

  private async bump(row: OutboxRow, before: Attempt, nowMs: number): Promise<void> {
    const { chain, database, payer, feeCeiling } = this.options;
    if (payer === null) return;
    const offer = raisedOffer(before, await chain.fees(), feeCeiling);
    if (offer.kind === 'postpone') {
      database.note(row.id, postponed(offer.asked, feeCeiling));
      return;
    }
    const signed = chain.replace(before.raw, offer.fees, payer);
    database.bump(row.id, { ...signed, ...offer.fees }, nowMs);
    await this.broadcast(row.id, signed.raw);
  }

  /** Signs the next one, unless one is on its way: a nonce that is stuck would hold up all behind it. */
  private async sendNext(): Promise<void> {
    const { chain, database, payer, feeCeiling, wallMs } = this.options;
    const [row] = database.waiting();
    if (row === undefined || payer === null) return;
    if (database.followed(Number.MAX_SAFE_INTEGER).some(({ state }) => state === 'sent')) return;
    const call = await this.preparedCall(row);
    if (call === null) return;
    const gasLimit = await this.gasOf(row.id, call);
    if (gasLimit === null) return;
    const market = await chain.fees();
    const offer = firstOffer(market, feeCeiling);
    if (offer.kind === 'postpone') {
      database.note(row.id, postponed(offer.asked, feeCeiling));
      return;
    }
    const nonce = Math.max(database.nextNonce(), await chain.nonceOf(payer.address));
    const signed = chain.sign({ ...call, ...offer.fees, nonce, gasLimit }, payer);
    const isOurs = database.sign(row.id, nonce, { ...signed, ...offer.fees }, wallMs());
    if (isOurs) await this.broadcast(row.id, signed.raw);
  }

  private async preparedCall(row: OutboxRow) {
    const { database } = this.options;
    try {
      const { escrow, secondEscrow } = this.options;
      const call = await callOf(row.intent, row.job, escrow());
      const second = secondEscrow?.() ?? null;
      // What a call does follows from what was read: a node that lies would have us sign for it.
      if (second !== null && call?.data !== (await callOf(row.intent, row.job, second))?.data) {
        database.note(row.id, 'the two nodes do not tell the same yet: not signed until they do');
        return null;
      }
      if (call !== null) return call;
      database.move(row.id, 'moot', { note: 'the chain had it already' });
    } catch (error) {
      if (error instanceof RpcUnreachable) throw error;
      database.move(row.id, 'refuse', { note: messageOf(error) });
    }
    return null;
  }

  /** Null when it would fail now; a contract's own no is final, all else may pass. */
  private async gasOf(
    id: number,
    call: { readonly to: OutboxCall['to']; readonly data: string },
  ): Promise<bigint | null> {
    const { chain, database, payer } = this.options;
    if (payer === null) return null;
    try {
      const estimate = await chain.estimateGas({ from: payer.address, ...call });
      return (estimate * (100n + GAS_MARGIN_PERCENT)) / 100n;
    } catch (error) {
      if (!(error instanceof RpcRefusal)) throw error;
      const refusal = refusalText(error);
      const isFinal =
        refusal !== null || error.revertData !== null || /revert/i.test(error.message);
      if (isFinal) {
        database.move(id, 'refuse', { note: `the contract refuses: ${refusal ?? error.message}` });
      } else {
        database.note(id, `${error.message} (has ${payer.address} ether for gas?)`);
      }
      return null;
    }
  }

  private async broadcast(id: number, raw: string): Promise<void> {
    const { chain, database } = this.options;
    try {
      await chain.broadcast(raw);
      database.note(id, null);
    } catch (error) {
      // It is stored and will be sent again; the next look at the chain tells whether it got there.
      if (!(error instanceof RpcRefusal)) throw error;
      database.note(id, error.message);
    }
  }
}

type OutboxCall = NonNullable<Awaited<ReturnType<typeof callOf>>>;

const GWEI = 10n ** 9n;

function gwei(wei: bigint): string {
  return `${(wei / GWEI).toString()}.${((wei % GWEI) / 10n ** 7n).toString().padStart(2, '0')}`;
}

function postponed(asked: bigint, ceiling: bigint): string {
  return `gas costs ${gwei(asked)} gwei, the ceiling is ${gwei(ceiling)}: postponed`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
