/** @file A request in the engine's queue: who asked, what it belongs to, and why it is refused. Runs nothing. */
import type { EngineReply, ExecutionPlan } from '@ravenlab/protocol';
import { ClusterError, NumericError, RavenError } from '@ravenlab/protocol';
import type { Failure } from '../core/cluster/state.js';
import type { RequestPoint } from '../core/journal/paidBook.js';
import type { KernelRequest } from './kernelWire.js';

/** Commands never wait in this queue. */
export type QueuedRequest = Exclude<KernelRequest, { kind: 'command' }>;

export interface Ticket {
  /** Its place in the order of all requests. */
  readonly point: RequestPoint;
  readonly epoch: number;
  /** An earlier life of the engine answered it: nobody can stop it any more, and it may not fail because of workers. */
  readonly isRepeat: boolean;
  readonly request: QueuedRequest;
  readonly resolve: (reply: EngineReply) => void;
  readonly reject: (error: unknown) => void;
}

/** A run as one cell trains it. */
export interface RunOfCell {
  readonly runId: string;
  readonly epoch: number;
}

/** Null for what is no training step. */
export function runOfCell({ epoch, request }: Ticket): RunOfCell | null {
  if (request.kind !== 'execute' || request.plan.step === null) return null;
  return { runId: request.plan.step.runId, epoch };
}

/** Whether both are the same run in the same cell. */
export function isSameRun(a: RunOfCell | null, b: RunOfCell | null): boolean {
  return a !== null && b !== null && a.runId === b.runId && a.epoch === b.epoch;
}

export function stopError(why: string): RavenError {
  return new RavenError('interrupted', `${why}; weights are those of the last whole step`);
}

/** A version that was never committed. */
export function noVersion(version: number, committed: number): ClusterError {
  return new ClusterError(
    `weights version ${String(version)} does not exist: the step that should have made it failed or was stopped; the last one is ${String(committed)}`,
  );
}

/** Newest version that a plan reads. */
export function namedVersion(plan: ExecutionPlan): number {
  let version = 0;
  for (const input of plan.inputs) {
    if (input.kind === 'state') version = Math.max(version, input.version);
  }
  return version;
}

/** The error of an execution, for who asked for it. */
export function errorOf(failure: Failure, plan: ExecutionPlan): RavenError {
  const { code, message, shard, output, retryable = false } = failure;
  const where = plan.step === null ? '' : `step ${String(plan.step.step)}: `;
  if (code === 'numeric') {
    const meta = { shard, output, step: plan.step?.step ?? null };
    const advice =
      'weights are unchanged; lower the learning rate, clip gradients, or look for log(0) and x/0';
    return new NumericError(`${where}${message}; ${advice}`, meta);
  }
  return new RavenError(code, `${where}${message}`, {
    ...{ fault: 'remote', retryable },
    meta: { shard },
  });
}
