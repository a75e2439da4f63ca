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
import { Trace } from './transition.js';
import type { ExecutionStatus } from './executionTable.js';
import type { LeaseStatus } from './leaseTable.js';
import type { MemberStatus } from './memberTable.js';
import type { EngineUnitStatus } from './unitTable.js';

export type ResourceId = Branded<number, 'ResourceId'>;

export interface Resource {
  readonly id: ResourceId;
  readonly sizeBytes: number;
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
  readonly programs: readonly ProgramSpec[];
  /** Needed by every unit, beside its program. */
  readonly common: readonly Resource[];
  /** In micro-shard order. */
  readonly units: readonly UnitSpec[];
  /** Results are only summed, or equal: a worker may add up a whole subtree of the sum and send that. */
  readonly isMergeable: boolean;
  /** Shards that were paid in an earlier life of the engine: the execution is repeated, their pay is not. */
  readonly paidShards?: ReadonlySet<number>;
}

export interface Unit {
  readonly id: UnitId;
  readonly shard: number;
  readonly spec: UnitSpec;
  status: EngineUnitStatus;
  lease: Lease | null;
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
  heldBytes: number;
  /** Oldest first. */
  readonly leases: Map<LeaseId, Lease>;
  /** Sum of the expected times of its leases, µs. */
  queuedUs: number;
  /** Measured time of one unit, by program, µs. */
  readonly unitUs: Map<ResourceId, number>;
  /** Executions whose common resources it holds. */
  readonly ready: Set<ExecutionId>;
  needsInARow: number;
  unitsDone: number;
  unitsFailed: number;
  samplesDone: number;
}

export interface ClusterCounters {
  leasesGranted: number;
  leasesLost: number;
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
  nextMemberSeq: number;
  nextLeaseId: number;
  nextUnitId: number;
  /** Units in queues, over all executions. */
  queuedUnits: number;
  /** Since when there is work and nobody to do it; null when there is somebody, or nothing to do. */
  starvedSinceMs: number | null;
  starvedTold: boolean;
  readonly counters: ClusterCounters;
  readonly trace: Trace;
}

/** Plain failure of an execution; the shell makes a RavenError of it. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly shard: number;
  /** Output that was not finite, else -1. */
  readonly output: number;
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
    nextMemberSeq: 0,
    nextLeaseId: firstLeaseId,
    nextUnitId: firstUnitId,
    queuedUnits: 0,
    starvedSinceMs: null,
    starvedTold: false,
    counters: {
      leasesGranted: 0,
      leasesLost: 0,
      staleResults: 0,
      unitsDone: 0,
      unitsFailed: 0,
      resourcesSent: 0,
      needs: 0,
    },
    trace,
  };
}

/** How long a member may go without a result while it has leases; ms. */
export function patienceMs(member: Member): number {
  const head = member.leases.values().next().value;
  const headUs = (head?.expectedUs ?? 0) * (head?.group.leases.length ?? 1);
  const expectedMs = Math.ceil((headUs * ENGINE_LIMITS.stallFactor) / 1000);
  return Math.max(ENGINE_LIMITS.stallMs, expectedMs);
}

/** Silence after which a member is suspect: it has missed two beats. */
export const QUIET_MS = Math.trunc(LIMITS.heartbeatMs * 2.5);
