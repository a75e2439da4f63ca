/** @file The engine's state as the panel shows it. Reads everything, changes nothing but its own memory of what it showed. */
import type {
  Alert,
  Contributor,
  ContributorState,
  ExecutionPlan,
  JobState,
  JobSummary,
  PanelState,
  WorkerId,
} from '@ravenlab/protocol';
import {
  EMPTY_LOSS_SERIES,
  ENGINE_LIMITS,
  LIMITS,
  PANEL_LIMITS,
  appendLoss,
} from '@ravenlab/protocol';
import type { MemberStatus } from '../core/cluster/memberTable.js';
import { memberWorks } from '../core/cluster/memberTable.js';
import { promiseOf } from '../core/cluster/classes.js';
import type { ClusterState } from '../core/cluster/state.js';
import type { PaymentWarning, PaymentsView } from './paymentsView.js';
import { PAYMENT_TOPICS, warningsOf } from './paymentsView.js';
import { AlertBoard } from './alertBoard.js';
import type { WorkerSession } from './session.js';
import { shortIdOf } from './workerHub.js';

/** What is shown of a worker beside what the scheduler knows; kept after it has left. */
interface Face {
  readonly worker: WorkerId;
  readonly name: string;
  readonly device: string;
  readonly backend: string;
  readonly gflops: number;
  readonly memoryBytes: number;
  readonly joinedAtMs: number;
  readonly local: boolean;
  leftAtMs: number | null;
  unitsDone: number;
  unitsFailed: number;
  latencyMs: number | null;
  /** Samples per second over the last windows. */
  rate: Rate;
}

/** A count turned into a rate over a sliding window of a few seconds. */
class Rate {
  private readonly marks: { readonly atMs: number; readonly total: number }[] = [];

  mark(atMs: number, total: number): void {
    this.marks.push({ atMs, total });
    while (this.marks.length > 2 && (this.marks[0]?.atMs ?? 0) < atMs - RATE_WINDOW_MS) {
      this.marks.shift();
    }
  }

  perSecond(): number {
    const first = this.marks[0];
    const last = this.marks[this.marks.length - 1];
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return ((last.total - first.total) * 1000) / (last.atMs - first.atMs);
  }
}

/** What the panel remembers beside what the scheduler knows; plain data. */
export interface PanelMemory {
  readonly job: JobSummary | null;
  readonly alerts: readonly Alert[];
  readonly faces: readonly Omit<Face, 'rate'>[];
}

const RATE_WINDOW_MS = 5_000;
/** A job without a step for this long shows no rate. */
const IDLE_MS = 10_000;

const STATES: Readonly<Record<MemberStatus, ContributorState>> = {
  probation: 'joining',
  active: 'idle',
  suspect: 'suspect',
  stalled: 'suspect',
  quarantined: 'quarantined',
  paused: 'paused',
  draining: 'draining',
  gone: 'gone',
};

export class PanelView {
  private readonly engineId: string;
  private readonly cluster: ClusterState;
  private readonly payments: PaymentsView;
  /** What else the panel is told. */
  readonly alerts: AlertBoard;
  private readonly wallMs: () => number;
  private readonly faces = new Map<WorkerId, Face>();
  private job: JobSummary | null = null;
  private readonly jobRate = new Map<string, Rate>();
  private lastStepAtMs = 0;
  canInvite = true;

  constructor(options: {
    readonly engineId: string;
    readonly cluster: ClusterState;
    readonly payments: PaymentsView;
    readonly wallMs: () => number;
  }) {
    this.engineId = options.engineId;
    this.cluster = options.cluster;
    this.payments = options.payments;
    this.wallMs = options.wallMs;
    this.alerts = new AlertBoard(options.wallMs);
  }

  get currentRun(): string | null {
    return this.job?.state === 'running' ? this.job.runId : null;
  }

  memory(): PanelMemory {
    const faces = [...this.faces.values()].map(({ rate: _rate, ...face }) => {
      const member = this.cluster.members.get(face.worker);
      const { unitsDone, unitsFailed } = face;
      return {
        ...face,
        unitsDone: unitsDone + (member?.unitsDone ?? 0),
        unitsFailed: unitsFailed + (member?.unitsFailed ?? 0),
      };
    });
    return { job: this.job, alerts: this.alerts.memory(), faces };
  }

