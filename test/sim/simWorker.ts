/** @file A worker as the simulator models it: holds resources, runs leases one by one, beats, and suffers faults. */
import type { LeaseId, WorkerId } from '@ravenlab/protocol';
import { LIMITS } from '@ravenlab/protocol';
import type { UnitResult } from '../../kernel/src/core/cluster/events.js';
import type { Resource, ResourceId } from '../../kernel/src/core/cluster/state.js';
import type { SimContext } from './context.js';
import { Link } from './link.js';
import type { Fault } from './plan.js';

/** One group of a RUN (most are of one unit), with all that it reads. */
export interface SimTask {
  /** In shard order; the first one answers for all. */
  readonly leases: readonly LeaseId[];
  readonly needs: readonly Resource[];
  readonly execution: number;
  /** Of the first lease. */
  readonly shard: number;
}

/** A result on its way: what the scheduler sees, and the value that the reducer would take. */
export interface SimResult {
  readonly result: UnitResult;
  readonly value: number;
}

/** What a worker sends; the engine's side of the connection. */
export interface EngineSide {
  hello(worker: SimWorker, link: Link, held: readonly Resource[]): void;
  done(worker: SimWorker, link: Link, results: readonly SimResult[]): void;
  need(worker: SimWorker, link: Link, resources: readonly ResourceId[]): void;
  heard(worker: SimWorker, link: Link): void;
  closed(worker: SimWorker, link: Link): void;
  isLeasedTo(worker: SimWorker, lease: LeaseId): boolean;
}

const BEAT_MS = 250;
const RECONNECT_MS = 100;
const MESSAGE_BYTES = 200;

export class SimWorker {
  readonly id: WorkerId;
  readonly bitClass: string;
  incarnation = 0;
  link: Link | null = null;
  private isAlive = false;
  private frozenUntilMs = 0;
  private slowFactor = 1;
  private readonly held = new Map<ResourceId, Resource>();
  private queue: SimTask[] = [];
  private isComputing = false;
  private lastHeardMs = 0;
  /** Work of an earlier life must not go on. */
  private life = 0;
  private lastDone: readonly SimResult[] = [];
  private readonly context: SimContext;
  private readonly engine: EngineSide;

  constructor(id: WorkerId, context: SimContext, engine: EngineSide, bitClass: string) {
    this.id = id;
    this.bitClass = bitClass;
    this.context = context;
    this.engine = engine;
  }

  start(): void {
    if (this.isAlive) return;
    this.isAlive = true;
    this.incarnation++;
    this.life++;
    this.held.clear();
    this.queue = [];
    this.isComputing = false;
    this.connect();
    this.beat(this.life);
  }

  heal(): void {
    this.frozenUntilMs = 0;
    this.slowFactor = 1;
    this.start();
  }

  private connect(): void {
    const { heap } = this.context;
    const link = new Link(heap, this.context.network, this.context.plan);
    this.link = link;
    this.lastHeardMs = heap.nowMs;
    // A worker that reconnects forgets the leases of the old connection: they are void.
    this.queue = [];
    const held = [...this.held.values()];
    link.send('up', MESSAGE_BYTES, () => {
      this.engine.hello(this, link, held);
    });
  }

  /** Both ends learn of it: the worker at once, the engine a little later. */
  private disconnect(): void {
    const { link } = this;
    this.link = null;
    if (link?.isOpen !== true) return;
    link.isOpen = false;
    this.context.heap.after(this.context.faults.between(0, 50), () => {
      this.engine.closed(this, link);
    });
  }

  /** The engine closed the connection. */
  onClosed(link: Link): void {
    if (this.link === link) this.link = null;
  }

  private beat(life: number): void {
    if (!this.isAlive || life !== this.life) return;
    const { heap } = this.context;
    heap.after(BEAT_MS, () => {
      this.beat(life);
    });
    if (heap.nowMs < this.frozenUntilMs) return;
    if (!this.suffer()) return;
    if (this.link !== null && heap.nowMs - this.lastHeardMs > LIMITS.heartbeatTimeoutMs) {
      this.disconnect();
    }
    if (this.link === null) {
      heap.after(RECONNECT_MS, () => {
        if (this.isAlive && life === this.life && this.link === null) this.connect();
      });
    }
  }

  /** Faults that strike between two beats; false when one of them killed it. */
  private suffer(): boolean {
    const { heap, faults } = this.context;
    const strikes: readonly [Fault, () => void][] = [
      [
        'crash',
        () => {
          this.crash();
        },
      ],
      [
        'disconnect',
        () => {
          this.disconnect();
        },
      ],
      [
        'halfOpen',
        () => {
          if (this.link !== null) this.link.isDeaf[faults.pick(['up', 'down'] as const)] = true;
        },
      ],
      [
        'pause',
        () => {
          this.frozenUntilMs = heap.nowMs + faults.between(100, 10_000);
        },
      ],
      [
        'slow',
        () => {
          this.slowFactor = faults.between(2, 10);
        },
      ],
      [
        'loseCache',
        () => {
          this.held.clear();
        },
      ],
      [
        'repeatDone',
        () => {
          this.send((link) => {
            this.engine.done(this, link, this.lastDone);
          });
        },
      ],
      [
        'forgedDone',
        () => {
          this.forge();
        },
      ],
    ];
    for (const [fault, strike] of strikes) if (this.context.strikes(fault)) strike();
    return this.isAlive;
  }

