/** @file A scheduler under test: events in, effects out, invariants after every step. */
import type { ExecutionId, LeaseId, WorkerId } from '@ravenlab/protocol';
import type {
  ClusterEffect,
  ClusterEvent,
  UnitResult,
} from '../../../../kernel/src/core/cluster/events.js';
import { checkInvariants } from '../../../../kernel/src/core/cluster/invariants.js';
import { step } from '../../../../kernel/src/core/cluster/machine.js';
import type {
  ClusterState,
  ExecutionSpec,
  Resource,
  ResourceId,
} from '../../../../kernel/src/core/cluster/state.js';
import { createCluster } from '../../../../kernel/src/core/cluster/state.js';
import { standingOf } from '../../../../kernel/src/core/cluster/standing.js';

export const MIB = 1024 * 1024;
export const worker = (name: string): WorkerId => name as WorkerId;
export const resource = (id: number, sizeBytes = 1000): Resource => ({
  id: id as ResourceId,
  sizeBytes,
});

export interface SpecOptions {
  readonly id?: number;
  readonly units?: number;
  readonly common?: readonly Resource[];
  readonly perUnit?: (shard: number) => readonly Resource[];
  readonly program?: Resource;
  readonly flops?: number;
  readonly isMergeable?: boolean;
  readonly run?: string;
}

export interface JoinOptions {
  readonly isTrusted?: boolean;
  readonly owner?: string;
  readonly gflops?: number;
  readonly memoryBytes?: number;
  readonly windowBytes?: number;
  readonly incarnation?: number;
  readonly bitClass?: string;
  /** It has never answered a unit, so it is on probation. */
  readonly isNew?: boolean;
}

export function spec(options: SpecOptions = {}): ExecutionSpec {
  const { id = 1, units = 4, common = [], program = resource(1), flops = 1e6 } = options;
  return {
    id: id as ExecutionId,
    run: options.run ?? null,
    programs: [{ resource: program, flops, amount: 10n }],
    common,
    units: Array.from({ length: units }, (_, shard) => ({
      program: 0,
      resources: options.perUnit?.(shard) ?? [],
      messageBytes: 64,
      samples: 32,
    })),
    isMergeable: options.isMergeable ?? false,
  };
}

export class Scheduler {
  readonly state: ClusterState = createCluster();
  now = 1000;
  private eventId = 1;

  feed(event: ClusterEvent): ClusterEffect[] {
    const effects = step(this.state, event, this.eventId++, this.now);
    checkInvariants(this.state);
    return effects;
  }

  /** A worker that has answered a unit before, unless it is new. */
  join(name: string, options: JoinOptions = {}): ClusterEffect[] {
    const incarnation = options.incarnation ?? 1;
    if (options.isNew !== true) {
      standingOf(this.state, worker(name)).provenIncarnation = incarnation;
    }
    return this.feed({
      kind: 'joined',
      worker: worker(name),
      incarnation,
      gflops: options.gflops ?? 10,
      bitClass: options.bitClass ?? 'class-a',
      isTrusted: options.isTrusted ?? true,
      owner: options.owner ?? name,
      memoryBytes: options.memoryBytes ?? 1024 * MIB,
      windowBytes: options.windowBytes ?? 64 * MIB,
      held: [],
    });
  }

  /** The connection of a worker is gone, without a word. */
  lose(name: string): ClusterEffect[] {
    return this.feed({ kind: 'left', worker: worker(name), reason: 'closed', isOrderly: false });
  }

  statusOf(name: string): string | null {
    return this.state.members.get(worker(name))?.status ?? null;
  }

  submit(options: SpecOptions = {}): ClusterEffect[] {
    return this.feed({ kind: 'submitted', spec: spec(options) });
  }

  /** Leases of a worker, oldest first. */
  leasesOf(name: string): LeaseId[] {
    return [...(this.state.members.get(worker(name))?.leases.keys() ?? [])];
  }

  /** The leases that a worker answers with: the first one of each group. */
  answersOf(name: string): LeaseId[] {
    const leases = [...(this.state.members.get(worker(name))?.leases.values() ?? [])];
    return leases.filter((lease) => lease.group.leases[0] === lease).map((lease) => lease.id);
  }

  done(name: string, leases: readonly LeaseId[], change: Partial<UnitResult> = {}) {
    const results = leases.map((lease): UnitResult => ({
      ...{ lease, status: 'ok', computeUs: 5000, output: -1, error: null },
      ...change,
    }));
    return this.feed({ kind: 'done', worker: worker(name), results });
  }

  /** The worker answers everything it has until it has nothing. */
  finish(name: string): ClusterEffect[] {
    const effects: ClusterEffect[] = [];
    for (let leases = this.answersOf(name); leases.length > 0; leases = this.answersOf(name)) {
      effects.push(...this.done(name, leases));
    }
    return effects;
  }

  /** Time passes; ticks come every 100 ms as the deadlines would have them. */
  pass(ms: number): ClusterEffect[] {
    const effects: ClusterEffect[] = [];
    const end = this.now + ms;
    while (this.now < end) {
      this.now = Math.min(end, this.now + 100);
      effects.push(...this.feed({ kind: 'tick' }));
    }
    return effects;
  }

  /** The same, with every member answering its pings. */
  passAlive(ms: number): ClusterEffect[] {
    const effects: ClusterEffect[] = [];
    const end = this.now + ms;
    while (this.now < end) {
      effects.push(...this.pass(Math.min(500, end - this.now)));
      for (const id of this.state.members.keys()) {
        effects.push(...this.feed({ kind: 'heard', worker: id, latencyUs: 300 }));
      }
    }
    return effects;
  }
}

export const kinds = (effects: readonly ClusterEffect[]): string[] =>
  effects.map((effect) => effect.kind);

export function effectsOf<K extends ClusterEffect['kind']>(
  effects: readonly ClusterEffect[],
  kind: K,
): Extract<ClusterEffect, { kind: K }>[] {
  return effects.filter(
    (effect): effect is Extract<ClusterEffect, { kind: K }> => effect.kind === kind,
  );
}

/** Shards of a RUN, group by group. */
export const shardsOf = (run: Extract<ClusterEffect, { kind: 'run' }>): number[][] =>
  run.groups.map((group) => group.map(({ shard }) => shard));
