/** @file Optimizer steps in flight: their order, the weights version they make, and where their errors surface. */
import type { EngineReply, EngineRequest, StateVersion, TensorData } from '@ravenlab/protocol';
import { API_LIMITS, RavenError } from '@ravenlab/protocol';
import type { Session } from './session.js';

/** Finds out why a step failed: one more request, and what its answer means. */
export interface Diagnosis {
  readonly request: EngineRequest;
  explain(reply: EngineReply): RavenError;
}

export interface StepCallbacks {
  /** The step is committed; outputs in plan order. */
  committed(outputs: readonly (TensorData | null)[]): void;
  /** The step never happened: it failed, one before it did, or Stop came. */
  abandoned(): void;
  /** It did happen after all, before Stop reached the engine: it made `version`. */
  adopted(version: StateVersion): void;
  /** How to explain `error`, null if it speaks for itself. */
  diagnose(error: RavenError): Diagnosis | null;
  /** Whether the step can be done in another form, for which `error` has no reason; then `request` asks for that. */
  adapt(error: RavenError): boolean;
  /** What asks for the step, in the form that is right now. */
  request(): EngineRequest;
}

/**
 * One optimizer step on its way. Awaiting it waits for the commit; leaving it alone is fine too: values of its tensors
 * wait for it, and its error surfaces at the next call that touches the cluster.
 */
export class PendingStep implements PromiseLike<void> {
  /** Another one when it is asked for again. */
  reply: Promise<EngineReply>;
  readonly callbacks: StepCallbacks;
  private readonly queue: StepQueue;
  private readonly finished: Promise<void>;
  private resolve: () => void = () => undefined;
  private reject: (error: RavenError) => void = () => undefined;
  private outcome: 'inFlight' | 'committed' | RavenError = 'inFlight';

  constructor(queue: StepQueue, reply: Promise<EngineReply>, callbacks: StepCallbacks) {
    this.queue = queue;
    this.reply = reply;
    this.callbacks = callbacks;
    this.finished = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Nobody needs to await a step: the queue keeps its error for the next call.
    this.finished.catch(() => undefined);
  }

  get isInFlight(): boolean {
    return this.outcome === 'inFlight';
  }

  then<R = void, E = never>(
    onCommitted?: (() => R | PromiseLike<R>) | null,
    onFailed?: ((error: unknown) => E | PromiseLike<E>) | null,
  ): PromiseLike<R | E> {
    if (onFailed) this.queue.observe(this);
    return this.finished.then(onCommitted, onFailed);
  }

  /** Blocks until the step is committed. @throws the RavenError that stopped it. */
  wait(): void {
    this.queue.waitFor(this);
    if (this.outcome instanceof RavenError) {
      this.queue.reported(this.outcome);
      throw this.outcome;
    }
  }

  /** Settles when the step is committed; rejects with the RavenError that stopped it. */
  async ready(): Promise<void> {
    this.queue.observe(this);
    await this.finished;
  }

  /** Settles with the step and never rejects. */
  async settled(): Promise<void> {
    await this.finished.catch(() => undefined);
  }

  settle(outcome: 'committed' | RavenError): void {
    if (this.outcome !== 'inFlight') return;
    this.outcome = outcome;
    if (outcome === 'committed') this.resolve();
    else this.reject(outcome);
  }
}

export class StepQueue {
  /** Version after the steps in flight. */
  version = 0 as StateVersion;
  private committed = 0 as StateVersion;
  private readonly session: Session;
  private readonly onRollBack: (committed: StateVersion) => void;
  private inFlight: PendingStep[] = [];
  private readonly observed = new WeakSet<PendingStep>();
  private unreported: RavenError | null = null;
  /** Steps whose answers Stop has cut off; the engine may have finished the first of them. */
  private undecided: readonly PendingStep[] = [];

  constructor(session: Session, onRollBack: (committed: StateVersion) => void) {
    this.session = session;
    this.onRollBack = onRollBack;
  }

  /** Sends a step; blocks while `API_LIMITS.stepsInFlight` others are on their way. */
  submit(callbacks: StepCallbacks): PendingStep {
    this.settleVersion();
    const oldest = this.inFlight[0];
    if (oldest !== undefined && this.inFlight.length >= API_LIMITS.stepsInFlight) oldest.wait();
    const reply = this.session.request(callbacks.request());
    const step = new PendingStep(this, reply, callbacks);
    this.version = (this.version + 1) as StateVersion;
    this.inFlight.push(step);
    this.follow(step);
    return step;
  }

  private follow(step: PendingStep): void {
    const { reply } = step;
    reply.then(
      (answer) => {
        if (step.reply === reply) this.commit(step, answer);
      },
      (error: unknown) => {
        void this.fail(step, reply, error);
      },
    );
  }

