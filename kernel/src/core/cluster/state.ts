/**
 * @file What the scheduler knows: members, executions, units, leases, and who holds which resource. Plain data; the
 * bytes of tensors are the shell's. Resources (a program, a state at a version, a block of rows) are opaque numbers
 * here: the shell gives each immutable thing one id, and a thing that changes is a new resource.
 */
import type {
  Branded,
  ErrorCode,
  ExecutionId,
  LeaseId,
  UnitId,
  WorkerId,
} from '@ravenlab/protocol';
import { ENGINE_LIMITS, LIMITS } from '@ravenlab/protocol';
import { Ledger } from '../ledger/ledger.js';
import type { ClassPin } from './classes.js';
import type { Unfitness } from './fitness.js';
import type { Standing } from './standing.js';
import { Trace } from './transition.js';
import type { ExecutionStatus } from './executionTable.js';
import type { LeaseStatus } from './leaseTable.js';
import type { MemberStatus } from './memberTable.js';
import type { EngineUnitStatus } from './unitTable.js';
import type { UnitTimes } from './unitTimes.js';

export type ResourceId = Branded<number, 'ResourceId'>;

export interface Resource {
  readonly id: ResourceId;
  readonly sizeBytes: number;
}

/** Who may repeat what a worker answered, so that both answers can be compared. */
export interface AuditRule {
  readonly excludes: ReadonlySet<WorkerId>;
  readonly excludesOwners: ReadonlySet<string>;
  readonly isTrustedOnly: boolean;
  /** Null: any. */
  readonly bitClass: string | null;
}

/** One program of an execution, as the scheduler sees it. */
export interface ProgramSpec {
  readonly resource: Resource;
  readonly flops: number;
  /** What one unit of it earns, base units. */
  readonly amount: bigint;
}

export interface UnitSpec {
  /** Index into the execution's programs. */
  readonly program: number;
  /** Needed beside the common resources. */
  readonly resources: readonly Resource[];
  /** Bytes that its row of the RUN message takes. */
  readonly messageBytes: number;
  readonly samples: number;
}

export interface ExecutionSpec {
  readonly id: ExecutionId;
  /** The run whose bits it takes: its own, or the one that it looks at. Null: it stands alone. */
  readonly run: string | null;
  readonly programs: readonly ProgramSpec[];
  /** Needed by every unit, beside its program. */
  readonly common: readonly Resource[];
  /** In micro-shard order. */
  readonly units: readonly UnitSpec[];
  /** Results are only summed, or equal: a worker may add up a whole subtree of the sum and send that. */
  readonly isMergeable: boolean;
  /** Shards that were paid in an earlier life of the engine: the execution is repeated, their pay is not. */
  readonly paidShards?: ReadonlySet<number>;
  /** It repeats what was answered: its units are one group, done beside everything else, and decide nothing. */
  readonly audit?: AuditRule;
}

export interface Unit {
  readonly id: UnitId;
  readonly shard: number;
  readonly spec: UnitSpec;
  status: EngineUnitStatus;
  lease: Lease | null;
  /** A second lease of it, elsewhere; never without the first. */
  backup: Lease | null;
  /** Times that a worker answered without a result, and who it was. */
  attempts: number;
  refusedBy: Set<WorkerId> | null;
}

export interface Execution {
  readonly id: ExecutionId;
  readonly spec: ExecutionSpec;
  status: ExecutionStatus;
  readonly units: readonly Unit[];
  /** Shards that want a worker; taken from the end, so it is kept in falling order. */
  readonly queue: number[];
  unitsLeft: number;
  readonly submittedAtMs: number;
  readonly workers: Set<WorkerId>;
  /** The run whose class it takes. */
  readonly run: string | null;
  /** Of an execution that stands alone. */
  pin: ClassPin | null;
}

/** Units that are answered together: shards first … first + size - 1, a whole node of the sum's tree. */
export interface LeaseGroup {
  /** In shard order; the first one's answer is that of all. */
  readonly leases: readonly Lease[];
}

export interface Lease {
  readonly id: LeaseId;
  readonly worker: WorkerId;
  readonly unit: Unit;
  readonly execution: Execution;
  /** Expected compute time when it was granted, µs. */
  readonly expectedUs: number;
  group: LeaseGroup;
  status: LeaseStatus;
}

export interface Member {
  readonly id: WorkerId;
  /** Order of joining; breaks ties. */
  readonly seq: number;
  readonly incarnation: number;
  readonly joinedAtMs: number;
  readonly gflops: number;
  /** Workers of one class give the same bits. */
  readonly bitClass: string;
  readonly isTrusted: boolean;
  readonly owner: string;
  readonly heldLimitBytes: number;
  readonly windowBytes: number;
  status: MemberStatus;
  lastHeardMs: number;
  pingAtMs: number;
  /** Last grant to an idle member, or last answer: a lease's time runs from here. */
  progressAtMs: number;
  latencyUs: number;
  /** Estimate of what is on the way to it; the shell corrects it with every CREDIT. */
  inFlightBytes: number;
  /** Least recently used first. */
  readonly held: Map<ResourceId, number>;
  /** The last of `held`: units of one program in a row need not be moved behind it. */
  newest: ResourceId | null;
  heldBytes: number;
  /** Oldest first. */
  readonly leases: Map<LeaseId, Lease>;
  /** Sum of the expected times of its leases, µs. */
  queuedUs: number;
  /** Measured time of one unit, by program, µs. */
  readonly unitUs: Map<ResourceId, number>;
  /** Programs that it has too little memory for. */
  readonly unfit: Map<ResourceId, Unfitness>;
  /** Executions whose common resources it holds. */
  readonly ready: Set<ExecutionId>;
  needsInARow: number;
  /** Backups that were faster than it, in a row. */
  outrunInARow: number;
  /** On probation: it has the one unit that it is tried with, or had it and has not answered. */
  isTried: boolean;
  unitsDone: number;
  unitsFailed: number;
  samplesDone: number;
}

