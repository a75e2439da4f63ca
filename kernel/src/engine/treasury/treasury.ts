/**
 * @file Whoever pays: the paymaster's effects carried out by the journal, the chain and the hub, and all three told to it as
 * events. Decides nothing about money; nothing here has a key, knows an RPC, or waits for a block.
 */
import { hash } from 'node:crypto';
import type {
  Address,
  JobId,
  LeaseId,
  PanelResults,
  PayRate,
  PresentedMessage,
  Sent,
  SignedVoucher,
  Verdict,
  VoucherAckMessage,
  WorkerId,
} from '@ravenlab/protocol';
import { VOUCHER_LIMITS } from '@ravenlab/protocol';
import { Trace } from '../../core/cluster/transition.js';
import type { PayPolicy, PaymasterEffect, PaymasterEvent } from '../../core/ledger/payEvents.js';
import type { IssuedVoucher, PayLane } from '../../core/ledger/payLane.js';
import { Paymaster } from '../../core/ledger/paymaster.js';
import type { ChainService, ChainStatus } from '../chain/chainService.js';
import type { DealDesk, Payee, Terms } from '../dealDesk.js';
import type { LaneView, LimitsView, TreasurySummary, TreasuryView } from '../treasuryView.js';
import type { ExportRequest } from './exportPart.js';
import { exportPart } from './exportPart.js';
import type {
  LogCursor,
  LogPage,
  PayRow,
  RestoredPay,
  SettlementRow,
  VoucherRow,
} from './payRows.js';
import type { MeteredUnit } from './meteredUnit.js';
import { workOf } from './meteredUnit.js';
import { ServerClaim } from './serverClaim.js';
import { Settlements } from './settlements.js';
import { summaryOf } from './summary.js';

export interface TreasuryOptions {
  readonly chain: ChainService;
  readonly restored: RestoredPay;
  /** What is thought of units that a worker did in an earlier life of the engine, which had not judged them when it ended. */
  readonly verdictOf: (worker: WorkerId) => Verdict | null;
  readonly policy: PayPolicy;
  readonly rate: PayRate;
  /** Integer ms that never go back. */
  readonly now: () => number;
  readonly wallMs: () => number;
  /** Stores a row; those of one cause in order, vouchers and settlements answered by `stored`. */
  readonly write: (row: PayRow) => void;
  readonly log: (cursor: LogCursor | null, limit: number) => Promise<LogPage>;
  /** To every connected worker of the payee. */
  readonly send: (payee: Address, vouchers: readonly IssuedVoucher[]) => void;
  /** There are terms for this payee, or they have changed. */
  readonly onTerms: (payee: Address) => void;
  /** Work is paid from now on. */
  readonly onOpen: () => void;
  /** Whether further work of the payee is covered. */
  readonly onCover: (payee: Address, isCovered: boolean) => void;
  /** CURVE key of this engine's invites, Z85. */
  readonly serverKey: () => string;
  readonly tell: (level: 'info' | 'warning' | 'error', text: string) => void;
}

const NOTHING = { held: 0n, vouchered: 0n, settled: 0n, cap: 0n };
/** Pause before the chain is asked again for what it refused. */
const RESERVE_RETRY_MS = 5_000;

const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer');

export class Treasury implements TreasuryView, DealDesk {
  private readonly options: TreasuryOptions;
  private readonly paymaster: Paymaster;
  /** Who is paid for a worker's units; those that left stay, for what they earned. */
  private readonly payees = new Map<WorkerId, Address>();
  /** Connected workers of each payee. */
  private readonly present = new Map<Address, Set<WorkerId>>();
  private readonly locals = new Set<WorkerId>();
  /** Last vouchers that workers showed before they were let in. */
  private readonly shown = new Map<WorkerId, SignedVoucher | null>();
  /** Jobs of this life: what the store knew of one is the truth only once. */
  private readonly opened = new Set<JobId>();
  private readonly settlements: Settlements;
  private readonly claim: ServerClaim;
  private endings: readonly (() => void)[] = [];
  private timer: NodeJS.Timeout | null = null;
  /** Problems that were told, until they are over. */
  private readonly told = new Set<string>();
  /** Workers whose voucher is being looked at. */
  private readonly checking = new Set<WorkerId>();
  /** Units of local workers from before their accounts were known. */
  private readonly early: MeteredUnit[] = [];
  private exporting: Promise<unknown> = Promise.resolve();

