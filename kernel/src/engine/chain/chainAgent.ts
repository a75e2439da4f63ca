/**
 * @file Works with one chain for as long as the engine lives: opens it, keeps it open, sends what is asked, signs what is allowed, and tells
 * what it sees. Runs where it may take its time (its own thread, or the command line); whatever fails is told and tried again.
 */
import type {
  CompactSignature,
  EscrowClient,
  EscrowSignatures,
  Hello,
  TokenInfo,
} from '@ravenlab/contracts';
import { escrowSignatures, withoutSecrets } from '@ravenlab/contracts';
import type { Address, Hash32, JobId, SignedVoucher, Voucher } from '@ravenlab/protocol';
import { CHAIN_LIMITS, ChainError } from '@ravenlab/protocol';
import type { CapTarget } from '../../core/chain/reservation.js';
import { planReservation } from '../../core/chain/reservation.js';
import { NO_LIMITS, SpendCaps } from '../../core/chain/spendCaps.js';
import type { SpendLimits } from '../../core/chain/spendCaps.js';
import { amountText, parseAmount } from './amounts.js';
import type { ChainDatabase } from './chainDatabase.js';
import type { ChainJob, ChainStatus, LaneOnChain, TransactionState } from './chainService.js';
import type { Intent, LaneTarget } from './intents.js';
import { chunksOf } from './intents.js';
import { JobWatch } from './jobWatch.js';
import type { LimitTexts, OpenNetwork } from './network.js';
import { Outbox } from './outbox.js';
import { Settling } from './settling.js';
import { PromiseBook } from './promiseBook.js';
import { NodesDisagree, lookAt } from './nodes.js';
import { blockTime, jobState, nodesOf, setUp } from './setUp.js';

export interface ChainAgentOptions {
  /** Called again after a failure: whatever was wrong may have been mended. */
  readonly open: () => Promise<OpenChain>;
  /** Who may sign for a job: the engine's id. */
  readonly owner: string;
  readonly wallMs: () => number;
  /** Between two looks at a network, and before another try after a first failure; ms. */
  readonly networkPollMs?: number;
  readonly onStatus: (status: ChainStatus) => void;
  readonly onLanes: (lanes: readonly LaneOnChain[]) => void;
  readonly log: (text: string) => void;
}

/** A chain that can be talked to, and the file of what is known of it. */
export interface OpenChain {
  readonly network: OpenNetwork;
  readonly database: ChainDatabase;
}

/** Everything that is there once the chain is ready. */
interface Session extends OpenChain {
  readonly outbox: Outbox;
  readonly escrow: EscrowClient;
  readonly token: TokenInfo;
  readonly watch: JobWatch;
  readonly signatures: EscrowSignatures;
  readonly promises: PromiseBook;
  readonly settling: Settling;
}

const UNDER_WAY: readonly TransactionState[] = ['waiting', 'sent', 'mined'];

export class ChainAgent {
  private readonly options: ChainAgentOptions;
  private session: Session | null = null;
  /** Open, ready or not. */
  private opened: OpenChain | null = null;
  private problem: string | null = null;
  private retryMs: number;
  private timer: NodeJS.Timeout | null = null;
  private polling: Promise<void> | null = null;
  private isDisputed = false;
  private isTurning = false;
  private isAskedAgain = false;
  private isClosed = false;
  private timeS = 0;
  private told = '';
  private chosenLimits: SpendLimits | null = null;

  constructor(options: ChainAgentOptions) {
    this.options = options;
    this.retryMs = this.retryMinMs;
  }

  private get retryMinMs(): number {
    return this.options.networkPollMs ?? CHAIN_LIMITS.retryMinMs;
  }

  /** Begins, and goes on until `close`. */
  start(): void {
    this.tell();
    this.wake();
  }

  status(): ChainStatus {
    const { session, problem, opened } = this;
    const network = opened?.network ?? null;
    return {
      phase: problem !== null ? 'problem' : session === null ? 'starting' : 'ready',
      problem,
      isDisputed: this.isDisputed,
      network: network === null ? null : { ...network.info, rpcUrl: shownUrl(network) },
      escrow: session?.escrow.address ?? null,
      token: session?.token ?? null,
      job: session === null ? null : this.jobOf(session),
      transactions: opened?.database.newest(CHAIN_LIMITS.transactionsShown) ?? [],
      localPayees: network?.localPayees ?? [],
      canPay: (network?.payer ?? null) !== null,
      limits: session?.promises.caps.current ?? this.chosenLimits ?? NO_LIMITS,
      settling: session?.settling.rule ?? null,
    };
  }

  /** All that is confirmed. */
  lanes(): readonly LaneOnChain[] {
    return this.session?.watch.all() ?? [];
  }

