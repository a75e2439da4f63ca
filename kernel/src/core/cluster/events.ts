/** @file What happens to the cluster and what it answers: the whole interface of the scheduler machine. Plain data. */
import type { ExecutionId, LeaseId, UnitStatus, WireError, WorkerId } from '@ravenlab/protocol';
import type { LedgerEntry } from '../ledger/ledger.js';
import type { ExecutionSpec, Failure, Resource, ResourceId } from './state.js';

/** One unit of a DONE message. */
export interface UnitResult {
  readonly lease: LeaseId;
  readonly status: UnitStatus;
  readonly computeUs: number;
  /** Output that is not finite; -1 otherwise. */
  readonly output: number;
  readonly error: WireError | null;
}

export interface Joining {
  readonly worker: WorkerId;
  readonly incarnation: number;
  readonly gflops: number;
  /** Workers of one class give the same bits. */
  readonly bitClass: string;
  /** Its results need no audit: it is the user's own. */
  readonly isTrusted: boolean;
  /** Who runs it: two workers of one owner do not vouch for each other. */
  readonly owner: string;
  readonly memoryBytes: number;
  readonly windowBytes: number;
  /** What it still holds of this engine's. */
  readonly held: readonly Resource[];
}

export type ClusterEvent =
  | ({ readonly kind: 'joined' } & Joining)
  /** `isOrderly`: it said that it goes. */
  | {
      readonly kind: 'left';
      readonly worker: WorkerId;
      readonly reason: string;
      readonly isOrderly: boolean;
    }
  /** Any message or beat of a member. */
  | { readonly kind: 'heard'; readonly worker: WorkerId; readonly latencyUs: number | null }
  | { readonly kind: 'submitted'; readonly spec: ExecutionSpec }
  | { readonly kind: 'done'; readonly worker: WorkerId; readonly results: readonly UnitResult[] }
  /** `inFlightBytes`: sent and not yet consumed, counted by the shell. */
  | { readonly kind: 'credit'; readonly worker: WorkerId; readonly inFlightBytes: number }
  | { readonly kind: 'need'; readonly worker: WorkerId; readonly resources: readonly ResourceId[] }
  /** It has these without being sent them, by the time that it needs them: it makes them itself. */
  | {
      readonly kind: 'making';
      readonly worker: WorkerId;
      readonly resources: readonly Resource[];
    }
  /** Sum and update are made (`failure` null), or refused. */
  | { readonly kind: 'reduced'; readonly execution: ExecutionId; readonly failure: Failure | null }
  | { readonly kind: 'cancelled'; readonly execution: ExecutionId }
  /** Nobody will ask for these again. */
  | { readonly kind: 'retired'; readonly resources: readonly ResourceId[] }
  /** Finish what you have, then nothing. */
  | { readonly kind: 'drain'; readonly worker: WorkerId }
  /** Stop now: what it has goes to others, at once. Holds when it comes back. */
  | { readonly kind: 'pause'; readonly worker: WorkerId }
  | { readonly kind: 'resume'; readonly worker: WorkerId }
  /** Ends its membership and refuses it from now on; of any worker, here or not. `isCaught`: for a cheat. */
  | {
      readonly kind: 'ban';
      readonly worker: WorkerId;
      readonly isCaught?: boolean;
      /** The wallet that it has proved: banned with it, whatever id it comes by. */
      readonly wallet?: string | null;
    }
  | { readonly kind: 'unban'; readonly worker: WorkerId }
  /** Whether a run may take results of different bit classes. */
  | { readonly kind: 'mixClasses'; readonly isAllowed: boolean }
  | { readonly kind: 'tick' };

export interface GrantedLease {
  readonly lease: LeaseId;
  readonly shard: number;
}

/** Every effect is a consequence of the event with number `cause`. Order matters: carry them out as they come. */
export type ClusterEffect = { readonly cause: number } & (
  | {
      /** Send these, before the run that follows. */
      readonly kind: 'provide';
      readonly worker: WorkerId;
      readonly resources: readonly ResourceId[];
    }
  | {
      readonly kind: 'run';
      readonly worker: WorkerId;
      readonly execution: ExecutionId;
      /** All of one program. */
      readonly program: number;
      /** Each is answered as one; most are of one unit. */
      readonly groups: readonly (readonly GrantedLease[])[];
      readonly leaseMs: number;
    }
  | { readonly kind: 'drop'; readonly worker: WorkerId; readonly resources: readonly ResourceId[] }
  | { readonly kind: 'revoke'; readonly worker: WorkerId; readonly leases: readonly LeaseId[] }
  | { readonly kind: 'revokeExecution'; readonly worker: WorkerId; readonly execution: ExecutionId }
  | {
      /** Take the result of `results[index]` of the event: it is that of these shards, now and for ever. */
      readonly kind: 'accept';
      readonly worker: WorkerId;
      readonly execution: ExecutionId;
      readonly shard: number;
      /** Shards that are summed in it, from `shard` on. */
      readonly count: number;
      readonly index: number;
      /** Of a stranger's result: what it answered. Empty for one that needs no audit. */
      readonly leases: readonly LeaseId[];
    }
  | {
      /** The unit of this shard is paid. */
      readonly kind: 'meter';
      readonly entry: LedgerEntry;
      readonly execution: ExecutionId;
      readonly shard: number;
      /** Index into the execution's programs. */
      readonly program: number;
      /** It is part of `results[index]` of the event. */
      readonly index: number;
    }
  /** Every shard is in: finish the sum, then answer with `reduced`. */
  | { readonly kind: 'complete'; readonly execution: ExecutionId; readonly workers: number }
  | { readonly kind: 'committed'; readonly execution: ExecutionId }
  | { readonly kind: 'failed'; readonly execution: ExecutionId; readonly failure: Failure }
  | { readonly kind: 'expel'; readonly worker: WorkerId; readonly reason: string }
  | { readonly kind: 'ping'; readonly worker: WorkerId }
  /** A drained worker has nothing left. */
  | { readonly kind: 'drained'; readonly worker: WorkerId }
  | {
      /** Work waits and nobody may do it: nobody is here, or, with a class, nobody of the class that its run has. */
      readonly kind: 'starved';
      readonly sinceMs: number;
      readonly bitClass: string | null;
    }
  /** What `starved` told is over: somebody works on it, or it is not wanted any more. */
  | { readonly kind: 'relieved' }
  /** A member failed too often and waits for `forMs`. */
  | { readonly kind: 'quarantined'; readonly worker: WorkerId; readonly forMs: number }
);

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
/** An effect before it knows its cause. */
export type EffectBody = DistributiveOmit<ClusterEffect, 'cause'>;
