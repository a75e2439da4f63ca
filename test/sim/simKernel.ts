/**
 * @file A kernel in simulation: a user's loop of steps, evaluations and new data, over the client's real replay log. It
 * knows what it was told, and complains when the engine says something else later.
 */
import { ReplayLog } from '../../kernel/src/core/journal/replayLog.js';
import type { Canary } from './canaries.js';
import { SimViolation } from './context.js';
import type { SimContext } from './context.js';
import type { KernelEnd, SimReply, SimRequest } from './requests.js';
import type { SimEngine } from './simEngine.js';
import { undisturbedSum } from './values.js';

const WIRE_MS = 1;
const RETRY_MS = 10;
const IN_FLIGHT = 3;
/** Small, so that a disk that is full for long makes the kernel wait. */
const REPLAY_BOUNDS = { requests: 6, sizeBytes: 1_000 };
const REQUEST_BYTES = 100;
const NEW_DATA_PER_MILLE = 100;
const EVAL_PER_MILLE = 200;

/** What all kernels of a schedule share: the world that outlives them. */
export interface KernelWorld {
  readonly context: SimContext;
  nextSalt(data: number): number;
  /** True weights of a version, as the steps so far make them. */
  weightOf(version: number): number;
  /** A step was acknowledged: from here on it must not be lost. */
  acknowledged(version: number, salt: number): void;
  /** All that this kernel had asked was answered again after an engine's death. */
  replayed(): void;
  finished(): void;
}

type Goal = SimRequest['kind'];

export class SimKernel implements KernelEnd {
  isDead = false;
  /** Null until the engine has told it. */
  session: number | null = null;
  /** Bit class of the run, as the engine said with its last answer. */
  pin: string | null = null;
  private readonly world: KernelWorld;
  private readonly canary: Canary | null;
  private readonly log = new ReplayLog<SimRequest>(REPLAY_BOUNDS);
  private readonly answers = new Map<number, SimReply>();
  private readonly requests = new Map<number, { request: SimRequest; data: number }>();
  private engine: SimEngine | null = null;
  private epoch = 1;
  private nextId = 1;
  private nextDataId = 1;
  private stepsLeft = 0;
  private goals: Goal[] = [];
  private inFlight = 0;
  private data = 0;
  private isStopping = false;
  private replayUpTo = 0;

  constructor(world: KernelWorld, canary: Canary | null) {
    this.world = world;
    this.canary = canary;
  }

  /** Everything that it asked, and asked again, is answered. */
  get isAnswered(): boolean {
    return this.inFlight === 0 && this.log.acked === this.nextId - 1;
  }

  // -------------------------------------------------------------- engines come and go

  /** Attached for the first time. */
  begin(engine: SimEngine, firstDataId: number): void {
    this.engine = engine;
    this.session = engine.session;
    this.nextDataId = firstDataId;
    this.stepsLeft = this.world.context.plan.steps - engine.states.version;
    this.goals = ['define'];
    this.pump();
  }

  /** The engine was started again: what it does not have is asked again, in order. */
  resume(engine: SimEngine): void {
    this.engine = engine;
    const { session, request } = engine.restoredPoint;
    const watermark = session === this.session ? request : 0;
    const open = new Set(this.openIds());
    const again = this.log.replay(watermark, (epoch) => epoch < this.epoch);
    if (again === null) {
      throw new SimViolation(
        `the engine says that it has ${String(watermark)}, it had said ${String(this.log.watermark)}`,
      );
    }
    this.replayUpTo = this.nextId - 1;
    const first = this.canary?.flaw === 'shortReplay' ? 1 : 0;
    for (const { id, body } of again.slice(first))
      this.transmit({ ...body, isRepeat: this.answers.has(id) });
    const sent = new Set(again.map(({ id }) => id));
    for (const id of open) if (!sent.has(id)) this.takeRefusal(id);
    this.acknowledge();
    this.pump();
  }

  engineDied(): void {
    this.engine = null;
  }

  private openIds(): number[] {
    return [...this.requests.keys()].filter((id) => !this.answers.has(id));
  }

  // -------------------------------------------------------------- asking

  private pump(): void {
    if (this.isDead || this.engine === null || this.isStopping) return;
    while (this.inFlight < IN_FLIGHT) {
      const goal = this.goals[0] ?? this.nextGoal();
      if (goal === null) break;
      this.goals[0] = goal;
      if (!this.log.hasRoomFor(goal !== 'eval', REQUEST_BYTES)) return;
      this.goals.shift();
      this.ask(goal);
    }
    if (this.isAnswered && this.goals.length === 0 && this.stepsLeft === 0) {
      // Behind the last acknowledgement.
      this.later(() => {
        if (this.isAnswered) this.world.finished();
      });
    }
  }