  /** Spend limits are checked, and what was promised is on the disk before the signature leaves. */
  async signVoucher(voucher: Voucher): Promise<CompactSignature> {
    const { signatures, promises, watch, network } = this.agreed();
    if (voucher.job !== watch.job) {
      throw new ChainError(`a voucher for job ${voucher.job}, and this engine's is ${watch.job}`);
    }
    promises.promise(laneName(voucher.job, voucher.payee), voucher.cumulative);
    const signature = signatures.voucher.sign(voucher, network.signer);
    await promises.written();
    return signature;
  }

  isOwnVoucher(voucher: SignedVoucher): boolean {
    const { signatures, watch, network } = this.ready();
    const signer = signatures.voucher.recover(voucher, voucher);
    return voucher.job === watch.job && signer === network.signer.address;
  }

  isHello(claim: Hello, signature: CompactSignature): boolean {
    return this.ready().signatures.hello.recover(claim, signature) === claim.wallet;
  }

  signServer(serverKey: string): CompactSignature {
    const { signatures, watch, network, escrow } = this.agreed();
    const claim = { serverKey, escrow: escrow.address, job: watch.job };
    return signatures.server.sign(claim, network.signer);
  }

  /** @throws ChainError when not all of it fits into what is free; what fits is asked for all the same. */
  reserve(caps: readonly CapTarget[]): number | null {
    const session = this.ready();
    const { job, view } = session.watch;
    const taken = this.pendingTargets('reserve', job, ['mined']);
    for (const { payee, cap } of session.watch.all()) {
      if (cap > (taken.get(payee) ?? 0n)) taken.set(payee, cap);
    }
    const asked = this.pendingTargets('reserve', job, ['waiting', 'sent']);
    const free = view?.free ?? 0n;
    const { fits, left, lacks } = planReservation({ wanted: caps, taken, asked, free });
    const last = this.inChunks(
      fits.map(({ payee, cap }) => [payee, cap.toString()]),
      (chunk) => ({ kind: 'reserve', escrow: session.escrow.address, caps: chunk }),
    );
    if (left === 0) return last;
    const coins = (amount: bigint): string =>
      `${amountText(amount, session.token.decimals)} ${session.token.symbol}`;
    throw new ChainError(
      `the job has ${coins(free)} free, and ${coins(lacks)} more are needed for ${String(left)} contributor(s): deposit ` +
        'more in Payments, or with npm run chain -- deposit',
      { fault: 'user' },
    );
  }

  settle(
    lanes: readonly { readonly payee: Address; readonly cumulative: bigint }[],
    ledgerHead: Hash32,
  ): number | null {
    const session = this.ready();
    const pending = this.pendingTargets('settle', session.watch.job, UNDER_WAY);
    const paid = new Map(session.watch.all().map((lane) => [lane.payee, lane.paid]));
    const due = lanes.filter(({ payee, cumulative }) => {
      const before = pending.get(payee) ?? paid.get(payee) ?? 0n;
      return cumulative > before;
    });
    const { fits, refusal } = this.withinLimits(session, due);
    const last = this.inChunks(
      fits.map(({ payee, cumulative }) => [payee, cumulative.toString()]),
      (chunk) => ({ kind: 'settle', escrow: session.escrow.address, lanes: chunk, ledgerHead }),
    );
    if (refusal !== null) throw refusal;
    return last;
  }

  /** What is paid counts as what is promised: limits hold for both. */
  private withinLimits<T extends { readonly payee: Address; readonly cumulative: bigint }>(
    { promises, watch }: Session,
    lanes: readonly T[],
  ): { readonly fits: readonly T[]; readonly refusal: ChainError | null } {
    let refusal: ChainError | null = null;
    const fits = lanes.filter(({ payee, cumulative }) => {
      try {
        promises.promise(laneName(watch.job, payee), cumulative);
        return true;
      } catch (error) {
        if (!(error instanceof ChainError)) throw error;
        refusal ??= error;
        return false;
      }
    });
    promises.flush();
    return { fits, refusal };
  }

  deposit(amount: bigint): number {
    if (amount <= 0n) throw new ChainError('a deposit is more than 0', { fault: 'user' });
    const session = this.ready();
    const { network, token, escrow, watch } = session;
    const { payer, info } = network;
    const at = { token: token.address, escrow: escrow.address };
    const text = amount.toString();
    if (info.isSimulated && payer !== null) {
      this.ask({ kind: 'mint', token: at.token, to: payer.address, amount: text }, null);
    }
    this.ask({ kind: 'approve', ...at, amount: text }, null);
    return this.ask(
      { kind: 'topUp', escrow: at.escrow, amount: text, expiry: watch.view?.expiry ?? 0 },
      watch.job,
    );
  }

