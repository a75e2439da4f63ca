/** @file A worker as the simulator models it: holds resources, runs leases one by one, beats, and suffers faults. */
import type { LeaseId, WorkerId } from '@ravenlab/protocol';
import { LIMITS } from '@ravenlab/protocol';
import type { ResourceId } from '../../kernel/src/core/cluster/state.js';
import type { Hazard, SimContext } from './context.js';
import type { Link, LinkEnds } from './link.js';
import { Link as Connection } from './link.js';
import type { SimResource, SimResult, SimRun, ToEngine, ToWorker } from './messages.js';
import { BLOCKS, OUTPUT_BYTES, PROGRAM, blockResource, stateResource } from './messages.js';
import type { Fault } from './plan.js';
import { unitValue } from './values.js';

/** One group of a RUN (most are of one unit), with all that it reads. */
interface Task {
  /** In shard order; the first one answers for all. */
  readonly leases: readonly LeaseId[];
  readonly needs: readonly ResourceId[];
  readonly run: SimRun;
  /** Of the first lease. */
  readonly shard: number;
}

/** An answer that is not what its inputs give. */
export interface Lie {
  readonly worker: WorkerId;
  readonly salt: number;
  readonly shard: number;
  readonly count: number;
  readonly value: number;
}

/** Where a worker connects to. */
export interface Host extends LinkEnds {
  /** False when nobody listens. */
  connect(worker: SimWorker, link: Link): boolean;
  closed(link: Link): void;
  isLeasedTo(worker: WorkerId, lease: LeaseId): boolean;
  /** For the true story: what it will answer for these shards is not what their inputs give. */
  told(lie: Lie): void;
}

const BEAT_MS = 250;
const RECONNECT_MS = 100;
/** The unit is to blame, or this worker's memory is. */
const BROKEN = { code: 'cluster', message: 'broken', fault: 'remote', retryable: true } as const;
const OUT_OF_MEMORY = { ...BROKEN, code: 'limit', message: 'out of memory' } as const;
const DIRECTIONS = ['up', 'down'] as const;

const OWN_FAULTS = [
  'crash',
  'disconnect',
  'halfOpen',
  'clog',
  'pause',
  'slow',
  'loseCache',
  'repeatDone',
  'forgedDone',
  'wrongSize',
] as const satisfies readonly Fault[];
type OwnFault = (typeof OWN_FAULTS)[number];

/** What each fault does to a worker. */
const STRIKES: Readonly<Record<OwnFault, (worker: SimWorker) => void>> = {
  crash: (worker) => {
    worker.crash();
  },
  disconnect: (worker) => {
    worker.disconnect();
  },
  halfOpen: (worker) => {
    worker.deafen();
  },
  clog: (worker) => {
    worker.clog();
  },
  pause: (worker) => {
    worker.freeze();
  },
  slow: (worker) => {
    worker.slowDown();
  },
  loseCache: (worker) => {
    worker.loseCache();
  },
  repeatDone: (worker) => {
    worker.repeat();
  },
  forgedDone: (worker) => {
    worker.forge();
  },
  wrongSize: (worker) => {
    worker.isLying = true;
  },
};

export class SimWorker {
  readonly id: WorkerId;
  /** Needs no audit. */
  readonly isTrusted: boolean;
  /** It lies from this answer on. */
  private readonly liesFrom: number;
  private answers = 0;
  /** Its bit class. */
  readonly bits: number;
  incarnation = 0;
  link: Link | null = null;
  /** Its next result has a size that no output of the program has. */
  isLying = false;
  private isAlive = false;
  private frozenUntilMs = 0;
  private slowFactor = 1;
  private readonly held = new Map<ResourceId, SimResource>();
  private queue: Task[] = [];
  private isComputing = false;
  /** Counts what was begun. */
  private computing = 0;
  private isConnecting = false;
  private lastHeardMs = 0;
  /** Work of an earlier life must not go on. */
  private life = 0;
  private lastDone: ToEngine | null = null;
  private readonly context: SimContext;
  private readonly host: Host;
  private readonly hazards: readonly Hazard<OwnFault>[];
  /** Its clock: per mille of true time. */
  private readonly clock: number;

