/**
 * @file The machine that kernel and engine run on: starts them, kills them, cuts its power, fills its disk. It keeps the
 * true story of the training, which nobody in the simulation can read, and compares what happens with it.
 */
import type { LeaseId, WorkerId } from '@ravenlab/protocol';
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { RequestPoint } from '../../kernel/src/core/journal/paidBook.js';
import type { Canary } from './canaries.js';
import type { Hazard, SimContext } from './context.js';
import { SimViolation } from './context.js';
import { cellName } from './cells.js';
import { AT_COMMIT, AT_COMMIT_MS, OWN_FAULTS, STRIKES } from './hostFaults.js';
import type { OwnFault } from './hostFaults.js';
import type { Link } from './link.js';
import type { ToEngine, ToWorker } from './messages.js';
import { SimDisk, rowKey } from './simDisk.js';
import { SimEngine } from './simEngine.js';
import { IDS_PER_LIFE } from './simEngineParts.js';
import type { KernelWorld } from './simKernel.js';
import { SimKernel } from './simKernel.js';
import type { Host, Lie, SimWorker } from './simWorker.js';
import type { SimTrace } from './trace.js';
import { FIRST_WEIGHT, nextWeight, undisturbedSum } from './values.js';

const BEAT_MS = 100;
const BAN_MS = 3_000;
const CLASSES = [0, 1] as const;

const answerKey = ({ worker, salt, shard, count, value }: Lie): string =>
  [worker, salt, shard, count, value].join(' ');
const lieKey = (worker: string, salt: number, shard: number): string =>
  `${worker} ${String(salt)} ${String(shard)}`;

/** A step that was committed, and what it made. */
export interface Step {
  readonly salt: number;
  readonly weight: number;
  readonly point: RequestPoint;
  /** Something in it, or before it, is a lie. */
  readonly isWrong?: boolean;
}

export class SimHost implements Host, KernelWorld {
  readonly context: SimContext;
  readonly disk: SimDisk;
  readonly workers: SimWorker[] = [];
  engine: SimEngine | null = null;
  kernel: SimKernel | null = null;
  isFinished = false;
  /** Sums over the lives of the engine. */
  leasesLost = 0;
  private readonly canary: Canary | null;
  private readonly trace: SimTrace;
  private readonly hazards: readonly Hazard<OwnFault>[];
  private readonly linkOf = new Map<Link, SimWorker>();
  private life = 0;
  /** Steps that made the versions, version 1 first. */
  private history: Step[] = [];
  private readonly dataOf = new Map<number, number>();
  private salt = 1;
  /** Salts of the steps that a kernel was told of, by version. */
  private readonly acks = new Map<number, number>();
  /** The engine died, and nobody has asked again yet for what it had not journaled. */
  private isReplayPending = false;
  private isClosing = false;
  private readonly banned = new Set<WorkerId>();
  /** Kept with the user's rules. */
  private readonly caught = new Set<WorkerId>();
  /** Answers that are lies, and units that one was taken for. */
  private readonly lies = new Set<string>();
  private readonly takenLies = new Set<string>();
  /** Bit classes that the weights can be of. */
  private classes: readonly number[] = CLASSES;

  constructor(context: SimContext, canary: Canary | null, trace: SimTrace) {
    this.context = context;
    this.canary = canary;
    this.trace = trace;
    this.hazards = context.enabled(OWN_FAULTS);
    this.disk = new SimDisk(canary?.flaw === 'anyBoot');
  }

  start(): void {
    this.startKernel();
    this.startBeats();
  }

  private startBeats(): void {
    const { context } = this;
    const beat = (): void => {
      if (context.isHealed) return;
      for (const { fault, perMille } of this.hazards) {
        if (context.befalls(fault, perMille)) STRIKES[fault](this);
      }
      context.heap.after(BEAT_MS, beat);
    };
    context.heap.after(BEAT_MS, beat);
  }

  heal(): void {
    this.disk.fullUntilMs = 0;
  }

  // -------------------------------------------------------------- processes