  /** Goes on where an earlier life of the engine was; its workers are gone until they join again. */
  recall({ job, alerts, faces }: PanelMemory): void {
    this.job = job;
    this.alerts.recall(alerts);
    for (const face of faces) {
      const leftAtMs = face.leftAtMs ?? this.wallMs();
      this.faces.set(face.worker, { ...face, leftAtMs, rate: new Rate() });
    }
  }

  joined(session: WorkerSession): void {
    const { workerId, name, capabilities } = session.hello;
    const known = this.faces.get(workerId);
    this.faces.set(workerId, {
      worker: workerId,
      name: name.slice(0, PANEL_LIMITS.nameChars),
      device: capabilities.device.slice(0, PANEL_LIMITS.nameChars),
      backend: capabilities.backend,
      gflops: capabilities.gflops,
      memoryBytes: capabilities.memoryBytes,
      joinedAtMs: this.wallMs(),
      local: session.peer.origin === 'local',
      leftAtMs: null,
      unitsDone: known?.unitsDone ?? 0,
      unitsFailed: known?.unitsFailed ?? 0,
      latencyMs: null,
      rate: new Rate(),
    });
  }

  left(worker: WorkerId): void {
    const face = this.faces.get(worker);
    if (face === undefined) return;
    const member = this.cluster.members.get(worker);
    face.leftAtMs = this.wallMs();
    face.unitsDone += member?.unitsDone ?? 0;
    face.unitsFailed += member?.unitsFailed ?? 0;
    const gone = [...this.faces.values()].filter((each) => each.leftAtMs !== null);
    gone.sort((a, b) => (a.leftAtMs ?? 0) - (b.leftAtMs ?? 0));
    for (const old of gone.slice(0, Math.max(0, gone.length - ENGINE_LIMITS.members))) {
      this.faces.delete(old.worker);
    }
  }

  /**
   * A training step is committed.
   * @param loss null when the plan names none
   * @param isLate it was whole when its run was stopped: it counts, and the run stays what it is
   */
  stepped(plan: ExecutionPlan, loss: number | null, isLate = false): void {
    const { step } = plan;
    if (step === null) return;
    const nowMs = this.wallMs();
    const before = this.job?.runId === step.runId ? this.job : this.newJob(step.runId, nowMs);
    const samplesDone = before.samplesDone + step.samples;
    const rate = this.rateOf(step.runId);
    rate.mark(nowMs, samplesDone);
    this.lastStepAtMs = nowMs;
    const stepsDone = step.step + 1;
    this.job = {
      ...before,
      state: step.steps !== null && stepsDone >= step.steps ? 'done' : 'running',
      epoch: step.epochs === null ? null : step.epoch,
      epochs: step.epochs,
      step: stepsDone,
      steps: step.steps,
      loss,
      lossSeries:
        loss === null ? before.lossSeries : appendLoss(before.lossSeries, step.step, loss),
      samplesPerSecond: rate.perSecond(),
      etaMs: etaOf(step.steps, stepsDone, nowMs - before.startedAtMs),
      samplesDone,
      endedAtMs: null,
      message: null,
      ...this.promiseOf(step.runId),
    };
    if (isLate && before.endedAtMs !== null) {
      const { state, endedAtMs, message } = before;
      this.job = { ...this.job, state, endedAtMs, message, etaMs: null };
    } else if (this.job.state === 'done') this.endJob('done', null);
  }

  /** The run of this id ended; ignored for another one. */
  ended(
    runId: string,
    state: Extract<JobState, 'done' | 'stopped' | 'failed'>,
    message: string | null,
  ): void {
    if (this.job?.runId === runId) this.endJob(state, message);
  }

  snapshot(): PanelState {
    const nowMs = this.wallMs();
    const { members, counters, leases, queuedUnits } = this.cluster;
    for (const face of this.faces.values()) {
      const member = members.get(face.worker);
      if (member !== undefined) face.rate.mark(nowMs, member.samplesDone);
    }
    const contributors = this.contributors();
    const payments = this.payments.summary(nowMs, (worker) => this.faces.get(worker)?.name ?? '');
    this.warn(warningsOf(payments, nowMs));
    const workerCount = [...members.values()].filter(({ status }) => memberWorks(status)).length;
    const isTraining = this.job?.state === 'running' && nowMs - this.lastStepAtMs < IDLE_MS;
    return {
      cluster: {
        state: isTraining ? 'training' : 'ready',
        engineId: this.engineId,
        canInvite: this.canInvite,
        workerCount,
        samplesPerSecond: contributors.reduce((sum, row) => sum + row.samplesPerSecond, 0),
        inFlightUnits: leases.size,
        queuedUnits,
        unitsDone: counters.unitsDone,
        unitsFailed: counters.unitsFailed,
      },
      contributors,
      job:
        this.job === null || isTraining
          ? this.job
          : { ...this.job, samplesPerSecond: 0, etaMs: null },
      payments,
      alerts: this.alerts.list(),
    };
  }

