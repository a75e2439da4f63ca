/**
 * @file The worker's side of the deal (RFC 1 §3.1): proves who it is, checks terms, keeps vouchers, and says whether work goes on.
 * Messages are taken one after the other, because each waits for a signature, a chain or a disk. Shows nothing; knows no socket.
 */
import { createHash } from 'node:crypto';
import type { Account } from '@ravenlab/contracts';
import { escrowSignatures } from '@ravenlab/contracts';
import type {
  Address,
  ByeReason,
  ChallengeMessage,
  JobId,
  TermsMessage,
  VoucherMessage,
  WorkerToEngine,
} from '@ravenlab/protocol';
import {
  ChainError,
  CREDIT_LIMITS,
  RavenError,
  WALLET_LIMITS,
  amountOfWork,
  amountText,
} from '@ravenlab/protocol';
import type { CreditWindow, Delivery, LaneTerms } from '../core/credit.js';
import { Credit, NOTHING_KEPT } from '../core/credit.js';
import type { Basis, ChainPolicy, Checked } from './checklist.js';
import { checkTerms, lookAtLane } from './checklist.js';
import { LaneStore } from './laneStore.js';
import type { Deal } from './laneRecord.js';
import type { Redeemed } from './redeem.js';
import { redeem, utc } from './redeem.js';

export type DealMessage = ChallengeMessage | TermsMessage | VoucherMessage;

/** What the owner sees of the deal; amounts in base units of `tokenSymbol`. */
export interface PayView {
  readonly address: Address;
  readonly tokenSymbol: string;
  readonly decimals: number;
  readonly basis: Basis;
  /** By vouchers that are on the disk. */
  readonly promised: bigint;
  /** Of these, what the chain has paid; null when it was not asked. */
  readonly redeemed: bigint | null;
  /** Delivered and not promised. */
  readonly atRisk: bigint;
}

export interface PayDeskOptions {
  readonly account: Account;
  /** Folder of the lanes. */
  readonly lanes: string;
  /** CURVE keys of this connection, Z85: the engine's as the invite names it, and the worker's own. */
  readonly serverKey: string;
  readonly clientKey: string;
  readonly policy: ChainPolicy;
  /** Measured; what a unit of time is worth follows from it. */
  readonly gflops: number;
  readonly nowMs: () => number;
  /** How often the chain is asked again; less than the default is for tests. */
  readonly recheckMs?: number;
}

export interface PayDeskEvents {
  send(message: WorkerToEngine): void;
  /** `mayWork` may have changed. */
  changed(): void;
  shown(view: PayView): void;
  /** Something that the owner should know. */
  notice(text: string): void;
  /** The worker leaves: nothing, or not enough, is to be expected here. */
  left(reason: ByeReason, error: RavenError): void;
}

interface Open {
  readonly store: LaneStore;
  readonly credit: Credit;
  checked: Checked;
}

/** Pause before a chain that does not answer is asked again; ms. */
const RETRY_MS = 5_000;
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

export class PayDesk {
  private readonly options: PayDeskOptions;
  private readonly events: PayDeskEvents;
  private turn: Promise<void> = Promise.resolve();
  private waiting = 0;
  private terms: TermsMessage | null = null;
  private lane: Open | null = null;
  /** Job that was accepted on this connection. */
  private accepted: JobId | null = null;
  /** Job whose last voucher was shown on this connection. */
  private presented: JobId | null = null;
  private recheck: NodeJS.Timeout | undefined;
  private retry: NodeJS.Timeout | undefined;
  private patience: NodeJS.Timeout | undefined;
  private isLeaving = false;
  private hasEnded = false;

  constructor(options: PayDeskOptions, events: PayDeskEvents) {
    this.options = options;
    this.events = events;
  }

  get payee(): Address {
    return this.options.account.address;
  }

  /** False while the engine owes more than the owner risks. */
  get mayWork(): boolean {
    return !this.lane?.credit.isExceeded;
  }

  /** Whether a voucher for what was delivered may still come. */
  get isOwed(): boolean {
    return this.lane !== null && this.lane.credit.exposure.amount > 0n;
  }

  /** A message of the deal; those that came before are dealt with first. */
  receive(message: DealMessage): void {
    if (++this.waiting > WALLET_LIMITS.waitingMessages) {
      const text = `more than ${String(WALLET_LIMITS.waitingMessages)} messages of the deal wait`;
      this.leave('protocol', new RavenError('protocol', text, { fault: 'remote' }));
      return;
    }
    this.queue(async () => {
      this.waiting--;
      if (message.kind === 'challenge') this.identify(message);
      else if (message.kind === 'terms') await this.consider(message);
      else await this.take(message);
    });
  }

  /** Results have left for the engine. */
  delivered(units: readonly Delivery[]): void {
    const { lane } = this;
    if (lane === null) return;
    for (const unit of units) lane.credit.delivered(unit);
    this.watchCredit(lane);
    this.show();
  }

  /** The connection is gone: the next one begins with HELLO. */
  disconnected(): void {
    this.accepted = null;
    this.presented = null;
    clearTimeout(this.retry);
    clearTimeout(this.patience);
    this.patience = undefined;
  }