  extend(expiry: number): number | null {
    const { escrow, watch } = this.ready();
    if (expiry <= (watch.view?.expiry ?? 0)) return null;
    return this.ask({ kind: 'topUp', escrow: escrow.address, amount: '0', expiry }, watch.job);
  }

  refund(): number {
    const { escrow, watch } = this.ready();
    return this.ask({ kind: 'refund', escrow: escrow.address }, watch.job);
  }

  setLimits(limits: SpendLimits): void {
    this.chosenLimits = limits;
    this.session?.promises.caps.setLimits(limits);
    this.tell();
  }

  /** Resolves when nothing runs any more and a simulated chain has written its state. */
  async close(): Promise<void> {
    this.isClosed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    await this.polling;
    await this.closeChain();
  }

  /** @throws ChainError that says why it is not. */
  private ready(): Session {
    if (this.session !== null) return this.session;
    throw new ChainError(
      this.problem === null
        ? 'the chain is not ready yet'
        : `the chain is not ready: ${this.problem}`,
      { retryable: true },
    );
  }

  /** Before anything is signed. @throws ChainError */
  private agreed(): Session {
    const session = this.ready();
    if (this.isDisputed) {
      throw new ChainError(`nothing is signed now: ${this.problem ?? 'two nodes disagreed'}`, {
        retryable: true,
      });
    }
    return session;
  }

  private ask(intent: Intent, job: JobId | null): number {
    const id = this.ready().outbox.request(intent, job);
    this.tell();
    this.wake();
    return id;
  }

  /** The last one's id: with it, all are done. */
  private inChunks(
    targets: readonly LaneTarget[],
    intentOf: (chunk: readonly LaneTarget[]) => Intent,
  ): number | null {
    const { job } = this.ready().watch;
    let last: number | null = null;
    for (const chunk of chunksOf(targets)) last = this.ask(intentOf(chunk), job);
    return last;
  }

  /** What is asked for and not confirmed, of requests in these states. */
  private pendingTargets(
    kind: 'reserve' | 'settle',
    job: JobId,
    states: readonly TransactionState[],
  ): Map<Address, bigint> {
    const { database } = this.ready();
    const targets = new Map<Address, bigint>();
    for (const row of [...database.waiting(), ...database.followed(Number.MAX_SAFE_INTEGER)]) {
      const { intent } = row;
      if (row.job !== job || intent.kind !== kind || !states.includes(row.state)) continue;
      const lanes = intent.kind === 'reserve' ? intent.caps : intent.lanes;
      for (const [payee, amount] of lanes) {
        const before = targets.get(payee) ?? 0n;
        if (BigInt(amount) > before) targets.set(payee, BigInt(amount));
      }
    }
    return targets;
  }

  /** Looks at the chain now, or as soon as the look that runs is over. */
  private wake(): void {
    if (this.isTurning) this.isAskedAgain = true;
    else this.schedule(0);
  }

