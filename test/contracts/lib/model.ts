/**
 * @file What the escrow must do, a second time and in other words: plain TypeScript over maps, no chain and no
 * signatures (a paper is genuine or it is not). Errors are values, named as the contract names them.
 */
export const GRACE = 86_400n;
export const MAX_DURATION = 366n * 86_400n;
export const ZERO = '0x0000000000000000000000000000000000000000';
const UINT112_MAX = 2n ** 112n - 1n;

export interface Voucher {
  readonly job: string;
  readonly payee: string;
  readonly cumulative: bigint;
  readonly seq: bigint;
  readonly ledgerHead: string;
}

export interface Release {
  readonly job: string;
  readonly payee: string;
  readonly cap: bigint;
  readonly nonce: bigint;
}

/** What is presented, and what was signed by whom: a forgery is where the two differ. */
export interface Paper<T> {
  readonly shown: T;
  readonly signed: T;
  readonly signer: string;
}

export type Operation =
  | {
      readonly kind: 'open';
      readonly from: string;
      readonly id: string;
      readonly salt: string;
      readonly token: string;
      readonly signer: string;
      readonly amount: bigint;
      readonly expiry: bigint;
    }
  | {
      readonly kind: 'topUp';
      readonly from: string;
      readonly id: string;
      readonly amount: bigint;
      readonly expiry: bigint;
    }
  | {
      readonly kind: 'reserve' | 'settle';
      readonly from: string;
      readonly id: string;
      readonly payees: readonly string[];
      readonly amounts: readonly bigint[];
      readonly ledgerHead: string;
    }
  | {
      readonly kind: 'redeem';
      readonly from: string;
      readonly id: string;
      readonly vouchers: readonly Paper<Voucher>[];
    }
  | {
      readonly kind: 'release';
      readonly from: string;
      readonly id: string;
      readonly release: Paper<Release>;
    }
  | { readonly kind: 'refund'; readonly from: string; readonly id: string };

export interface ModelEvent {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

export type Outcome = { readonly error: string } | { readonly events: readonly ModelEvent[] };

export interface ModelLane {
  cap: bigint;
  paid: bigint;
  nonce: bigint;
}

export interface ModelJob {
  readonly id: string;
  readonly payer: string;
  readonly signer: string;
  readonly token: ModelToken;
  readonly lanes: Map<string, ModelLane>;
  expiry: bigint;
  free: bigint;
  reserved: bigint;
  deposited: bigint;
  refunded: bigint;
  isRefundedAfterGrace: boolean;
}

/** Keeps `feePerCent` of every transfer, and refuses whoever is on its list. */
export interface ModelToken {
  readonly address: string;
  readonly feePerCent: bigint;
  readonly balances: Map<string, bigint>;
  readonly listed: Set<string>;
}

/** Thrown inside the model only; `apply` undoes what was done, and returns it as a value. */
class Refusal extends Error {}

function refuseIf(condition: boolean, error: string): void {
  if (condition) throw new Refusal(error);
}

export class EscrowModel {
  readonly address: string;
  readonly tokens: ReadonlyMap<string, ModelToken>;
  readonly jobs = new Map<string, ModelJob>();
  /** Block time, seconds. */
  now: bigint;
  private events: ModelEvent[] = [];
  private undo: (() => void)[] = [];

  constructor(address: string, tokens: readonly ModelToken[], now: bigint) {
    this.address = address;
    this.tokens = new Map(tokens.map((token) => [token.address, token]));
    this.now = now;
  }

  /** Does it, or says why not; a refused operation changes nothing. */
  apply(operation: Operation): Outcome {
    this.events = [];
    this.undo = [];
    try {
      this.perform(operation);
      return { events: this.events };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      for (const step of this.undo.reverse()) step();
      return { error: error.message };
    }
  }

  lane(id: string, payee: string): Readonly<ModelLane> {
    return this.jobs.get(id)?.lanes.get(payee) ?? { cap: 0n, paid: 0n, nonce: 0n };
  }

