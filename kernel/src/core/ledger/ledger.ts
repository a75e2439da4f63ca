/**
 * @file Who is owed what: a pending transfer for every lease, posted once when the unit's result is taken, else void.
 * The names are TigerBeetle's. Money is bigint base units. Nothing here is signed or settled.
 */
import type { LeaseId, UnitId, WorkerId } from '@ravenlab/protocol';
import type { Table, Trace } from '../cluster/transition.js';
import { invariant, nextStatus } from '../cluster/transition.js';

export type TransferStatus = 'pending' | 'posted' | 'void';
export type TransferCause = 'post' | 'void';

export const TRANSFER_TABLE = {
  pending: { post: 'posted', void: 'void' },
  posted: {},
  void: {},
} as const satisfies Record<TransferStatus, Partial<Record<TransferCause, TransferStatus>>>;

interface Transfer {
  readonly lease: LeaseId;
  readonly unit: UnitId;
  readonly worker: WorkerId;
  readonly amount: bigint;
  status: TransferStatus;
}

/** A committed unit, as it is journaled. `unit` is unique: a second entry of it is refused everywhere. */
export interface LedgerEntry {
  readonly unit: UnitId;
  /** Under which it was delivered. */
  readonly lease: LeaseId;
  readonly worker: WorkerId;
  readonly flops: number;
  readonly amount: bigint;
}

export interface Account {
  posted: bigint;
  pending: bigint;
  units: number;
}

export class Ledger {
  private readonly open = new Map<LeaseId, Transfer>();
  /** Units paid, of executions that still run: a unit of an ended execution can get no lease. */
  private readonly paid = new Set<UnitId>();
  private readonly byWorker = new Map<WorkerId, Account>();
  private total = 0n;
  /** Nothing was booked since the last check. */
  private isChecked = false;
  private readonly trace: Trace;

  constructor(trace: Trace) {
    this.trace = trace;
  }

  get accounts(): ReadonlyMap<WorkerId, Readonly<Account>> {
    return this.byWorker;
  }

  get totalPosted(): bigint {
    return this.total;
  }

  get pendingCount(): number {
    return this.open.size;
  }

  /** Opening balance from the journal of an earlier engine. */
  restore(worker: WorkerId, posted: bigint, units: number): void {
    const account = this.accountOf(worker);
    this.isChecked = false;
    account.posted += posted;
    account.units += units;
    this.total += posted;
  }

  /** Reserves the price of a unit for the worker that leases it. */
  reserve(lease: LeaseId, unit: UnitId, worker: WorkerId, amount: bigint): void {
    invariant(!this.open.has(lease), () => `lease ${String(lease)} already has a transfer`);
    this.open.set(lease, { lease, unit, worker, amount, status: 'pending' });
    this.isChecked = false;
    this.accountOf(worker).pending += amount;
  }

  /** Pays a unit, once. */
  post(lease: LeaseId, flops: number): LedgerEntry {
    const transfer = this.close(lease, 'post');
    invariant(!this.paid.has(transfer.unit), () => `unit ${String(transfer.unit)} is paid already`);
    this.paid.add(transfer.unit);
    const account = this.accountOf(transfer.worker);
    account.posted += transfer.amount;
    account.units++;
    this.total += transfer.amount;
    const { unit, worker, amount } = transfer;
    return { unit, lease, worker, flops, amount };
  }

  /** Settles a unit that was paid in an earlier life of the engine, whose execution is repeated: nobody is paid again. */
  repeat(lease: LeaseId): void {
    const { unit } = this.close(lease, 'void');
    invariant(!this.paid.has(unit), () => `unit ${String(unit)} is paid already`);
    this.paid.add(unit);
  }

  /** Gives the reservation back. */
  void(lease: LeaseId): void {
    this.close(lease, 'void');
  }

  /** Forgets which units were paid; their execution has ended and none of them can be leased again. */
  forget(units: Iterable<{ readonly id: UnitId }>): void {
    for (const unit of units) this.paid.delete(unit.id);
  }

  /** Of executions that still run. */
  get paidCount(): number {
    return this.paid.size;
  }

  isPaid(unit: UnitId): boolean {
    return this.paid.has(unit);
  }

  /** @throws InvariantError when the books do not balance. */
  check(): void {
    if (this.isChecked) return;
    let posted = 0n;
    let pending = 0n;
    for (const account of this.byWorker.values()) {
      posted += account.posted;
      pending += account.pending;
    }
    let open = 0n;
    for (const transfer of this.open.values()) open += transfer.amount;
    invariant(posted === this.total, 'the accounts do not add up to the total posted');
    invariant(pending === open, 'the accounts do not add up to the pending transfers');
    this.isChecked = true;
  }

  private close(lease: LeaseId, cause: TransferCause): Transfer {
    const transfer = this.open.get(lease);
    invariant(transfer !== undefined, () => `lease ${String(lease)} has no pending transfer`);
    const table: Table<TransferStatus, TransferCause> = TRANSFER_TABLE;
    transfer.status = nextStatus(this.trace, 'transfer', table, transfer.status, cause, lease);
    this.open.delete(lease);
    this.isChecked = false;
    this.accountOf(transfer.worker).pending -= transfer.amount;
    return transfer;
  }

  private accountOf(worker: WorkerId): Account {
    let account = this.byWorker.get(worker);
    if (account === undefined) {
      account = { posted: 0n, pending: 0n, units: 0 };
      this.byWorker.set(worker, account);
    }
    return account;
  }
}