  /** @param index among the workers; the first one is the user's own. */
  constructor(id: WorkerId, context: SimContext, host: Host, bits = 0, index = 0) {
    const { lie = null } = context.plan;
    this.isTrusted = lie === null || index === 0;
    this.liesFrom = lie?.worker === index ? lie.from : Infinity;
    this.id = id;
    this.bits = bits;
    this.context = context;
    this.host = host;
    this.hazards = context.enabled(OWN_FAULTS);
    this.clock = context.strikes('skew') ? context.faults.between(900, 1_100) : 1_000;
  }

  start(): void {
    if (this.isAlive) return;
    this.isAlive = true;
    this.incarnation++;
    this.life++;
    this.held.clear();
    this.queue = [];
    this.isComputing = false;
    this.isConnecting = false;
    this.lastDone = null;
    this.connect();
    this.startBeats();
  }

  /** A frozen one wakes by itself: what came meanwhile would else be overtaken by what comes now. */
  heal(): void {
    this.slowFactor = 1;
    this.isLying = false;
    this.start();
  }

  /** Runs `act` after a time by its own clock, unless it has died since. */
  private after(delayMs: number, act: () => void): void {
    const { life } = this;
    this.context.heap.after(Math.trunc((delayMs * this.clock) / 1000), () => {
      if (this.isAlive && life === this.life) act();
    });
  }

  private connect(): void {
    const { heap } = this.context;
    const link = new Connection(this.context, this.host);
    if (!this.host.connect(this, link)) return;
    this.link = link;
    this.lastHeardMs = heap.nowMs;
    // A worker that reconnects forgets the leases of the old connection: they are void.
    this.queue = [];
    // Programs are numbered anew on every connection.
    this.held.delete(PROGRAM);
    link.sendUp({ kind: 'hello', incarnation: this.incarnation, held: [...this.held.keys()] });
  }

  /** Both ends learn of it: the worker at once, the engine a little later. */
  disconnect(): void {
    const { link } = this;
    this.link = null;
    if (link?.isOpen !== true) return;
    this.lose(link);
    this.context.heap.after(this.context.faults.between(0, 50), () => {
      this.host.closed(link);
    });
  }

  private lose(link: Link): void {
    link.isOpen = false;
    if (!this.context.strikes('stray')) return;
    this.after(RECONNECT_MS + BEAT_MS, () => {
      link.heir = this.link;
    });
  }

  /** The engine closed the connection, or died. */
  onClosed(link: Link): void {
    if (this.link === link) this.link = null;
  }

  /** Beats for as long as this life lasts, with one function for all of them. */
  private startBeats(): void {
    const { life } = this;
    const { heap } = this.context;
    const everyMs = Math.trunc((BEAT_MS * this.clock) / 1000);
    const beat = (): void => {
      if (!this.isAlive || life !== this.life) return;
      heap.after(everyMs, beat);
      this.beat();
    };
    beat();
  }

  private beat(): void {
    const { heap } = this.context;
    if (heap.nowMs < this.frozenUntilMs) return;
    if (!this.context.isHealed) this.suffer();
    if (!this.isAlive) return;
    const silenceMs = heap.nowMs - this.lastHeardMs;
    if (this.link !== null && silenceMs > (LIMITS.heartbeatTimeoutMs * this.clock) / 1000) {
      this.disconnect();
    }
    if (this.link === null && !this.isConnecting) {
      this.isConnecting = true;
      this.after(RECONNECT_MS, () => {
        this.isConnecting = false;
        if (this.link === null) this.connect();
      });
    }
  }

  // -------------------------------------------------------------- what strikes it

  private suffer(): void {
    for (const { fault, perMille } of this.hazards) {
      if (this.context.befalls(fault, perMille)) STRIKES[fault](this);
    }
  }