  /** What must hold between any two operations, of a job and its token; a sentence for each thing that does not. */
  violations(id: string): string[] {
    const job = this.jobs.get(id);
    if (job === undefined) return [];
    const found: string[] = [];
    const lanes = [...job.lanes.values()];
    const sum = (value: (lane: ModelLane) => bigint) =>
      lanes.reduce((total, lane) => total + value(lane), 0n);
    const [caps, paid] = [sum((lane) => lane.cap), sum((lane) => lane.paid)];
    if (caps > job.deposited) found.push(`caps ${caps} > deposits ${job.deposited}`);
    if (lanes.some((lane) => lane.paid > lane.cap)) found.push('a lane was paid more than its cap');
    if (!job.isRefundedAfterGrace && caps - paid !== job.reserved) {
      found.push(`reserved ${job.reserved}, but caps - paid is ${caps - paid}`);
    }
    const accounted = job.free + job.reserved + paid + job.refunded;
    if (accounted !== job.deposited) found.push(`${accounted} accounted of ${job.deposited}`);
    let owed = 0n;
    for (const { token, free, reserved } of this.jobs.values()) {
      if (token === job.token) owed += free + reserved;
    }
    const held = job.token.balances.get(this.address) ?? 0n;
    if (held !== owed) found.push(`the escrow holds ${held}, but owes ${owed}`);
    return found;
  }

  private perform(operation: Operation): void {
    switch (operation.kind) {
      case 'open':
        return this.open(operation);
      case 'topUp':
        return this.topUp(operation);
      case 'reserve':
        return this.reserve(operation);
      case 'settle':
        return this.settle(operation);
      case 'redeem':
        return this.redeem(operation);
      case 'release':
        return this.release(operation);
      case 'refund':
        return this.refund(operation);
    }
  }

  private open(op: Operation & { kind: 'open' }): void {
    refuseIf(op.signer === ZERO, 'ZeroAddress');
    refuseIf(op.expiry <= this.now || op.expiry > this.now + MAX_DURATION, 'BadExpiry');
    refuseIf(this.jobs.has(op.id), 'JobExists');
    const token = this.tokens.get(op.token);
    if (token === undefined) throw new Error(`the model has no token ${op.token}`);
    const credited = this.transfer(token, op.from, this.address, op.amount);
    this.jobs.set(op.id, {
      id: op.id,
      payer: op.from,
      signer: op.signer,
      token,
      lanes: new Map(),
      expiry: op.expiry,
      free: credited,
      reserved: 0n,
      deposited: credited,
      refunded: 0n,
      isRefundedAfterGrace: false,
    });
    const { id, from: payer, signer, expiry } = op;
    this.emit('Opened', { id, payer, token: op.token, signer, expiry, credited });
  }

  private topUp(op: Operation & { kind: 'topUp' }): void {
    const job = this.jobOfPayer(op);
    this.refuseIfClosed(job);
    if (op.expiry !== job.expiry) {
      refuseIf(op.expiry < job.expiry || op.expiry > this.now + MAX_DURATION, 'BadExpiry');
    }
    const credited = this.transfer(job.token, op.from, this.address, op.amount);
    job.expiry = op.expiry;
    job.free += credited;
    job.deposited += credited;
    this.emit('Topped', { id: op.id, credited, expiry: op.expiry });
  }

  private reserve(op: Operation & { kind: 'reserve' | 'settle' }): void {
    const job = this.jobOfPayer(op);
    refuseIf(op.payees.length === 0, 'EmptyBatch');
    refuseIf(op.payees.length !== op.amounts.length, 'LengthMismatch');
    refuseIf(this.now > job.expiry, 'Expired');
    op.payees.forEach((payee, index) => {
      refuseIf(payee === ZERO, 'ZeroAddress');
      refuseIf(payee === this.address, 'PayeeIsEscrow');
      const lane = this.changeLane(job, payee);
      const added = op.amounts[index] ?? 0n;
      refuseIf(lane.cap + added > UINT112_MAX, 'SafeCastOverflowedUintDowncast');
      lane.cap += added;
      lane.nonce++;
      this.emit('Reserved', { id: op.id, payee, added, cap: lane.cap, nonce: lane.nonce });
    });
    const total = op.amounts.reduce((sum, amount) => sum + amount, 0n);
    refuseIf(total > job.free, 'InsufficientFree');
    job.free -= total;
    job.reserved += total;
  }

  private settle(op: Operation & { kind: 'reserve' | 'settle' }): void {
    const job = this.jobOfPayer(op);
    this.refuseIfClosed(job);
    refuseIf(op.payees.length === 0, 'EmptyBatch');
    refuseIf(op.payees.length !== op.amounts.length, 'LengthMismatch');
    const reasons = op.payees.map((payee, index) =>
      this.pay(job, payee, op.amounts[index] ?? 0n, op.ledgerHead),
    );
    if (!reasons.includes(null)) throw new Refusal(reasons[0] ?? '');
  }