  /** Resolves when what was received is on the disk. */
  async close(): Promise<void> {
    this.hasEnded = true;
    clearInterval(this.recheck);
    this.disconnected();
    await this.turn;
    await this.lane?.store.close();
  }

  private queue(work: () => Promise<void>): void {
    this.turn = this.turn.then(async () => {
      if (this.hasEnded) return;
      try {
        await work();
      } catch (error) {
        this.leave('leave', asRavenError(error));
      }
    });
  }

  // ---------------------------------------------------------------- who and on what terms

  private identify({ nonce, expiry, chainId, escrow, serverKey }: ChallengeMessage): void {
    const { account, clientKey } = this.options;
    if (serverKey !== this.options.serverKey) {
      const text =
        'the engine asks for a signature for another engine: it may pass it on and work in your name; nothing was signed';
      this.leave('leave', new RavenError('protocol', text, { fault: 'remote' }));
      return;
    }
    const hello = { wallet: account.address, serverKey, clientKey, nonce, expiry };
    const signature = escrowSignatures(chainId, escrow).hello.sign(hello, account);
    this.events.send({ kind: 'identify', signature, clientKey });
  }

  private async consider(terms: TermsMessage): Promise<void> {
    this.terms = terms;
    clearTimeout(this.retry);
    await this.present(terms);
    const checked = await this.check(terms);
    if (checked === null) return;
    await this.open(checked, terms);
    if (checked.deal.cap === 0n) {
      this.events.notice('nothing is reserved for this worker yet; it waits for that');
      return;
    }
    if (this.accepted === terms.job) return;
    this.accepted = terms.job;
    this.events.send({ kind: 'accept', job: terms.job });
    const { recheckMs = WALLET_LIMITS.recheckMs } = this.options;
    this.recheck ??= setInterval(() => this.queue(() => this.lookAgain()), recheckMs);
  }

  /** Shows the newest voucher of this job, so that an engine that forgot it goes on from there. */
  private async present({ job }: TermsMessage): Promise<void> {
    if (this.lane !== null && this.lane.checked.deal.job !== job) await this.closeLane();
    if (this.presented === job) return;
    this.presented = job;
    const kept = this.lane?.store ?? (await LaneStore.open(this.options.lanes, job));
    this.events.send({ kind: 'presented', voucher: kept.record?.voucher ?? null });
    if (this.lane === null) await kept.close();
  }

  /** Null when the chain does not answer: it is asked again. @throws ChainError when the terms are not to be taken. */
  private async check(terms: TermsMessage): Promise<Checked | null> {
    const { policy, serverKey, nowMs } = this.options;
    try {
      return await checkTerms(terms, { policy, serverKey, nowMs, payee: this.payee });
    } catch (error) {
      if (!(error instanceof ChainError) || !error.retryable) throw error;
      this.events.notice(error.message);
      this.retry = setTimeout(() => this.queue(() => this.consider(terms)), RETRY_MS);
      return null;
    }
  }

  private async open(checked: Checked, terms: TermsMessage): Promise<void> {
    const lane = laneTerms(checked.deal, terms);
    if (this.lane !== null) {
      this.lane.checked = checked;
      this.lane.credit.agree(lane);
    } else {
      const store = await LaneStore.open(this.options.lanes, lane.job);
      const kept = store.record ?? NOTHING_KEPT;
      const credit = new Credit({ terms: lane, kept, window: this.window(terms), sha256 });
      this.lane = { store, credit, checked };
    }
    await this.keep(this.lane, []);
    this.show();
    this.events.changed();
  }

  /** What the worker's time is worth, for as long as it may go unpaid. */
  private window(terms: TermsMessage): CreditWindow {
    const flops = (this.options.gflops * 1e9 * CREDIT_LIMITS.windowMs) / 1_000;
    const rate = { perGflop: terms.perGflop, perMib: 0n };
    return { units: CREDIT_LIMITS.windowUnits, amount: amountOfWork(rate, { flops, bytes: 0 }) };
  }

  private async closeLane(): Promise<void> {
    const { lane } = this;
    this.lane = null;
    this.accepted = null;
    await lane?.store.close();
  }

  // ---------------------------------------------------------------- vouchers

  private async take({ voucher, lines }: VoucherMessage): Promise<void> {
    const { lane } = this;
    // Its job is not accepted yet: this promise is in the next one as well.
    if (lane === null) return;
    const { chainId, escrow, job } = lane.checked.deal;
    const recovered = escrowSignatures(chainId, escrow).voucher.recover(voucher, voucher);
    const { keep, lines: fresh, fault } = lane.credit.take(voucher, lines, recovered);
    if (keep !== null) await this.keep(lane, fresh);
    if (fault === null) this.events.send({ kind: 'voucherAck', job, seq: voucher.seq });
    this.show();
    if (fault?.code === 'stale') {
      this.events.notice(`the engine sent an old voucher: ${fault.text}`);
    } else if (fault !== null) {
      const text = `the engine does not pay what was agreed: ${fault.text} (${fault.code}, voucher ${String(voucher.seq)})`;
      this.leave('drain', new RavenError('ledger', text, { fault: 'remote' }));
      return;
    }
    this.watchCredit(lane);
    this.events.changed();
  }

