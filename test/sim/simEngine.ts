/** @file The engine's shell in simulation: carries out the effects of the real scheduler, sums, commits, checks. */
import type { ExecutionId, LeaseId, UnitId, WorkerId } from '@ravenlab/protocol';
import type {
  ClusterEffect,
  ClusterEvent,
  GrantedLease,
} from '../../kernel/src/core/cluster/events.js';
import { checkInvariants } from '../../kernel/src/core/cluster/invariants.js';
import { deadline, step } from '../../kernel/src/core/cluster/machine.js';
import { ShardTree } from '../../kernel/src/core/cluster/shardTree.js';
import type {
  ClusterState,
  ExecutionSpec,
  Resource,
  ResourceId,
} from '../../kernel/src/core/cluster/state.js';
import { createCluster } from '../../kernel/src/core/cluster/state.js';
import type { Canary } from './canaries.js';
import type { SimContext } from './context.js';
import type { Link } from './link.js';
import type { EngineSide, SimResult, SimWorker } from './simWorker.js';

const REDUCE_MS = 1;
const RETRY_MS = 10;
const MEMORY_BYTES = 40_000;
const PROGRAM_BYTES = 2_000;
const STATE_BYTES = 8_000;
const BLOCK_BYTES = 3_000;
const UNIT_AMOUNT = 7n;

/** Violation of what the engine promises; its message is the finding. */
export class SimViolation extends Error {}

export class SimEngine implements EngineSide {
  readonly state: ClusterState = createCluster();
  readonly sums: number[] = [];
  readonly trace: string[] = [];
  events = 0;
  private readonly links = new Map<WorkerId, { worker: SimWorker; link: Link }>();
  private readonly resources = new Map<ResourceId, Resource>();
  private tree: ShardTree<{ sum: number }> | null = null;
  private readonly paid = new Map<UnitId, bigint>();
  private current = 0;
  private bitClass: string | null = null;
  /** Cancelled and failed executions are submitted again under a new id, as a user would. */
  private nextExecutionId = 1;
  private timerAtMs = Infinity;
  private readonly context: SimContext;
  private readonly canary: Canary | null;
  private readonly isTracing: boolean;

  constructor(context: SimContext, canary: Canary | null, isTracing: boolean) {
    this.context = context;
    this.canary = canary;
    this.isTracing = isTracing;
  }

  get isFinished(): boolean {
    return this.current >= this.context.plan.executions;
  }

  get paidTotal(): bigint {
    let total = 0n;
    for (const amount of this.paid.values()) total += amount;
    return total;
  }

  // -------------------------------------------------------------- driving the machine

  private apply(event: ClusterEvent, results: readonly SimResult[] = []): void {
    const { heap } = this.context;
    const seen = this.canary?.event === undefined ? event : this.canary.event(event, this.context);
    this.events++;
    if (seen === null) return;
    const made = step(this.state, seen, this.events, heap.nowMs);
    const effects =
      this.canary?.effects === undefined ? made : this.canary.effects(made, seen, this.state);
    if (this.isTracing) this.note(seen, effects);
    checkInvariants(this.state);
    for (const effect of effects) this.carryOut(effect, results, seen);
    this.arm();
  }

  private note(event: ClusterEvent, effects: readonly ClusterEffect[]): void {
    const text = JSON.stringify(
      [this.context.heap.nowMs, event, effects],
      (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value),
    );
    this.trace.push(text);
  }

  private arm(): void {
    const at = deadline(this.state);
    if (at === null || at >= this.timerAtMs) return;
    this.timerAtMs = at;
    this.context.heap.at(at, () => {
      if (this.timerAtMs !== at) return; // an earlier deadline came up since
      this.timerAtMs = Infinity;
      const due = deadline(this.state);
      if (due !== null && due <= at) this.apply({ kind: 'tick' });
      this.arm();
    });
  }

