/**
 * @file The scheduler of one simulated life of the engine: its events one by one, its timer, the checks of its sets, and the
 * death of the process between any two of its effects. What an effect means is the engine's.
 */
import type { ClusterEffect, ClusterEvent } from '../../kernel/src/core/cluster/events.js';
import { checkInvariants } from '../../kernel/src/core/cluster/invariants.js';
import { deadline, step } from '../../kernel/src/core/cluster/machine.js';
import type { ClusterState } from '../../kernel/src/core/cluster/state.js';
import type { Canary } from './canaries.js';
import type { SimContext } from './context.js';
import type { SimResult } from './messages.js';
import type { SimTrace } from './trace.js';

const TICK: ClusterEvent = { kind: 'tick' };
const NO_RESULTS: readonly SimResult[] = [];

/** Thrown where the process is killed. */
class Killed extends Error {}
/** One for all: the story of a stack costs more than the rest of a kill. */
const KILLED = new Killed();

export interface LoopOwner {
  isDead(): boolean;
  carryOut(effect: ClusterEffect): void;
  /** All effects of an event are carried out. */
  carriedOut(): void;
  die(): void;
}

export interface LoopOptions {
  readonly context: SimContext;
  readonly state: ClusterState;
  readonly canary: Canary | null;
  readonly trace: SimTrace;
  readonly owner: LoopOwner;
}

/** What a life had in mind ends with it. */
const actAlive = (owner: LoopOwner, act: () => void): void => {
  if (!owner.isDead()) act();
};

export class SimLoop {
  /** Of the event that is carried out. */
  results: readonly SimResult[] = NO_RESULTS;
  private readonly context: SimContext;
  private readonly state: ClusterState;
  private readonly canary: Canary | null;
  private readonly trace: SimTrace;
  private readonly owner: LoopOwner;
  private readonly crashPerMille: number;
  private timerAtMs = Infinity;

  constructor({ context, state, canary, trace, owner }: LoopOptions) {
    this.context = context;
    this.state = state;
    this.canary = canary;
    this.trace = trace;
    this.owner = owner;
    this.crashPerMille = context.plan.rates.engineCrash;
  }

  apply(event: ClusterEvent, results: readonly SimResult[] = NO_RESULTS): void {
    const { canary, trace, context, owner } = this;
    const seen = canary?.event === undefined ? event : canary.event(event);
    trace.events++;
    if (seen === null) {
      this.arm();
      return;
    }
    const made = step(this.state, seen, trace.events, context.heap.nowMs);
    const effects = canary?.effects === undefined ? made : canary.effects(made, seen, this.state);
    if (trace.isOn) trace.note(context.heap.nowMs, seen, effects);
    this.check();
    this.results = results;
    try {
      for (const effect of effects) {
        if (context.befalls('engineCrash', this.crashPerMille)) throw KILLED;
        owner.carryOut(effect);
      }
      owner.carriedOut();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      owner.die();
      return;
    }
    this.arm();
  }

  /** Also to be called at the end of the life. @throws InvariantError with the story of the last events. */
  check(): void {
    checkInvariants(this.state);
  }

  after(delayMs: number, act: () => void): void {
    const { heap } = this.context;
    heap.call(heap.nowMs + delayMs, actAlive, this.owner, act);
  }

  private arm(): void {
    const at = deadline(this.state);
    if (at === null || at >= this.timerAtMs) return;
    this.timerAtMs = at;
    this.context.heap.at(at, this.onTimer);
  }

  private readonly onTimer = (): void => {
    if (this.timerAtMs > this.context.heap.nowMs || this.owner.isDead()) return; // it was for a deadline that moved
    this.timerAtMs = Infinity;
    const due = deadline(this.state);
    if (due !== null && due <= this.context.heap.nowMs) this.apply(TICK);
    else this.arm();
  };
}