export interface ClusterCounters {
  leasesGranted: number;
  leasesLost: number;
  /** Of leasesGranted: those of a unit that had one, and those that were first. */
  backupsGranted: number;
  /** Of these, of the one unit that a newcomer is tried with: they cost nothing, and there is one for each that joins. */
  trialsDoubled: number;
  backupsWon: number;
  staleResults: number;
  unitsDone: number;
  unitsFailed: number;
  resourcesSent: number;
  needs: number;
}

export interface ClusterState {
  readonly ledger: Ledger;
  /** Present members only; who left is the shell's to remember. */
  readonly members: Map<WorkerId, Member>;
  /** In submission order, which is the order of their right to workers. */
  readonly executions: Map<ExecutionId, Execution>;
  readonly leases: Map<LeaseId, Lease>;
  /** Those of the executions that repeat others. */
  readonly audits: Set<Execution>;
  /** Workers that were here, least recently heard of first; bounded. */
  readonly standings: Map<WorkerId, Standing>;
  /** Workers that were caught cheating; banned, and what they did since the last image is not paid. */
  readonly caught: Set<WorkerId>;
  /** Wallets in lower case that were banned, with the worker that each was proved by; longest ago first, bounded. */
  readonly bannedWallets: Map<string, WorkerId>;
  /** Clean audits by worker, longest ago first; bounded. */
  readonly verified: Map<WorkerId, number>;
  /** Bit class of each run, oldest first; bounded. */
  readonly pins: Map<string, ClassPin>;
  /** The user allows results of different bit classes in one run. */
  mixesClasses: boolean;
  /** Of the programs that workers hold. */
  readonly unitTimes: Map<ResourceId, UnitTimes>;
  /** Earned by every unit granted that is no backup, spent by backups: keeps them below a share of all work. */
  backupCredit: number;
  /** When the next lease is late, while somebody could back it up. */
  lateAtMs: number | null;
  nextMemberSeq: number;
  nextLeaseId: number;
  nextUnitId: number;
  /** Some member may lack the memory for some program. */
  hasUnfit: boolean;
  /** Units in queues, over all executions but audits. */
  queuedUnits: number;
  /** Since when there is work and nobody to do it; null when there is somebody, or nothing to do. */
  starvedSinceMs: number | null;
  starvedTold: boolean;
  readonly counters: ClusterCounters;
  readonly trace: Trace;
}

/** Counters without the leases that are out: what an image of this moment knows nothing of is granted again after it. */
export function settledCounters({ counters, leases }: ClusterState): ClusterCounters {
  let backups = 0;
  for (const lease of leases.values()) if (lease.unit.backup === lease) backups++;
  const leasesGranted = counters.leasesGranted - leases.size;
  return { ...counters, leasesGranted, backupsGranted: counters.backupsGranted - backups };
}

/** Plain failure of an execution; the shell makes a RavenError of it. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly shard: number;
  /** Output that was not finite, else -1. */
  readonly output: number;
  /** The same might do in another form: for 'limit', cut into smaller micro-shards. */
  readonly retryable?: boolean;
}

/**
 * @param firstUnitId continues the numbering of an earlier engine with the same ledger.
 * @param firstLeaseId above every lease of earlier lives of the engine, whose answers may still come in.
 */
export function createCluster(firstUnitId = 1, firstLeaseId = 1): ClusterState {
  const trace = new Trace();
  return {
    ledger: new Ledger(trace),
    members: new Map(),
    executions: new Map(),
    leases: new Map(),
    audits: new Set(),
    standings: new Map(),
    caught: new Set(),
    bannedWallets: new Map(),
    verified: new Map(),
    pins: new Map(),
    mixesClasses: false,
    unitTimes: new Map(),
    backupCredit: 0,
    lateAtMs: null,
    nextMemberSeq: 0,
    nextLeaseId: firstLeaseId,
    nextUnitId: firstUnitId,
    hasUnfit: false,
    queuedUnits: 0,
    starvedSinceMs: null,
    starvedTold: false,
    counters: {
      leasesGranted: 0,
      leasesLost: 0,
      backupsGranted: 0,
      trialsDoubled: 0,
      backupsWon: 0,
      staleResults: 0,
      unitsDone: 0,
      unitsFailed: 0,
      resourcesSent: 0,
      needs: 0,
    },
    trace,
  };
}

/** What a member works on, or will first; null when it has nothing. */
export function oldestLease(member: Member): Lease | null {
  for (const lease of member.leases.values()) return lease;
  return null;
}

/** How long a member may go without a result while it has leases; ms. */
export function patienceMs(member: Member): number {
  const head = oldestLease(member);
  const headUs = head === null ? 0 : head.expectedUs * head.group.leases.length;
  const expectedMs = Math.ceil((headUs * ENGINE_LIMITS.stallFactor) / 1000);
  return Math.max(ENGINE_LIMITS.stallMs, expectedMs);
}

/** Time since a member's oldest lease began: when it was granted to an idle member, or the one before it was answered; µs. */
export function elapsedUs(member: Member, now: number): number {
  return member.leases.size === 0 ? 0 : (now - member.progressAtMs) * 1000;
}

/** Silence after which a member is suspect: it has missed two beats. */
export const QUIET_MS = Math.trunc(LIMITS.heartbeatMs * 2.5);