  private redeem(op: Operation & { kind: 'redeem' }): void {
    const job = this.openJob(op.id);
    refuseIf(op.vouchers.length === 0, 'EmptyBatch');
    const reasons = op.vouchers.map((paper) => {
      const { payee, cumulative, ledgerHead } = paper.shown;
      refuseIf(!isGenuine(paper, { ...paper.shown, job: op.id }, job.signer), 'BadSig');
      return this.pay(job, payee, cumulative, ledgerHead);
    });
    if (!reasons.includes(null)) throw new Refusal(reasons[0] ?? '');
  }

  private release(op: Operation & { kind: 'release' }): void {
    const job = this.openJob(op.id);
    const { payee, cap } = op.release.shown;
    const lane = this.changeLane(job, payee);
    refuseIf(cap >= lane.cap || cap < lane.paid, 'BadRelease');
    const meant = { job: op.id, payee, cap, nonce: lane.nonce };
    refuseIf(!isGenuine(op.release, meant, payee), 'BadSig');
    const freed = lane.cap - cap;
    lane.cap = cap;
    lane.nonce++;
    job.reserved -= freed;
    job.free += freed;
    this.emit('Released', { id: op.id, payee, cap, freed, nonce: lane.nonce });
  }

  private refund(op: Operation & { kind: 'refund' }): void {
    const job = this.jobOfPayer(op);
    const isClosed = this.now > job.expiry + GRACE;
    const { free } = job;
    const reserved = isClosed ? job.reserved : 0n;
    this.transfer(job.token, this.address, job.payer, free + reserved);
    job.free = 0n;
    job.reserved -= reserved;
    job.refunded += free + reserved;
    job.isRefundedAfterGrace ||= isClosed;
    this.emit('Refunded', { id: op.id, free, reserved });
  }

  /** Null when paid, else the error that it would have been alone. */
  private pay(job: ModelJob, payee: string, cumulative: bigint, ledgerHead: string): string | null {
    const { cap, paid } = this.lane(job.id, payee);
    const skip = (reason: string): string => {
      this.emit('Skipped', { id: job.id, payee, cumulative, reason });
      return reason;
    };
    if (cumulative <= paid) return skip('Stale');
    if (cumulative > cap) return skip('OverCap');
    if (job.token.listed.has(payee)) return skip('TransferFailed');
    const delta = cumulative - paid;
    this.changeLane(job, payee).paid = cumulative;
    const { reserved } = job;
    this.undo.push(() => (job.reserved = reserved));
    job.reserved -= delta;
    this.transfer(job.token, this.address, payee, delta);
    this.emit('Paid', { id: job.id, payee, cumulative, delta, ledgerHead });
    return null;
  }

  /** What arrives, after the token's fee. */
  private transfer(token: ModelToken, from: string, to: string, amount: bigint): bigint {
    const { balances } = token;
    const fee = (amount * token.feePerCent) / 100n;
    const moves: readonly (readonly [string, bigint])[] = [
      [from, -amount],
      [token.address, fee],
      [to, amount - fee],
    ];
    for (const [account, change] of moves) {
      const before = balances.get(account) ?? 0n;
      this.undo.push(() => balances.set(account, before));
      balances.set(account, before + change);
    }
    return amount - fee;
  }

  /** The lane to be written; a refusal later puts it back. */
  private changeLane(job: ModelJob, payee: string): ModelLane {
    const lane = { ...this.lane(job.id, payee) };
    const before = job.lanes.get(payee);
    this.undo.push(() => {
      if (before === undefined) job.lanes.delete(payee);
      else job.lanes.set(payee, before);
    });
    job.lanes.set(payee, lane);
    return lane;
  }

  private openJob(id: string): ModelJob {
    const job = this.jobs.get(id);
    if (job === undefined) throw new Refusal('NoSuchJob');
    this.refuseIfClosed(job);
    return job;
  }

  private jobOfPayer(op: { readonly id: string; readonly from: string }): ModelJob {
    const job = this.jobs.get(op.id);
    if (job === undefined) throw new Refusal('NoSuchJob');
    refuseIf(job.payer !== op.from, 'NotPayer');
    return job;
  }

  private refuseIfClosed(job: ModelJob): void {
    refuseIf(this.now > job.expiry + GRACE, 'Closed');
  }

  private emit(name: string, args: Readonly<Record<string, unknown>>): void {
    this.events.push({ name, args });
  }
}

/** What the chain will hash is what was signed, by whom it must be. */
function isGenuine<T extends object>(paper: Paper<T>, meant: T, signer: string): boolean {
  const keys = Object.keys(meant) as (keyof T)[];
  return paper.signer === signer && keys.every((key) => paper.signed[key] === meant[key]);
}