  private schedule(delayMs: number): void {
    if (this.isClosed) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = null;
      this.polling = this.turn().finally(() => {
        this.polling = null;
      });
    }, delayMs);
  }

  /** One look; never rejects. */
  private async turn(): Promise<void> {
    let delayMs: number;
    this.isTurning = true;
    this.isAskedAgain = false;
    try {
      const session = this.session ?? (await this.begin());
      this.session = session;
      await this.look(session);
      this.problem = null;
      this.isDisputed = false;
      this.retryMs = this.retryMinMs;
      delayMs = this.restMs(session);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (text !== this.problem) this.options.log(`chain: ${text}`);
      this.problem = text;
      // One that does not answer disputes nothing, and one that is opened anew has to show that it agrees.
      if (error instanceof NodesDisagree) this.isDisputed = true;
      delayMs = this.retryMs;
      this.retryMs = Math.min(2 * this.retryMs, CHAIN_LIMITS.retryMaxMs);
    }
    this.isTurning = false;
    this.schedule(this.wasAskedAgain() ? 0 : delayMs);
    this.tell();
  }

  /** Something was asked for during the look that is over; after a failure the pause comes first. */
  private wasAskedAgain(): boolean {
    return this.isAskedAgain && this.problem === null;
  }

  /** Opens what is not open, and makes it ready; what failed is opened anew the next time. */
  private async begin(): Promise<Session> {
    if (this.opened === null) {
      this.opened = await this.options.open();
      this.expectEnd(this.opened);
    }
    try {
      return await this.setUp(this.opened);
    } catch (error) {
      // Settings are read again; a simulated chain is what it is.
      if (!this.opened.network.info.isSimulated) await this.closeChain();
      throw error;
    }
  }

  private expectEnd(opened: OpenChain): void {
    void opened.network.ended.then((how) => {
      if (this.isClosed || this.opened !== opened) return;
      this.session = null;
      this.opened = null;
      opened.database.close();
      this.problem = `the ${opened.network.info.name} ended (${how}); it is started again`;
      this.options.log(`chain: ${this.problem}`);
      this.tell();
      if (!this.isTurning) this.schedule(this.retryMs);
    });
  }

  private async closeChain(): Promise<void> {
    const { opened, session } = this;
    this.opened = null;
    this.session = null;
    session?.promises.flush();
    await opened?.network.stop();
    opened?.database.close();
  }

  private async setUp(opened: OpenChain): Promise<Session> {
    const { owner, wallMs } = this.options;
    const { network, database } = opened;
    const { chain, payer, feeCeiling, info } = network;
    database.useChain(network.identity);
    if (info.isSimulated) database.loseOtherChains();
    let escrow: EscrowClient | null = null;
    let second: EscrowClient | null = null;
    const outbox = new Outbox({
      ...{ chain, database, payer, feeCeiling, wallMs },
      escrow: () => escrow,
      secondEscrow: () => second,
    });
    const ready = await setUp({
      ...{ network, database, outbox, owner, wallMs },
      onEscrow: (found, other) => {
        escrow = found;
        second = other;
      },
    });
    const limits = this.chosenLimits ?? limitsOf(network.limits, ready.token.decimals);
    return {
      ...{ network, database, outbox, escrow: ready.escrow, token: ready.token },
      watch: new JobWatch({ escrow: ready.escrow, second, database, job: ready.job }),
      signatures: escrowSignatures(info.chainId, ready.escrow.address),
      settling: new Settling(network, ready.token.decimals, wallMs),
      promises: new PromiseBook(new SpendCaps(limits, database.spendRecord()), database, wallMs),
    };
  }

  private async look({ network, outbox, watch, settling }: Session): Promise<void> {
    const nodes = nodesOf(network);
    const { head, confirmed } = await lookAt(nodes);
    this.timeS = blockTime(head, network.info.isSimulated, this.options.wallMs());
    // Of two nodes, what they say is compared before anything is signed for it.
    if (network.second !== null) this.tellLanes(await watch.poll(head, confirmed));
    await outbox.poll(head.number, confirmed);
    const after = outbox.isBusy ? await lookAt(nodes) : { head, confirmed };
    this.tellLanes(await watch.poll(after.head, after.confirmed));
    await settling.look();
    const expiry = watch.view?.expiry ?? Number.POSITIVE_INFINITY;
    const { simulatedRenewS, simulatedJobS } = CHAIN_LIMITS;
    if (network.info.isSimulated && !outbox.isBusy && expiry - this.timeS < simulatedRenewS) {
      this.extend(this.timeS + simulatedJobS);
    }
  }

  private tellLanes(changed: readonly LaneOnChain[]): void {
    if (changed.length > 0) this.options.onLanes(changed);
  }

  private restMs({ outbox, network, watch }: Session): number {
    const { busyPollMs, idlePollMs, networkPollMs } = CHAIN_LIMITS;
    if (watch.isReading) return busyPollMs;
    if (!network.info.isSimulated) return this.options.networkPollMs ?? networkPollMs;
    return outbox.isBusy ? busyPollMs : idlePollMs;
  }

  private jobOf({ watch }: Session): ChainJob | null {
    const { view } = watch;
    if (view === null) return null;
    const { payer, signer, expiry, free, reserved } = view;
    const state = jobState(view, this.timeS);
    return { id: watch.job, payer, signer, expiry, free, reserved, state, deposit: watch.deposit };
  }

  private tell(): void {
    const status = this.status();
    const text = JSON.stringify(status, (_key, value: unknown) =>
      typeof value === 'bigint' ? value.toString() : value,
    );
    if (text === this.told) return;
    this.told = text;
    this.options.onStatus(status);
  }
}

/** By which spend limits know it. */
function laneName(job: JobId, payee: Address): string {
  return `${job} ${payee}`;
}

/** A simulated chain's is on the loopback; a network's may have a key in it. */
function shownUrl({ info }: OpenNetwork): string {
  return info.isSimulated ? info.rpcUrl : withoutSecrets(info.rpcUrl);
}

function limitsOf(texts: LimitTexts, decimals: number): SpendLimits {
  const amount = (text: string | null, name: string): bigint | null =>
    text === null ? null : parseAmount(text, decimals, `limit ${name}`);
  return {
    perLane: amount(texts.perContributor, 'perContributor'),
    perHour: amount(texts.perHour, 'perHour'),
    perRun: amount(texts.perRun, 'perRun'),
  };
}