  private startEngine(): SimEngine {
    this.life++;
    if (this.canary?.flaw !== 'paidCheat') {
      for (const worker of this.caught) this.disk.refuse(worker);
    }
    const engine: SimEngine = new SimEngine({
      context: this.context,
      disk: this.disk,
      life: this.life,
      canary: this.canary,
      trace: this.trace,
      onCommitted: (version, step) => {
        this.committed(version, step);
      },
      onTaken: (answer) => {
        this.taken(answer);
      },
      onCaught: (worker) => {
        this.convict(worker);
      },
      onDied: () => {
        this.engineDied(engine);
      },
      onClosed: () => {
        this.isFinished = true;
      },
    });
    this.trace.note(this.context.heap.nowMs, `engine starts, life ${String(this.life)}`);
    this.engine = engine;
    this.watch(engine);
    this.compareRestored(engine);
    for (const worker of this.banned) engine.user.ban(worker, true);
    for (const worker of this.caught) engine.convict(worker);
    return engine;
  }

  /** For coverage of the tables. */
  onTransition: ((cell: string) => void) | null = null;

  private watch(engine: SimEngine): void {
    const { onTransition } = this;
    if (onTransition === null) return;
    engine.state.trace.watch = (table, status, cause) => {
      onTransition(cellName(table, status, cause));
    };
  }

  private startKernel(): void {
    const kernel = new SimKernel(this, this.canary);
    this.kernel = kernel;
    const engine = this.engine ?? this.startEngine();
    this.attachNew(kernel, engine);
  }

  /** Should the engine die before it has answered, the kernel starts the next one and asks again. */
  private attachNew(kernel: SimKernel, engine: SimEngine): void {
    engine.attach(kernel, null, null, () => {
      if (kernel.isDead) return;
      this.forgetUnreplayed(engine.states.version);
      kernel.begin(engine, Math.max(this.life * IDS_PER_LIFE, engine.states.dataId) + 1);
    });
  }

  private engineDied(engine: SimEngine): void {
    this.trace.note(this.context.heap.nowMs, 'engine dies');
    this.leasesLost += engine.state.counters.leasesLost;
    // What nobody had audited when it died is paid as it was metered; who is caught later loses what is not in a voucher.
    if (this.caught.size === 0) this.takenLies.clear();
    this.engine = null;
    this.isReplayPending = true;
    const { kernel } = this;
    if (kernel === null) return;
    kernel.engineDied();
    this.context.heap.after(this.context.work.between(20, 400), () => {
      if (kernel.isDead || this.engine !== null) return;
      this.restartEngine(kernel);
    });
  }

  private restartEngine(kernel: SimKernel): void {
    const engine = this.startEngine();
    if (kernel.session === null) this.attachNew(kernel, engine);
    else {
      engine.attach(kernel, kernel.session, kernel.pin, () => {
        kernel.resume(engine);
      });
    }
  }

  killEngine(): void {
    this.engine?.die();
  }

  killKernel(): void {
    const { kernel } = this;
    if (kernel === null || this.isClosing) return;
    this.trace.note(this.context.heap.nowMs, 'kernel dies');
    kernel.isDead = true;
    this.kernel = null;
    this.engine?.detach();
    this.context.heap.after(this.context.work.between(100, 3_000), () => {
      this.startKernel();
    });
  }

  cutPower(): void {
    if (this.isClosing) return;
    this.killKernel();
    this.engine?.die(true);
    this.disk.losePower(this.context.faults.chance(500));
  }

  fillDisk(): void {
    if (this.isClosing) return;
    const untilMs = this.context.heap.nowMs + this.context.faults.between(200, 6_000);
    this.disk.fullUntilMs = untilMs;
  }

  /** Bans outlive the engine; the user thinks better of each. */
  ban(worker: WorkerId): void {
    if (this.caught.has(worker)) return;
    this.banned.add(worker);
    this.engine?.user.ban(worker, true);
    this.context.heap.after(BAN_MS, () => {
      this.banned.delete(worker);
      if (!this.caught.has(worker)) this.engine?.user.ban(worker, false);
    });
  }

  /** Whom the user does something to: often one that looks broken. */
  anyone(): WorkerId {
    const { work } = this.context;
    const odd = work.chance(400) ? (this.engine?.user.oddWorkers() ?? []) : [];
    return odd.length > 0 ? work.pick(odd) : work.pick(this.workers).id;
  }