  private keep({ store, credit, checked }: Open, lines: readonly string[]): Promise<void> {
    const { chain, voucher } = credit.lane;
    const atRisk = credit.exposure.amount;
    return store.save({ deal: checked.deal, chain, voucher, atRisk }, lines);
  }

  /** Waits when too much is owed, and leaves when waiting does not help. */
  private watchCredit({ credit, checked }: Open): void {
    if (credit.isCheated) {
      const text = `the engine did not pay for ${String(credit.unpaid)} units: more than lost races explain`;
      this.leave('drain', new RavenError('ledger', text, { fault: 'remote' }));
      return;
    }
    if (!credit.isExceeded) {
      clearTimeout(this.patience);
      this.patience = undefined;
      return;
    }
    this.patience ??= setTimeout(() => {
      const { tokenSymbol, decimals } = checked.deal;
      const { units, amount } = credit.exposure;
      const text =
        `the engine owes ${amountText(amount, decimals)} ${tokenSymbol} for ${String(units)} units and has sent no ` +
        `voucher for ${String(CREDIT_LIMITS.patienceMs / 1_000)} s; what it promised before stays redeemable`;
      this.leave('drain', new RavenError('ledger', text, { fault: 'remote' }));
    }, CREDIT_LIMITS.patienceMs);
  }

  // ---------------------------------------------------------------- upkeep

  /** Asks the chain again: a reorganisation, a longer expiry, a redeemed voucher; and redeems when time runs out. */
  private async lookAgain(): Promise<void> {
    const { lane, terms } = this;
    if (lane === null || terms === null) return;
    if (this.options.policy.rpcUrl === null) {
      await this.checkExpiry(lane, terms.expiry - Math.floor(this.options.nowMs() / 1_000));
      return;
    }
    const looked = await lookAtLane(lane.checked.deal, this.options.policy.rpcUrl).catch(
      (error: unknown) => {
        if (!(error instanceof ChainError) || !error.retryable) throw error;
        this.events.notice(error.message);
        return null;
      },
    );
    if (looked === null) return;
    const { cap, paid, expiry, remainsS } = looked;
    lane.checked = {
      ...lane.checked,
      paid,
      remainsS,
      deal: { ...lane.checked.deal, cap, expiry },
    };
    lane.credit.agree(laneTerms(lane.checked.deal, terms));
    if (lane.credit.promised > cap) {
      const text = `the chain keeps ${String(cap)} base units for this worker, less than was promised: it was reorganised, or the lane released`;
      throw new ChainError(text);
    }
    this.show();
    await this.checkExpiry(lane, remainsS);
  }

  private async checkExpiry(lane: Open, remainsS: number): Promise<void> {
    if (remainsS > WALLET_LIMITS.alarmS) return;
    const { deal } = lane.checked;
    const text = `the job expires ${utc(deal.expiry)}`;
    const result = await this.redeemNow(lane);
    const outcome =
      result === null
        ? 'nothing is left to redeem'
        : `${amountText(result.amount, deal.decimals)} ${deal.tokenSymbol} were redeemed`;
    this.leave('drain', new ChainError(`${text}; ${outcome}`));
  }

  private async redeemNow({ credit, checked }: Open): Promise<Redeemed | null> {
    const { voucher } = credit.lane;
    const { rpcUrl } = this.options.policy;
    if (voucher === null || voucher.cumulative <= checked.paid) return null;
    if (rpcUrl === null) {
      throw new ChainError(
        `the job expires ${utc(checked.deal.expiry)}, and this worker knows no RPC URL to redeem what it was promised: run ` +
          '`npm run worker -- redeem --rpc <url>` before',
      );
    }
    const { chainId, escrow } = checked.deal;
    const { account } = this.options;
    const options = { rpcUrl, account, isForced: true, etherPrice: null };
    return redeem({ chainId, escrow, voucher }, options);
  }

  private show(): void {
    const { lane } = this;
    if (lane === null) return;
    const { credit, checked } = lane;
    const { tokenSymbol, decimals } = checked.deal;
    this.events.shown({
      ...{ address: this.payee, tokenSymbol, decimals, basis: checked.basis },
      promised: credit.promised,
      redeemed: checked.basis === 'chain' ? checked.paid : null,
      atRisk: credit.exposure.amount,
    });
  }

  private leave(reason: ByeReason, error: RavenError): void {
    // Vouchers are taken until the end: what was delivered before is owed still.
    if (this.isLeaving) return;
    this.isLeaving = true;
    this.events.left(reason, error);
  }
}

function laneTerms(deal: Deal, terms: TermsMessage): LaneTerms {
  const { job, payee, signer, cap } = deal;
  const { perGflop, perMib, holdbackUnits } = terms;
  return { job, payee, signer, cap, rate: { perGflop, perMib }, holdbackUnits };
}

function asRavenError(error: unknown): RavenError {
  if (error instanceof RavenError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new RavenError('internal', text, { fault: 'local', cause: error });
}