  crash(): void {
    const { heap, faults } = this.context;
    this.disconnect();
    this.isAlive = false;
    this.life++;
    heap.after(faults.between(50, 3_000), () => {
      this.start();
    });
  }

  deafen(): void {
    if (this.link !== null) this.link.isDeaf[this.context.faults.pick(DIRECTIONS)] = true;
  }

  clog(): void {
    const { faults } = this.context;
    this.link?.clog(faults.pick(DIRECTIONS), faults.between(100, 8_000));
  }

  freeze(): void {
    this.frozenUntilMs = this.context.heap.nowMs + this.context.faults.between(100, 10_000);
  }

  slowDown(): void {
    this.slowFactor = this.context.faults.between(2, 10);
  }

  loseCache(): void {
    this.held.clear();
  }

  repeat(): void {
    if (this.lastDone !== null) this.link?.sendUp(this.lastDone);
  }

  /** Claims a lease that it may not have: another worker's, an old one, one that never was. */
  forge(): void {
    const lease = this.context.faults.between(0, 200) as LeaseId;
    // A wrong result for its own lease is a lie that only verification can catch; here it claims what is not its own.
    if (this.host.isLeasedTo(this.id, lease)) return;
    const result = { lease, status: 'ok', computeUs: 1, error: null } as const;
    const results = [{ ...result, value: Number.NaN, sizeBytes: OUTPUT_BYTES }];
    this.link?.sendUp({ kind: 'done', execution: 1, results });
  }

  // -------------------------------------------------------------- what the engine sends

  /** Any message of a connection: now, or when the frozen process wakes up and still has it. */
  receive(link: Link, message: ToWorker): void {
    const { heap } = this.context;
    if (!this.isAlive || this.link !== link) return;
    if (heap.nowMs < this.frozenUntilMs) {
      heap.at(this.frozenUntilMs, () => {
        this.receive(link, message);
      });
      return;
    }
    this.lastHeardMs = heap.nowMs;
    this.take(message);
  }

  private take(message: ToWorker): void {
    switch (message.kind) {
      case 'provide':
        for (const resource of message.resources) this.held.set(resource.id, resource);
        this.work();
        break;
      case 'drop':
        for (const id of message.resources) this.held.delete(id);
        break;
      case 'run':
        this.queueTasks(message);
        this.work();
        break;
      case 'revoke': {
        const revoked = new Set(message.leases);
        this.forget(({ leases }) => leases.some((id) => revoked.has(id)));
        break;
      }
      case 'revokeExecution':
        this.forget(({ run }) => run.execution === message.execution);
        break;
      case 'ping':
        this.link?.sendUp({ kind: 'pong', sentMs: message.sentMs });
        break;
    }
  }

  /** Drops tasks; the rest of a group that is being computed is skipped, the unit at hand is not. */
  private forget(isRevoked: (task: Task) => boolean): void {
    const [head] = this.queue;
    this.queue = this.queue.filter((task) => !isRevoked(task));
    if (!this.isComputing || head === undefined || head === this.queue[0]) return;
    if (head.leases.length === 1) return;
    const computing = ++this.computing;
    this.after(this.unitMs(), () => {
      if (computing !== this.computing) return;
      this.isComputing = false;
      this.work();
    });
  }

  private unitMs(): number {
    return this.context.plan.unitMs * this.slowFactor;
  }

  private queueTasks(run: SimRun): void {
    const state = stateResource(run.version);
    for (const group of run.groups) {
      const needs = [PROGRAM, state];
      const leases: LeaseId[] = [];
      for (const { lease, shard } of group) {
        leases.push(lease);
        const block = blockResource(run.dataId, shard % BLOCKS);
        if (!needs.includes(block)) needs.push(block);
      }
      this.queue.push({ leases, needs, run, shard: group[0]?.shard ?? 0 });
    }
    // Cheap, and what the engine counts as in flight is true again.
    this.link?.sendUp({ kind: 'credit' });
  }