  constructor(options: TreasuryOptions) {
    this.options = options;
    const { policy, restored } = options;
    this.paymaster = new Paymaster({
      ...{ policy, sha256, trace: new Trace() },
      held: restored.held.map((work) => ({ work, verdict: options.verdictOf(work.worker) })),
    });
    for (const { worker, payee } of restored.wallets) this.payees.set(worker, payee);
    const { chain, now, wallMs, write, serverKey, onTerms } = options;
    const { paymaster } = this;
    this.settlements = new Settlements({ chain, paymaster, now, wallMs, write });
    this.claim = new ServerClaim({
      ...{ chain, serverKey },
      onSigned: () => {
        for (const payee of paymaster.lanes.keys()) onTerms(payee);
      },
      onRefused: (error) => {
        this.tellOnce('server', `Invited workers get no terms: ${textOf(error)}`);
      },
    });
  }

  /** Listens to the chain from now on; whoever it sends to and tells is there. */
  start(): void {
    const { chain } = this.options;
    this.endings = [
      chain.onChange((status) => {
        this.chainChanged(status);
      }),
      chain.onLane(({ job, payee, cap, paid }) => {
        if (job !== this.paymaster.currentJob) return;
        this.feed({ kind: 'lane', payee, cap, paid });
        this.options.onTerms(payee);
      }),
    ];
    this.timer = setInterval(() => {
      this.feed({ kind: 'tick' });
    }, VOUCHER_LIMITS.tickMs);
    this.chainChanged(chain.status());
  }

  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
    for (const end of this.endings) end();
  }

  // ── workers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A worker takes units from now on. @param payee its wallet, proved; null for a local or an unpaid one. */
  joined(worker: WorkerId, payee: Address | null, isLocal: boolean): void {
    if (isLocal) this.locals.add(worker);
    const account = isLocal ? this.localPayee(worker) : payee;
    if (account === null) return;
    this.knows(worker, account);
    const workers = this.present.get(account) ?? new Set();
    workers.add(worker);
    this.present.set(account, workers);
    this.feed({ kind: 'joined', payee: account, presence: isLocal ? 'trusted' : 'invited' });
    if (isLocal || this.checking.has(worker)) return;
    const voucher = this.shown.get(worker) ?? null;
    this.shown.delete(worker);
    this.feed({ kind: 'presented', payee: account, voucher });
  }

  /** The wallet that an invited worker has proved, here or not; null for any other. */
  walletOf(worker: WorkerId): Address | null {
    return this.locals.has(worker) ? null : (this.payees.get(worker) ?? null);
  }

  left(worker: WorkerId): void {
    this.locals.delete(worker);
    const payee = this.payees.get(worker);
    const workers = payee === undefined ? undefined : this.present.get(payee);
    if (payee === undefined || workers?.delete(worker) !== true || workers.size > 0) return;
    this.present.delete(payee);
    this.feed({ kind: 'left', payee });
  }

  /** Whether a worker's units earn anything on the chain. */
  pays(worker: WorkerId): boolean {
    return this.payees.has(worker) || this.isEarly(worker);
  }

  /** A unit was taken, once. @param verdict null when it is still to be judged. */
  committed(unit: MeteredUnit, verdict: Verdict | null): void {
    const payee = this.payees.get(unit.worker);
    if (payee === undefined) {
      if (this.early.length < VOUCHER_LIMITS.heldUnits) this.early.push(unit);
      return;
    }
    const work = workOf(unit, payee);
    const isTrusted = this.locals.has(unit.worker);
    // A trusted worker's unit gets its receipt in the same transaction, if there is a job at all.
    if (!isTrusted || this.paymaster.currentJob === null)
      this.options.write({ kind: 'held', work });
    this.feed({ kind: 'committed', work, verdict: isTrusted ? 'accepted' : verdict });
  }

  judged(leases: readonly LeaseId[], verdict: Verdict): void {
    this.feed({ kind: 'judged', leases, verdict });
  }

  /** A cheat was caught: nothing that is held of its payee is paid. */
  convicted(worker: WorkerId): void {
    const payee = this.payees.get(worker);
    if (payee !== undefined) this.feed({ kind: 'convicted', payee });
  }

  /** Vouchers and settlements are on the disk. */
  stored(rows: readonly (VoucherRow | SettlementRow)[]): void {
    for (const row of rows) {
      if (row.kind === 'settlement') this.settlements.stored(row.id);
      else this.feed({ kind: 'stored', payee: row.voucher.payee, seq: row.voucher.seq });
    }
  }

  // ── the hub's desk ──────────────────────────────────────────────────────────────────────────────────────────────

  domain(): ReturnType<DealDesk['domain']> {
    const { network, escrow, job } = this.options.chain.status();
    if (network === null || escrow === null || job?.state !== 'open') return null;
    return { chainId: network.chainId, escrow };
  }

  isHello(...args: Parameters<DealDesk['isHello']>): Promise<boolean> {
    return this.options.chain.isHello(...args);
  }

  arrived({ worker, payee }: Payee): void {
    this.knows(worker, payee);
    // Its lane is reserved while it waits.
    this.feed({ kind: 'joined', payee, presence: 'invited' });
    this.feed({ kind: 'tick' });
  }

  terms(payee: Address): Terms | null {
    const { network, escrow, token, job } = this.options.chain.status();
    const lane = this.paymaster.lanes.get(payee);
    if (network === null || escrow === null || token === null || job?.state !== 'open') return null;
    if (lane === undefined || lane.cap === 0n) return null;
    const serverSignature = this.claim.of(job.id);
    if (serverSignature === null) return null;
    const { policy, rate } = this.options;
    return {
      ...{ chainId: network.chainId, escrow, job: job.id, payer: job.payer, signer: job.signer },
      ...{ token: token.address, tokenSymbol: token.symbol, decimals: token.decimals },
      ...{ expiry: job.expiry, cap: lane.cap, paid: lane.paid },
      ...{ perGflop: rate.perGflop, perMib: rate.perMib },
      holdbackUnits: policy.holdbackUnits,
      serverSignature,
    };
  }

  presented({ worker, payee }: Payee, voucher: PresentedMessage['voucher']): void {
    if (voucher === null) {
      this.show(worker, payee, null);
      return;
    }
    this.checking.add(worker);
    this.options.chain.isOwnVoucher(voucher).then(
      (isOwn) => {
        this.checking.delete(worker);
        if (isOwn) this.show(worker, payee, voucher);
        else {
          this.puzzled(payee, 'is not signed by the signer of this job');
          this.show(worker, payee, null);
        }
      },
      (error: unknown) => {
        this.checking.delete(worker);
        this.show(worker, payee, null);
        this.puzzled(payee, `cannot be checked now (${textOf(error)})`);
      },
    );
  }

  acknowledged({ payee }: Payee, { job, seq }: VoucherAckMessage): void {
    if (job === this.paymaster.currentJob) this.feed({ kind: 'acked', payee, seq });
  }

  // ── what is shown and asked for ─────────────────────────────────────────────────────────────────────────────────

  summary(): TreasurySummary {
    let paid = 0n;
    for (const lane of this.paymaster.lanes.values()) paid += lane.paid;
    return summaryOf(this.options.chain.status(), paid);
  }

  lanes(workers: readonly WorkerId[]): ReadonlyMap<WorkerId, LaneView> {
    const shown = new Set<string>();
    const views = new Map<WorkerId, LaneView>();
    for (const worker of workers) {
      const address = this.payees.get(worker);
      const lane = address === undefined ? undefined : this.paymaster.lanes.get(address);
      if (address === undefined || lane === undefined) continue;
      views.set(worker, shown.has(address) ? { address, ...NOTHING } : laneViewOf(lane));
      shown.add(address);
    }
    return views;
  }

  settle(): Promise<PanelResults['settle']> {
    this.feed({ kind: 'release' });
    const batch = this.paymaster.settlement();
    if (batch === null) return Promise.resolve({ transaction: null });
    return this.settlements.send(batch);
  }

  async deposit(amount: bigint): Promise<Sent> {
    return { transaction: await this.options.chain.deposit(amount) };
  }

  /** Pays everybody first: what is left is the payer's. */
  async refund(): Promise<Sent> {
    await this.settle();
    return { transaction: await this.options.chain.refund() };
  }

  async extend(expiryMs: number): Promise<Sent> {
    return { transaction: await this.options.chain.extend(Math.ceil(expiryMs / 1000)) };
  }

  async setLimits(limits: LimitsView): Promise<LimitsView> {
    await this.options.chain.setLimits(limits);
    return this.options.chain.status().limits;
  }

  /** One at a time: the parts of two exports would be asked for in one breath. */
  exportLedger(part: ExportRequest): Promise<PanelResults['exportLedger']> {
    const { log, chain } = this.options;
    const next = this.exporting.then(() => exportPart(part, log, chain.status()));
    this.exporting = next.catch(() => undefined);
    return next;
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The accounts of local workers are known with the chain, which the first cell does not wait for. */
  private isEarly(worker: WorkerId): boolean {
    return this.locals.has(worker) && this.options.chain.status().phase === 'starting';
  }

  private chainChanged(status: ChainStatus): void {
    this.tellDispute(status);
    for (const worker of this.locals) {
      if (!this.payees.has(worker)) this.joined(worker, null, true);
    }
    if (status.phase !== 'starting') {
      for (const unit of this.early.splice(0)) {
        if (this.payees.has(unit.worker)) this.committed(unit, 'accepted');
      }
    }
    this.feed({ kind: 'rule', rule: status.settling });
    const { job } = status;
    if (job === null || job.state === 'closed' || this.opened.has(job.id)) return;
    this.opened.add(job.id);
    const lanes = this.options.restored.lanes.filter((lane) => lane.job === job.id);
    this.feed({ kind: 'opened', job: job.id, lanes, rule: status.settling });
    this.options.onOpen();
  }

  private tellDispute({ isDisputed, problem }: ChainStatus): void {
    if (isDisputed) this.tellOnce('dispute', `No payment is signed: ${problem ?? ''}`, 'error');
    else this.told.delete('dispute');
  }

  /** Local workers share the accounts of a simulated chain; elsewhere they are the payer's own and get nothing. */
  private localPayee(worker: WorkerId): Address | null {
    const known = this.payees.get(worker);
    if (known !== undefined) return known;
    const accounts = this.options.chain.status().localPayees;
    const taken = [...this.payees.values()].filter((payee) => accounts.includes(payee)).length;
    return accounts.length === 0 ? null : (accounts[taken % accounts.length] ?? null);
  }

  private knows(worker: WorkerId, payee: Address): void {
    if (this.payees.get(worker) === payee) return;
    this.payees.set(worker, payee);
    this.options.write({ kind: 'wallet', worker, payee });
  }

  private show(worker: WorkerId, payee: Address, voucher: SignedVoucher | null): void {
    const isIn = this.present.get(payee)?.has(worker) === true;
    if (isIn) this.feed({ kind: 'presented', payee, voucher });
    else this.shown.set(worker, voucher);
    // Bounded as the waiting room is: who never comes in is forgotten with the next ones.
    if (this.shown.size > VOUCHER_LIMITS.shownVouchers) {
      for (const first of this.shown.keys()) {
        this.shown.delete(first);
        break;
      }
    }
  }

  private feed(event: PaymasterEvent): void {
    for (const effect of this.paymaster.step(event, this.options.now())) this.perform(effect);
  }

  private perform(effect: PaymasterEffect): void {
    const { write, chain } = this.options;
    switch (effect.kind) {
      case 'receipts':
        write(effect);
        return;
      case 'waive':
        write({ kind: 'waived', work: effect.work });
        this.tellOnce(
          'waived',
          'Work was done while there was no job to pay it from, more than is remembered: the oldest of it is not paid.',
        );
        return;
      case 'sign':
        chain.signVoucher(effect.voucher).then(
          (signature) => {
            this.told.delete('sign');
            this.feed({ kind: 'signed', voucher: effect.voucher, signature });
          },
          (error: unknown) => {
            this.tellOnce('sign', `A voucher was not signed: ${textOf(error)}`);
            this.feed({ kind: 'unsigned', voucher: effect.voucher });
          },
        );
        return;
      case 'store':
        write({ kind: 'voucher', voucher: effect.voucher, count: effect.count });
        return;
      case 'kept':
        write(effect);
        return;
      case 'send':
        this.options.send(effect.payee, effect.vouchers);
        return;
      case 'reserve':
        this.reserve(effect.caps);
        return;
      case 'settle':
        this.settlements.send(effect.settlement).then(
          () => {
            this.told.delete('settle');
          },
          (error: unknown) => {
            this.tellOnce('settle', `What is owed could not be settled: ${textOf(error)}`);
          },
        );
        return;
      case 'cover':
        this.options.onCover(effect.payee, effect.isCovered);
        return;
      case 'puzzled':
        this.puzzled(effect.payee, `is ${effect.how}`);
    }
  }

  private reserve(caps: readonly { readonly payee: Address; readonly cap: bigint }[]): void {
    this.options.chain.reserve(caps).then(
      () => {
        this.told.delete('reserve');
      },
      (error: unknown) => {
        this.tellOnce('reserve', `Nothing can be reserved for further work: ${textOf(error)}`);
        this.feed({ kind: 'unreserved', retryAtMs: this.options.now() + RESERVE_RETRY_MS });
      },
    );
  }

  private puzzled(payee: Address, why: string): void {
    const text = `The voucher that ${payee.slice(0, 10)}… showed ${why}; it is paid by what this ledger knows.`;
    this.tellOnce(`shown ${payee}`, text);
  }

  private tellOnce(topic: string, text: string, level: 'warning' | 'error' = 'warning'): void {
    if (this.told.has(topic)) return;
    this.told.add(topic);
    this.options.tell(level, text);
  }
}

function laneViewOf(lane: PayLane): LaneView {
  return {
    address: lane.payee,
    held: lane.heldAmount,
    vouchered: lane.lane?.vouchered ?? 0n,
    settled: lane.paid,
    cap: lane.cap,
  };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