  // -------------------------------------------------------------- workers' connections

  connect(worker: SimWorker, link: Link): boolean {
    if (this.engine === null) return false;
    this.linkOf.set(link, worker);
    this.engine.hub.accept(worker, link);
    return true;
  }

  closed(link: Link): void {
    this.engine?.hub.lost(link);
  }

  toEngine(link: Link, message: ToEngine): void {
    this.engine?.hub.toEngine(link, message);
  }

  toWorker(link: Link, message: ToWorker): void {
    this.linkOf.get(link)?.receive(link, message);
  }

  isLeasedTo(worker: WorkerId, lease: LeaseId): boolean {
    return this.engine?.hub.isLeasedTo(worker, lease) ?? false;
  }

  // -------------------------------------------------------------- liars

  /** Whether anybody in this schedule lies. */
  isLied(): boolean {
    return (this.context.plan.lie ?? null) !== null;
  }

  told(lie: Lie): void {
    this.lies.add(answerKey(lie));
  }

  /** Should it have been a lie, nobody may be paid for it in the end. */
  private taken(answer: Lie): void {
    // Most schedules know no lie, and the words cost more than everything else about an answer.
    if (this.lies.size === 0 || !this.lies.has(answerKey(answer))) return;
    for (let index = 0; index < answer.count; index++) {
      this.takenLies.add(lieKey(answer.worker, answer.salt, answer.shard + index));
    }
  }

  private convict(worker: WorkerId): void {
    const liar = this.workers[this.context.plan.lie?.worker ?? -1]?.id;
    if (worker !== liar) throw new SimViolation(`${worker} is honest, and was taken for a liar`);
    this.caught.add(worker);
  }

  // -------------------------------------------------------------- the true story

  nextSalt(data: number): number {
    this.dataOf.set(this.salt, data);
    return this.salt++;
  }

  weightOf(version: number): number {
    if (version === 0) return FIRST_WEIGHT;
    const step = this.history[version - 1];
    if (step === undefined) throw new SimViolation(`version ${String(version)} was never made`);
    return step.weight;
  }

  private committed(version: number, step: Step): void {
    const { salt, weight, point } = step;
    const { shards } = this.context.plan;
    const before = this.weightOf(version - 1);
    const data = this.dataOf.get(salt) ?? Number.NaN;
    const known = this.classes;
    let isWrong = this.history[version - 2]?.isWrong === true;
    const possible: number[] = [];
    for (const bits of known) {
      const sum = undisturbedSum({ salt, weight: before, data, bits }, shards);
      if (Object.is(nextWeight(before, sum), weight)) possible.push(bits);
    }
    this.classes = possible;
    if (this.isLied() && this.classes.length === 0) {
      this.classes = known;
      isWrong = true;
    }
    if (this.classes.length === 0) {
      throw new SimViolation(
        `version ${String(version)}: weights ${String(weight)} are not those of undisturbed training`,
      );
    }
    if (this.history.length !== version - 1) {
      throw new SimViolation(`version ${String(version)} was made twice`);
    }
    if (this.history.some((known) => known.salt === salt)) {
      throw new SimViolation(`version ${String(version)}: its step was made before`);
    }
    this.history.push({ salt, weight, point, isWrong });
    this.strikeSoon();
  }

  /** Perhaps before the step is journaled. */
  private strikeSoon(): void {
    const { context } = this;
    const { rates, commitFactor = 0 } = context.plan;
    for (const fault of AT_COMMIT) {
      if (!context.befalls(fault, rates[fault] * commitFactor)) continue;
      context.heap.after(context.faults.between(0, context.faults.pick(AT_COMMIT_MS)), () => {
        if (!context.isHealed) STRIKES[fault](this);
      });
    }
  }

  acknowledged(version: number, salt: number): void {
    this.acks.set(version, salt);
  }

  replayed(): void {
    this.isReplayPending = false;
  }