  // -------------------------------------------------------------- work

  private work(): void {
    const task = this.queue[0];
    if (this.isComputing || task === undefined || !this.isAlive) return;
    const missing = this.missingFor(task);
    if (missing !== null) {
      this.link?.sendUp({ kind: 'need', resources: missing });
      return;
    }
    const { faults } = this.context;
    const hangMs = this.context.strikes('hang') ? faults.between(1_000, 60_000) : 0;
    const computeMs = this.unitMs() * task.leases.length + hangMs;
    this.isComputing = true;
    const computing = ++this.computing;
    const value = this.told(task, this.compute(task));
    this.after(computeMs, () => {
      if (computing === this.computing) this.finish(task, value, computeMs);
    });
  }

  /** Null: nothing. */
  private missingFor({ needs }: Task): ResourceId[] | null {
    let missing: ResourceId[] | null = null;
    for (const id of needs) {
      if (this.held.has(id)) continue;
      missing ??= [];
      missing.push(id);
    }
    return missing;
  }

  private finish(task: Task, value: number, computeMs: number): void {
    const { heap } = this.context;
    if (heap.nowMs < this.frozenUntilMs) {
      this.after(this.frozenUntilMs - heap.nowMs + 1, () => {
        this.finish(task, value, computeMs);
      });
      return;
    }
    this.isComputing = false;
    if (this.queue[0] === task) this.queue.shift();
    else this.queue = this.queue.filter((other) => other !== task);
    const isFailed = this.context.strikes('failUnit');
    const results = isFailed ? this.refusals(task) : [this.result(task, value, computeMs)];
    const message: ToEngine = { kind: 'done', execution: task.run.execution, results };
    if (!isFailed) this.lastDone = message;
    this.link?.sendUp(message);
    this.work();
  }

  /** A liar tells another value, once it has made itself a name. */
  private told({ run, leases, shard }: Task, value: number): number {
    if (this.answers++ < this.liesFrom) return value;
    const lie = Math.fround(value * 1.5 + 1);
    const { length: count } = leases;
    this.host.told({ worker: this.id, salt: run.salt, shard, count, value: lie });
    return lie;
  }

  /** The values of the group, added up pairwise as the tree would. */
  private compute({ run, leases, shard }: Task): number {
    const weight = this.held.get(stateResource(run.version))?.value ?? Number.NaN;
    const values: number[] = [];
    for (let index = 0; index < leases.length; index++) {
      const at = shard + index;
      const data = this.held.get(blockResource(run.dataId, at % BLOCKS))?.value ?? Number.NaN;
      values.push(unitValue({ salt: run.salt, weight, data, bits: this.bits }, at));
    }
    for (let step = 1; step < values.length; step *= 2) {
      for (let at = 0; at + step < values.length; at += 2 * step) {
        values[at] = Math.fround((values[at] ?? 0) + (values[at + step] ?? 0));
      }
    }
    return values[0] ?? Number.NaN;
  }

  private result(task: Task, value: number, computeMs: number): SimResult {
    const { isLying } = this;
    this.isLying = false;
    return {
      lease: task.leases[0] ?? (0 as LeaseId),
      status: 'ok',
      computeUs: computeMs * 1000,
      error: null,
      value: isLying ? Number.NaN : value,
      sizeBytes: isLying ? 2 * OUTPUT_BYTES : OUTPUT_BYTES,
    };
  }

  /** One unit of the group fails, and each of them answers by itself. */
  private refusals(task: Task): SimResult[] {
    const failing = this.context.faults.between(0, task.leases.length - 1);
    const failure = task.shard % 2 === 0 ? OUT_OF_MEMORY : BROKEN;
    return task.leases.map((lease, index) => {
      const isFailing = index === failing;
      const status = isFailing ? 'failed' : 'cancelled';
      const error = isFailing ? failure : null;
      return { lease, status, computeUs: 1, error, value: Number.NaN, sizeBytes: 0 };
    });
  }
}