  /** Asks for the first step in another form, and again for those behind it: the engine refused them with it. */
  private adapted(error: RavenError): boolean {
    if (this.inFlight[0]?.callbacks.adapt(error) !== true) return false;
    for (const step of this.inFlight) {
      step.reply = this.session.request(step.callbacks.request());
      this.follow(step);
    }
    return true;
  }

  /** Blocks until `step` and all before it have settled. */
  waitFor(step: PendingStep): void {
    while (step.isInFlight) {
      const head = this.inFlight[0] ?? step;
      let reply: EngineReply;
      try {
        reply = this.session.waitSync(head.reply);
      } catch (error) {
        const failure = asRavenError(error);
        if (this.adapted(failure)) continue;
        const diagnosis = head.callbacks.diagnose(failure);
        this.abandon(diagnosis === null ? failure : this.explainSync(diagnosis, failure));
        continue;
      }
      this.commit(head, reply);
    }
  }

  /** After Stop: asks the engine which weights there are, because it may have finished a step before it heard. */
  settleVersion(): void {
    if (this.undecided.length === 0) return;
    // Slots are read when no update is running: the version after it is final.
    this.session.requestSync({ kind: 'readSlots', optimizerId: 0, stateIds: [] });
    const request = { kind: 'readStates', stateIds: [], version: this.committed } as const;
    const reply = this.session.requestSync(request);
    if (reply.kind !== 'states') {
      throw new RavenError('internal', `the engine answered 'readStates' with '${reply.kind}'`);
    }
    const finished = this.undecided.slice(0, reply.version - this.committed);
    finished.forEach((step, index) => {
      step.callbacks.adopted((this.committed + index + 1) as StateVersion);
    });
    this.undecided = [];
    this.committed = reply.version;
    this.version = reply.version;
  }

  /** Blocks until nothing is in flight. @throws the RavenError of the first step that failed. */
  waitForAll(): void {
    for (let last = this.inFlight.at(-1); last !== undefined; last = this.inFlight.at(-1)) {
      last.wait();
    }
  }

  /** Counts on from what an engine has committed. */
  start(committed: StateVersion): void {
    this.committed = committed;
    this.version = committed;
    this.undecided = [];
  }

  /** Someone waits for this step: its error is theirs. */
  observe(step: PendingStep): void {
    this.observed.add(step);
  }

  reported(error: RavenError): void {
    if (this.unreported === error) this.unreported = null;
  }

  /** @throws the error of an earlier step that nobody awaited, once. */
  throwUnreported(): void {
    const error = this.unreported;
    this.unreported = null;
    if (error !== null) throw error;
  }

  private commit(step: PendingStep, reply: EngineReply): void {
    if (!step.isInFlight) return;
    if (reply.kind !== 'executed') {
      throw new RavenError('internal', `the engine answered a step with '${reply.kind}'`);
    }
    this.inFlight = this.inFlight.filter((other) => other !== step);
    this.committed = reply.version;
    step.callbacks.committed(reply.outputs);
    step.settle('committed');
  }

  private async fail(
    step: PendingStep,
    reply: Promise<EngineReply>,
    cause: unknown,
  ): Promise<void> {
    // Once it is asked for again, the answer of before says nothing.
    const isOpen = (): boolean => step.isInFlight && step.reply === reply;
    // Answers may overtake each other: what failed first in line decides.
    for (let head = this.inFlight[0]; isOpen() && head !== step; head = this.inFlight[0]) {
      if (head === undefined) return;
      await head.settled();
    }
    if (!isOpen()) return;
    let failure = asRavenError(cause);
    if (this.adapted(failure)) return;
    const diagnosis = step.callbacks.diagnose(failure);
    if (diagnosis !== null) {
      try {
        failure = diagnosis.explain(await this.session.request(diagnosis.request));
      } catch {
        // The diagnosis is a courtesy: without it the engine's own words stand.
      }
    }
    // Someone may have waited for it in the meantime.
    if (this.inFlight[0] === step && isOpen()) this.abandon(failure);
  }

  private explainSync(diagnosis: Diagnosis, failure: RavenError): RavenError {
    try {
      return diagnosis.explain(this.session.requestSync(diagnosis.request));
    } catch {
      return failure;
    }
  }

  /** The first step in flight failed: the ones behind it build on weights that will never exist. */
  private abandon(error: RavenError): void {
    const lost = this.inFlight;
    this.inFlight = [];
    this.version = this.committed;
    this.onRollBack(this.committed);
    // Stop was reported by the cell that it ended; the next cell starts clean.
    const isKnown = error.code === 'interrupted' || lost.some((step) => this.observed.has(step));
    if (!isKnown) this.unreported = error;
    if (error.code === 'interrupted') this.undecided = lost;
    for (const step of lost) {
      step.callbacks.abandoned();
      step.settle(error);
    }
  }
}

function asRavenError(error: unknown): RavenError {
  if (error instanceof RavenError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new RavenError('internal', message, { fault: 'local', cause: error });
}