  /** The states that a life begins with are those of a version that was; what came after is yet to be made again. */
  private compareRestored({ states }: SimEngine): void {
    const { version, weight, bookmark } = states;
    if (!Object.is(this.weightOf(version), weight)) {
      throw new SimViolation(
        `restored version ${String(version)}: weights ${String(weight)}, were ${String(this.weightOf(version))}`,
      );
    }
    if (version > 0 && this.history[version - 1]?.salt !== bookmark) {
      throw new SimViolation(`the bookmark of version ${String(version)} is of another step`);
    }
    if (this.history[version - 1]?.isWrong === true) {
      throw new SimViolation(`restored version ${String(version)} was made of a lie`);
    }
    this.history = this.history.slice(0, version);
    // Nothing that anybody was told has any bits yet.
    if (version === 0 && this.acks.size === 0) this.classes = CLASSES;
  }

  /** Kernel and engine were both lost: what neither the journal nor anybody else had is gone, and only that. */
  private forgetUnreplayed(version: number): void {
    if (!this.isReplayPending) {
      this.compareAcks();
      return;
    }
    this.isReplayPending = false;
    for (const known of [...this.acks.keys()]) if (known > version) this.acks.delete(known);
    if (version === 0) this.classes = CLASSES;
  }

  private compareAcks(): void {
    for (const [version, salt] of this.acks) {
      if (this.history[version - 1]?.salt !== salt) {
        throw new SimViolation(`version ${String(version)} was acknowledged and is lost`);
      }
    }
  }

  // -------------------------------------------------------------- the end

  /** The user is through and shuts down; with a full disk he frees space first. */
  finished(): void {
    const { engine } = this;
    const isWaiting = engine?.audits.isSettled !== true;
    if (engine === null || isWaiting || this.context.heap.nowMs < this.disk.fullUntilMs) {
      this.context.heap.after(BEAT_MS, () => {
        if (this.kernel?.isAnswered === true && this.engine !== null) this.finished();
      });
      return;
    }
    this.isClosing = true;
    engine.closeJournal();
  }

  /** What a start after the clean end would find, against the true story. */
  compare(): void {
    const { steps } = this.context.plan;
    const { image } = this.disk.restore();
    if (image?.version !== steps || this.history.length !== steps) {
      throw new SimViolation(
        `the journal ends at version ${String(image?.version)}, ${String(steps)} steps were made`,
      );
    }
    if (!Object.is(image.weight, this.weightOf(steps))) {
      throw new SimViolation(`the journal ends with other weights than the training`);
    }
    if (this.history.some(({ isWrong }) => isWrong === true)) {
      throw new SimViolation('the training ends with weights that a lie is part of');
    }
    this.compareAcks();
    this.comparePay();
    this.compareStandings();
  }

  /** Nobody is shut out for longer than the longest back-off. */
  private compareStandings(): void {
    const latestMs = this.context.heap.nowMs + ENGINE_LIMITS.quarantineMaxMs;
    for (const { worker, status, untilMs } of this.engine?.state.standings.values() ?? []) {
      if (status === 'quarantined' && untilMs > latestMs) {
        throw new SimViolation(`${worker} is in quarantine until ${String(untilMs)} ms`);
      }
    }
  }

  private isTakenLie(worker: string, salt: number, shard: number): boolean {
    return this.takenLies.size > 0 && this.takenLies.has(lieKey(worker, salt, shard));
  }

  /** Every micro-shard of every step that counts is paid, once; the ledger and the journal agree. */
  private comparePay(): void {
    const rows = this.disk.rows();
    if (rows === null) throw new SimViolation('a unit is paid twice in the journal');
    const { shards } = this.context.plan;
    for (const [index, { point, salt }] of this.history.entries()) {
      for (let shard = 0; shard < shards; shard++) {
        const row = rows.get(rowKey(point, shard));
        if (row !== undefined && this.isTakenLie(row.worker, salt, shard)) {
          throw new SimViolation(`${row.worker} is paid for a lie, version ${String(index + 1)}`);
        }
        if (row !== undefined) continue;
        const what = `version ${String(index + 1)}, micro-shard ${String(shard)}`;
        throw new SimViolation(`${what} was never paid`);
      }
    }
    let total = 0n;
    for (const { amount } of rows.values()) total += amount;
    const posted = this.engine?.state.ledger.totalPosted;
    if (posted !== total) {
      throw new SimViolation(`the journal pays ${String(total)}, the ledger ${String(posted)}`);
    }
  }
}