  private warn(warnings: readonly PaymentWarning[]): void {
    for (const { topic, level, text } of warnings) this.alerts.tell(level, text, topic);
    for (const topic of PAYMENT_TOPICS) {
      if (!warnings.some((warning) => warning.topic === topic)) this.alerts.resolve(topic);
    }
  }

  private contributors(): Contributor[] {
    const faces = [...this.faces.values()];
    const present = faces.filter((face) => face.leftAtMs === null);
    const gone = faces
      .filter((face) => face.leftAtMs !== null)
      .sort((a, b) => (b.leftAtMs ?? 0) - (a.leftAtMs ?? 0))
      .slice(0, ENGINE_LIMITS.goneShown);
    return [...present, ...gone].slice(0, PANEL_LIMITS.contributors).map((face) => this.row(face));
  }

  private row(face: Face): Contributor {
    const member = this.cluster.members.get(face.worker);
    const isGone = face.leftAtMs !== null || member === undefined;
    // A worker between two short units works: the word must not flicker with every snapshot.
    const hasWork = (member?.leases.size ?? 0) > 0 || face.rate.perSecond() > 0;
    const isBusy = member !== undefined && memberWorks(member.status) && hasWork;
    const posted = this.cluster.ledger.accounts.get(face.worker)?.posted ?? 0n;
    return {
      workerId: face.worker.slice(0, PANEL_LIMITS.idChars),
      shortId: shortIdOf(face.worker),
      name: face.name === '' ? null : face.name,
      device: face.device,
      backend: face.backend,
      state: isGone ? 'gone' : isBusy ? 'busy' : STATES[member.status],
      unitsDone: face.unitsDone + (isGone ? 0 : member.unitsDone),
      unitsFailed: face.unitsFailed + (isGone ? 0 : member.unitsFailed),
      samplesPerSecond: isGone ? 0 : face.rate.perSecond(),
      latencyMs: isGone || member.latencyUs === 0 ? null : member.latencyUs / 1000,
      gflops: face.gflops,
      memoryBytes: face.memoryBytes,
      earnedUnits: posted.toString(),
      joinedAtMs: face.joinedAtMs,
      local: face.local,
    };
  }

  private endJob(
    state: Extract<JobState, 'done' | 'stopped' | 'failed'>,
    message: string | null,
  ): void {
    if (this.job === null) return;
    this.job = {
      ...this.job,
      state,
      etaMs: null,
      endedAtMs: this.wallMs(),
      message: message?.slice(0, PANEL_LIMITS.textChars) ?? null,
    };
  }

  private newJob(runId: string, nowMs: number): JobSummary {
    this.jobRate.clear();
    return {
      runId: runId.slice(0, LIMITS.idChars),
      state: 'running',
      epoch: null,
      epochs: null,
      step: 0,
      steps: null,
      loss: null,
      lossSeries: EMPTY_LOSS_SERIES,
      samplesPerSecond: 0,
      etaMs: null,
      samplesDone: 0,
      startedAtMs: nowMs,
      endedAtMs: null,
      message: null,
      promise: 'same-bits',
      bitClass: null,
    };
  }

  private promiseOf(run: string): Pick<JobSummary, 'promise' | 'bitClass'> {
    const { bitClass, isExact } = promiseOf(this.cluster, run);
    return { promise: isExact ? 'same-bits' : 'within-tolerance', bitClass };
  }

  private rateOf(runId: string): Rate {
    let rate = this.jobRate.get(runId);
    if (rate === undefined) {
      rate = new Rate();
      this.jobRate.set(runId, rate);
    }
    return rate;
  }
}

/** From the mean pace so far; null before there is one. The first step pays for compilation, so it says little. */
function etaOf(steps: number | null, done: number, elapsedMs: number): number | null {
  if (steps === null || done < 2) return null;
  return Math.max(0, Math.round(((steps - done) * elapsedMs) / (done - 1)));
}