  private nextGoal(): Goal | null {
    const { work } = this.world.context;
    if (this.stepsLeft === 0) return null;
    if (work.chance(NEW_DATA_PER_MILLE)) return 'define';
    if (work.chance(EVAL_PER_MILLE)) return 'eval';
    this.stepsLeft--;
    return 'step';
  }

  private ask(goal: Goal): void {
    const id = this.nextId++;
    const { epoch } = this;
    const isRepeat = false;
    let request: SimRequest;
    if (goal === 'define') {
      this.data = this.world.context.work.between(1, 100);
      const dataId = this.nextDataId++;
      request = { id, epoch, isRepeat, kind: goal, dataId, data: this.data };
    } else {
      request = { id, epoch, isRepeat, kind: goal, salt: this.world.nextSalt(this.data) };
    }
    this.requests.set(id, { request, data: this.data });
    this.inFlight++;
    const isEffect = goal !== 'eval';
    this.log.sent({ id, epoch, isEffect, sizeBytes: REQUEST_BYTES, body: request });
    this.transmit(request);
  }

  private transmit(request: SimRequest): void {
    const { engine } = this;
    this.later(() => {
      if (engine === this.engine) engine?.receive(request);
    });
  }

  /** Stop, then the same loop again, as a user would. */
  stop(): void {
    if (this.isStopping || this.engine === null || this.inFlight === 0) return;
    this.isStopping = true;
    const stopped = this.epoch++;
    const { engine } = this;
    this.later(() => {
      if (engine === this.engine) engine.cancelEpoch(stopped);
    });
  }

  private later(act: () => void): void {
    this.world.context.heap.after(WIRE_MS, () => {
      if (!this.isDead) act();
    });
  }

  // -------------------------------------------------------------- being answered

  onReply(reply: SimReply): void {
    if (this.isDead) return;
    this.pin = reply.pin;
    const asked = this.requests.get(reply.id);
    const verdict = this.log.answered(reply.id, reply.isOk);
    if (asked === undefined || verdict === 'diverged') {
      throw new SimViolation(`request ${String(reply.id)} succeeded before and is refused now`);
    }
    if (verdict === 'repeated') this.compare(reply);
    else if (reply.isOk) this.takeAnswer(asked.request, asked.data, reply);
    else this.takeRefusal(reply.id);
    this.acknowledge();
    const { heap, plan } = this.world.context;
    heap.after(reply.isOk ? plan.thinkMs : RETRY_MS, () => {
      this.pump();
    });
  }

  onDurable(request: number): void {
    if (this.isDead) return;
    this.log.settle(request);
    this.pump();
  }

  private acknowledge(): void {
    const { acked } = this.log;
    const { engine } = this;
    this.later(() => {
      if (engine === this.engine) engine?.acked(acked);
    });
    if (this.replayUpTo > 0 && acked >= this.replayUpTo) {
      this.replayUpTo = 0;
      this.world.replayed();
    }
  }

  private compare(reply: SimReply): void {
    const first = this.answers.get(reply.id);
    const isSame =
      first?.version === reply.version &&
      Object.is(first.weight, reply.weight) &&
      Object.is(first.sum, reply.sum);
    // What was answered before a lie was found was part of it.
    if (!isSame && (this.world.context.plan.lie ?? null) === null) {
      throw new SimViolation(
        `request ${String(reply.id)} was answered ${JSON.stringify(first)}, and after a restart ${JSON.stringify(reply)}`,
      );
    }
  }

  private takeAnswer(request: SimRequest, data: number, reply: SimReply): void {
    this.answers.set(reply.id, reply);
    this.closeOne();
    if (request.kind === 'step') this.world.acknowledged(reply.version, request.salt);
    if (request.kind !== 'eval' || (this.world.context.plan.lie ?? null) !== null) return;
    const weight = this.world.weightOf(reply.version);
    const { shards } = this.world.context.plan;
    const { salt } = request;
    const sum = undisturbedSum({ salt, weight, data, bits: 0 }, shards);
    if (Object.is(sum, reply.sum)) return;
    // The other bit class: most schedules have one.
    if (Object.is(undisturbedSum({ salt, weight, data, bits: 1 }, shards), reply.sum)) return;
    throw new SimViolation(
      `evaluation ${String(reply.id)}: ${String(reply.sum)}, undisturbed ${String(sum)}`,
    );
  }

  /** Failed or stopped: the user asks again. */
  private takeRefusal(id: number): void {
    const asked = this.requests.get(id);
    this.requests.delete(id);
    this.closeOne();
    if (asked === undefined) return;
    // New data first: the steps that were asked for after it meant it.
    if (asked.request.kind === 'define') this.goals.unshift('define');
    else this.goals.push(asked.request.kind);
  }

  private closeOne(): void {
    this.inFlight--;
    if (this.inFlight === 0) this.isStopping = false;
  }
}
