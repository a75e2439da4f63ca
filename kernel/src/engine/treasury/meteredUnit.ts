/** @file A metered unit, and the work that it is to whoever is paid for it. */
import type { Address, Hash32, LeaseId, ProgramHash, WorkerId } from '@ravenlab/protocol';
import { NO_RECEIPT } from '@ravenlab/protocol';
import type { PaidKey } from '../../core/journal/paidBook.js';
import type { CommittedWork } from '../../core/ledger/payLane.js';

/** A metered unit, as the scheduler and the worker name it. */
export interface MeteredUnit extends PaidKey {
  readonly worker: WorkerId;
  readonly lease: LeaseId;
  readonly program: ProgramHash;
  readonly flops: number;
  readonly sizeBytes: number;
  readonly amount: bigint;
  /** Null from a local worker. */
  readonly digest: Hash32 | null;
}

/** Written out: it is done once for each unit, and a spread with a rest takes as long as all that follows. */
export function workOf(unit: MeteredUnit, payee: Address): CommittedWork {
  const { session, request, shard, worker, lease, program, flops, sizeBytes, amount } = unit;
  const result = unit.digest ?? NO_RECEIPT;
  return {
    ...{ session, request, shard, worker, payee, lease, program, flops, sizeBytes, amount, result },
  };
}