  private carryOut(
    effect: ClusterEffect,
    results: readonly SimResult[],
    event: ClusterEvent,
  ): void {
    switch (effect.kind) {
      case 'provide': {
        const list = effect.resources.flatMap((id) => this.resources.get(id) ?? []);
        const sizeBytes = list.reduce((sum, resource) => sum + resource.sizeBytes, 0);
        this.send(effect.worker, sizeBytes, (worker) => {
          worker.onProvide(list);
        });
        break;
      }
      case 'run':
        this.sendRun(effect.worker, effect.execution, effect.groups);
        break;
      case 'drop':
        this.send(effect.worker, 50, (worker) => {
          worker.onDrop(effect.resources);
        });
        break;
      case 'revoke': {
        const revoked = new Set(effect.leases);
        this.send(effect.worker, 50, (worker) => {
          worker.onRevoke((task) => task.leases.some((lease) => revoked.has(lease)));
        });
        break;
      }
      case 'revokeExecution':
        this.send(effect.worker, 50, (worker) => {
          worker.onRevoke((task) => task.execution === (effect.execution as number));
        });
        break;
      case 'accept':
        this.accept(effect.shard, effect.count, results[effect.index]?.value ?? Number.NaN);
        this.checkClass(event);
        break;
      case 'meter':
        if (this.paid.has(effect.entry.unit))
          throw new SimViolation(`unit ${String(effect.entry.unit)} was paid twice`);
        this.paid.set(effect.entry.unit, effect.entry.amount);
        break;
      case 'complete':
        this.complete(effect.execution);
        break;
      case 'committed':
        this.commit();
        break;
      case 'failed':
        this.context.heap.after(RETRY_MS, () => {
          this.submitNext();
        });
        break;
      case 'expel':
        this.expel(effect.worker);
        break;
      case 'ping':
        this.send(effect.worker, 50, (worker) => {
          worker.onPing();
        });
        break;
      case 'drained':
        this.context.heap.after(500, () => {
          this.apply({ kind: 'resume', worker: effect.worker });
        });
        break;
      case 'starved':
      case 'quarantined':
        break;
    }
  }

  private send(id: WorkerId, sizeBytes: number, act: (worker: SimWorker) => void): void {
    const connection = this.links.get(id);
    if (connection === undefined) return;
    const { worker, link } = connection;
    link.send('down', sizeBytes, () => {
      worker.receive(link, () => {
        act(worker);
      });
    });
  }

  private sendRun(
    id: WorkerId,
    execution: ExecutionId,
    groups: readonly (readonly GrantedLease[])[],
  ): void {
    const spec = this.state.executions.get(execution)?.spec;
    if (spec === undefined) return;
    const { current } = this;
    const tasks = groups.map((group) => {
      const units = group.flatMap(({ shard }) => spec.units[shard] ?? []);
      const programs = units.flatMap((unit) => spec.programs[unit.program]?.resource ?? []);
      const blocks = units.flatMap((unit) => unit.resources);
      return {
        leases: group.map(({ lease }) => lease),
        needs: [...new Set([...programs, ...spec.common, ...blocks])],
        execution: current,
        shard: group[0]?.shard ?? 0,
      };
    });
    this.send(id, 100 + 20 * tasks.length, (worker) => {
      worker.onRun(tasks);
    });
  }

  /** The user drains a worker, whatever it is doing, and takes it back later. */
  drain(id: WorkerId): void {
    this.apply({ kind: 'drain', worker: id });
    this.context.heap.after(1_000, () => {
      this.apply({ kind: 'resume', worker: id });
    });
  }

  /** A worker that looks broken in the panel: the first one to be paused. */
  stalled(): WorkerId | null {
    for (const { id, status } of this.state.members.values()) if (status === 'stalled') return id;
    return null;
  }

  /** The user stops a worker at once, and lets it go on later. */
  pause(id: WorkerId): void {
    this.apply({ kind: 'pause', worker: id });
    this.context.heap.after(1_000, () => {
      this.apply({ kind: 'resume', worker: id });
    });
  }

  /** The user bans a worker, and thinks better of it. */
  ban(id: WorkerId): void {
    this.apply({ kind: 'ban', worker: id });
    this.context.heap.after(3_000, () => {
      this.apply({ kind: 'unban', worker: id });
    });
  }

  // -------------------------------------------------------------- executions

  /** Execution `current`: reads the state version that the one before it made. */
  submitNext(): void {
    if (this.isFinished) return;
    const { plan, work } = this.context;
    const { current } = this;
    this.tree = new ShardTree(plan.shards);
    const version = this.resource(10 + current, STATE_BYTES);
    const blocks = [0, 1, 2].map((block) => this.resource(100 + block, BLOCK_BYTES));
    const spec: ExecutionSpec = {
      id: this.nextExecutionId++ as ExecutionId,
      run: 'run',
      programs: [
        { resource: this.resource(1, PROGRAM_BYTES), flops: 1_000_000, amount: UNIT_AMOUNT },
      ],
      common: [version],
      units: Array.from({ length: plan.shards }, (_, shard) => ({
        program: 0,
        resources: [blocks[shard % blocks.length] ?? version],
        messageBytes: 20,
        samples: 1,
      })),
      isMergeable: plan.isMergeable,
    };
    this.apply({ kind: 'submitted', spec });
    if (this.context.strikes('cancel')) {
      this.context.heap.after(work.between(0, 500), () => {
        this.cancel(spec.id);
      });
    }
  }