  private crash(): void {
    const { heap, faults } = this.context;
    this.disconnect();
    this.isAlive = false;
    this.life++;
    heap.after(faults.between(50, 3_000), () => {
      this.start();
    });
  }

  /** Claims leases that it may not have: another worker's, an old one, one that never was. */
  private forge(): void {
    const lease = this.context.faults.between(0, 200) as LeaseId;
    const result = { lease, status: 'ok', computeUs: 1, output: -1, error: null } as const;
    this.send((link) => {
      // A wrong result for its own lease is a lie that only verification can catch; here it claims what is not its own.
      if (this.engine.isLeasedTo(this, lease)) return;
      this.engine.done(this, link, [{ result, value: Number.NaN }]);
    });
  }

  private send(deliver: (link: Link) => void): void {
    const { link } = this;
    link?.send('up', MESSAGE_BYTES, () => {
      deliver(link);
    });
  }

  // -------------------------------------------------------------- what the engine sends

  /** Any message of a connection: `act` runs now, or when the frozen process wakes up and still has it. */
  receive(link: Link, act: () => void): void {
    const { heap } = this.context;
    if (!this.isAlive || this.link !== link) return;
    if (heap.nowMs < this.frozenUntilMs) {
      heap.at(this.frozenUntilMs, () => {
        this.receive(link, act);
      });
      return;
    }
    this.lastHeardMs = heap.nowMs;
    act();
  }

  onProvide(resources: readonly Resource[]): void {
    for (const resource of resources) this.held.set(resource.id, resource);
    this.work();
  }

  onDrop(resources: readonly ResourceId[]): void {
    for (const id of resources) this.held.delete(id);
  }

  onRun(tasks: readonly SimTask[]): void {
    this.queue.push(...tasks);
    this.work();
  }

  onRevoke(isRevoked: (task: SimTask) => boolean): void {
    this.queue = this.queue.filter((task) => !isRevoked(task));
  }

  onPing(): void {
    this.send((link) => {
      this.engine.heard(this, link);
    });
  }

  private work(): void {
    const task = this.queue[0];
    if (this.isComputing || task === undefined || !this.isAlive) return;
    const missing = task.needs.filter((resource) => !this.held.has(resource.id));
    if (missing.length > 0) {
      this.send((link) => {
        this.engine.need(
          this,
          link,
          missing.map((resource) => resource.id),
        );
      });
      return;
    }
    const { heap, plan, faults } = this.context;
    const hangMs = this.context.strikes('hang') ? faults.between(1_000, 60_000) : 0;
    const computeMs = plan.unitMs * this.slowFactor * task.leases.length + hangMs;
    const { life } = this;
    this.isComputing = true;
    heap.after(computeMs, () => {
      if (life !== this.life) return;
      this.finish(task, life, computeMs);
    });
  }

  private finish(task: SimTask, life: number, computeMs: number): void {
    const { heap } = this.context;
    if (heap.nowMs < this.frozenUntilMs) {
      heap.at(this.frozenUntilMs, () => {
        if (life === this.life) this.finish(task, life, computeMs);
      });
      return;
    }
    this.isComputing = false;
    this.queue = this.queue.filter((other) => other !== task);
    const isFailed = this.context.strikes('failUnit');
    const sent = isFailed ? this.refusals(task) : [this.result(task, computeMs)];
    if (!isFailed) this.lastDone = sent;
    this.send((link) => {
      this.engine.done(this, link, sent);
    });
    this.work();
  }

  /** The values of the group, added up pairwise as the tree would. */
  private result(task: SimTask, computeMs: number): SimResult {
    let values = task.leases.map((_, index) =>
      this.context.valueOf(task.execution, task.shard + index),
    );
    while (values.length > 1) {
      values = values.flatMap((value, index) =>
        index % 2 === 0 ? [Math.fround(value + (values[index + 1] ?? 0))] : [],
      );
    }
    const [lease] = task.leases;
    const result: UnitResult = {
      lease: lease ?? (0 as LeaseId),
      status: 'ok',
      computeUs: computeMs * 1000,
      output: -1,
      error: null,
    };
    return { result, value: values[0] ?? Number.NaN };
  }

  /** One unit of the group fails, and each of them answers by itself. */
  private refusals(task: SimTask): SimResult[] {
    const failing = this.context.faults.between(0, task.leases.length - 1);
    return task.leases.map((lease, index) => ({
      result: {
        lease,
        status: index === failing ? ('failed' as const) : ('cancelled' as const),
        computeUs: 1,
        output: -1,
        error:
          index === failing
            ? { code: 'cluster', message: 'out of memory', fault: 'remote', retryable: true }
            : null,
      },
      value: Number.NaN,
    }));
  }
}
