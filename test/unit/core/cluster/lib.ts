/** @file A cluster to poke at: events in, effects out, time by hand. */
import type { ExecutionId, LeaseId, WorkerId } from '@ravenlab/protocol';
import type { ClusterEffect, ClusterEvent } from '../../../../kernel/src/core/cluster/events.js';
import { checkInvariants } from '../../../../kernel/src/core/cluster/invariants.js';
import { deadline, step } from '../../../../kernel/src/core/cluster/machine.js';
import type {
  ClusterState,
  ExecutionSpec,
  Resource,
  ResourceId,
} from '../../../../kernel/src/core/cluster/state.js';
import { createCluster } from '../../../../kernel/src/core/cluster/state.js';

export const worker = (name: string): WorkerId => name as WorkerId;

export function resource(id: number, sizeBytes = 100): Resource {
  return { id: id as ResourceId, sizeBytes };
}

export function execution(id: number, shards: number, common: Resource[] = []): ExecutionSpec {
  return {
    id: id as ExecutionId,
    programs: [{ resource: resource(1), flops: 2_000_000, amount: 5n }],
    common,
    units: Array.from({ length: shards }, () => ({
      program: 0,
      resources: [],
      messageBytes: 10,
      samples: 32,
    })),
  };
}

export class ClusterDriver {
  readonly state: ClusterState = createCluster();
  nowMs = 0;
  private events = 0;

  /** Applies one event, checks every invariant, returns the effects without their cause. */
  apply(event: ClusterEvent): ClusterEffect[] {
    const effects = step(this.state, event, ++this.events, this.nowMs);
    checkInvariants(this.state);
    for (const effect of effects) expect(effect.cause).toBe(this.events);
    return effects;
  }

  join(name: string, over: { gflops?: number; memoryBytes?: number } = {}): ClusterEffect[] {
    return this.apply({
      kind: 'joined',
      worker: worker(name),
      incarnation: 1,
      gflops: 10,
      memoryBytes: 1_000_000,
      windowBytes: 1_000_000,
      held: [],
      ...over,
    });
  }

  done(name: string, lease: LeaseId, computeUs = 1_000): ClusterEffect[] {
    const result = { lease, status: 'ok', computeUs, output: -1, error: null } as const;
    return this.apply({ kind: 'done', worker: worker(name), results: [result] });
  }

  fail(name: string, lease: LeaseId, status: 'failed' | 'nonFinite'): ClusterEffect[] {
    const error = {
      code: 'limit',
      message: 'no memory',
      fault: 'remote',
      retryable: true,
    } as const;
    const result = {
      lease,
      status,
      computeUs: 10,
      output: status === 'nonFinite' ? 2 : -1,
      error: status === 'failed' ? error : null,
    } as const;
    return this.apply({ kind: 'done', worker: worker(name), results: [result] });
  }

  /** Goes to a time, with the ticks that the machine asks for on the way. */
  advanceTo(nowMs: number): ClusterEffect[] {
    const effects: ClusterEffect[] = [];
    for (;;) {
      const at = deadline(this.state);
      if (at === null || at > nowMs) break;
      this.nowMs = Math.max(this.nowMs, at);
      effects.push(...this.apply({ kind: 'tick' }));
    }
    this.nowMs = nowMs;
    return effects;
  }

  leasesOf(name: string): LeaseId[] {
    return [...(this.state.members.get(worker(name))?.leases.keys() ?? [])];
  }
}

export const kinds = (effects: readonly ClusterEffect[]): string[] =>
  effects.map((effect) => effect.kind);

export function runsOf(effects: readonly ClusterEffect[], name: string): number[] {
  return effects.flatMap((effect) =>
    effect.kind === 'run' && effect.worker === worker(name)
      ? effect.leases.map((lease) => lease.shard)
      : [],
  );
}