  private cancel(id: ExecutionId): void {
    if (this.state.executions.get(id)?.status !== 'running') return;
    this.apply({ kind: 'cancelled', execution: id });
    this.submitNext();
  }

  private resource(id: number, sizeBytes: number): Resource {
    const resource = { id: id as ResourceId, sizeBytes };
    this.resources.set(resource.id, resource);
    return resource;
  }

  /** All results of the run come from one class of workers. */
  private checkClass(event: ClusterEvent): void {
    const worker = event.kind === 'done' ? this.links.get(event.worker)?.worker : undefined;
    if (worker === undefined) return;
    this.bitClass ??= worker.bitClass;
    if (worker.bitClass !== this.bitClass) {
      throw new SimViolation(`the run has bits of ${this.bitClass} and of ${worker.bitClass}`);
    }
  }

  private accept(shard: number, count: number, value: number): void {
    for (const { target, source } of this.tree?.insert(shard, { sum: value }, count) ?? []) {
      target.sum = Math.fround(target.sum + source.sum);
    }
  }

  private complete(execution: ExecutionId): void {
    this.context.heap.after(REDUCE_MS, () => {
      const sum = this.tree?.root.sum ?? Number.NaN;
      this.sums[this.current] = sum;
      this.apply({ kind: 'reduced', execution, failure: null });
    });
  }

  private commit(): void {
    const retired = (10 + this.current) as ResourceId;
    this.current++;
    this.context.heap.after(1, () => {
      this.apply({ kind: 'retired', resources: [retired] });
      this.submitNext();
    });
  }

  // -------------------------------------------------------------- what workers send

  hello(worker: SimWorker, link: Link, held: readonly Resource[]): void {
    const old = this.links.get(worker.id);
    if (old !== undefined) old.link.isOpen = false;
    this.links.set(worker.id, { worker, link });
    this.apply({
      kind: 'joined',
      worker: worker.id,
      incarnation: worker.incarnation,
      gflops: 10,
      bitClass: worker.bitClass,
      memoryBytes: MEMORY_BYTES,
      windowBytes: 50_000,
      held,
    });
  }

  done(worker: SimWorker, link: Link, results: readonly SimResult[]): void {
    if (!this.isCurrent(worker, link)) return;
    this.consume(worker);
    this.apply(
      { kind: 'done', worker: worker.id, results: results.map((item) => item.result) },
      results,
    );
  }

  need(worker: SimWorker, link: Link, resources: readonly ResourceId[]): void {
    if (!this.isCurrent(worker, link)) return;
    this.apply({ kind: 'need', worker: worker.id, resources });
  }

  heard(worker: SimWorker, link: Link): void {
    if (!this.isCurrent(worker, link)) return;
    const latencyUs = this.context.plan.latencyMs * 2000;
    this.apply({ kind: 'heard', worker: worker.id, latencyUs });
  }

  closed(worker: SimWorker, link: Link): void {
    if (!this.isCurrent(worker, link)) return;
    this.links.delete(worker.id);
    this.apply({ kind: 'left', worker: worker.id, reason: 'connection lost', isOrderly: false });
  }

  isLeasedTo(worker: SimWorker, lease: LeaseId): boolean {
    return this.state.leases.get(lease)?.worker === worker.id;
  }

  private consume(worker: SimWorker): void {
    this.apply({ kind: 'credit', worker: worker.id, inFlightBytes: 0 });
  }

  private isCurrent(worker: SimWorker, link: Link): boolean {
    return this.links.get(worker.id)?.link === link;
  }

  private expel(id: WorkerId): void {
    const connection = this.links.get(id);
    if (connection === undefined) return;
    this.links.delete(id);
    const { worker, link } = connection;
    link.isOpen = false;
    // A process that is frozen or cut off finds out by its own time-out.
    this.context.heap.after(this.context.plan.latencyMs, () => {
      if (!link.isDeaf.down) worker.onClosed(link);
    });
  }
}
