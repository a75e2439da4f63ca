/** @file What a panel shows: plain JSON, one document per kernel. No view logic, no transport. RFC 2 §2. */
import { PANEL_LIMITS as LIMITS, LIMITS as WIRE_LIMITS } from '../limits.js';
import type { Fields, Reader } from '../read.js';
import {
  amountOf,
  baseUnits,
  count,
  finite,
  flag,
  id,
  list,
  nullable,
  oneOf,
  record,
  reject,
  text,
} from '../read.js';
import type { PaymentsSummary } from './payments.js';
import { EMPTY_PAYMENTS, PAYMENTS_FIELDS } from './payments.js';

export const CLUSTER_STATES = [
  'off',
  'starting',
  'ready',
  'training',
  'stopping',
  'failed',
] as const;
export type ClusterState = (typeof CLUSTER_STATES)[number];

export const CONTRIBUTOR_STATES = [
  'joining',
  'idle',
  'busy',
  'suspect',
  'quarantined',
  'paused',
  'draining',
  'gone',
] as const;
export type ContributorState = (typeof CONTRIBUTOR_STATES)[number];

export const JOB_STATES = ['running', 'paused', 'stopping', 'stopped', 'done', 'failed'] as const;
export type JobState = (typeof JOB_STATES)[number];

/** Of the final weights: the same bits whoever computes, or, with mixed bit classes, within rounding of them. */
export const PROMISES = ['same-bits', 'within-tolerance'] as const;
export type Promised = (typeof PROMISES)[number];

export const ALERT_LEVELS = ['info', 'warning', 'error'] as const;
export type AlertLevel = (typeof ALERT_LEVELS)[number];

export interface ClusterSummary {
  readonly state: ClusterState;
  /** Null until the engine process runs. */
  readonly engineId: string | null;
  readonly canInvite: boolean;
  /** Workers that can take units now; counts those beyond the rows of a snapshot too. */
  readonly workerCount: number;
  readonly samplesPerSecond: number;
  readonly inFlightUnits: number;
  readonly queuedUnits: number;
  readonly unitsDone: number;
  readonly unitsFailed: number;
}

export interface Contributor {
  readonly workerId: string;
  readonly shortId: string;
  /** Chosen by the contributor, hostile: show it through `displayName` only. */
  readonly name: string | null;
  readonly device: string;
  readonly backend: string;
  readonly state: ContributorState;
  readonly unitsDone: number;
  readonly unitsFailed: number;
  readonly samplesPerSecond: number;
  /** Null until the first answer. */
  readonly latencyMs: number | null;
  /** Measured, not advertised; null until measured. */
  readonly gflops: number | null;
  readonly memoryBytes: number | null;
  /** Metered by the ledger, in base units of the currency. */
  readonly earnedUnits: string;
  readonly joinedAtMs: number;
  /** Started by this engine on this machine. */
  readonly local: boolean;
}

/** `[step, loss]`: mean loss of `stride` steps that begin at `step`. */
export type LossPoint = readonly [step: number, loss: number];

/** The whole run at a bounded number of points; made by `appendLoss`. */
export interface LossSeries {
  /** Steps merged into one point, a power of two. */
  readonly stride: number;
  /** Steps merged into the last point so far, 1 to `stride`; 0 when there is no point. */
  readonly lastCount: number;
  readonly points: readonly LossPoint[];
}

export interface JobSummary {
  readonly runId: string;
  readonly state: JobState;
  /** Counted from 0; null when the run does not go by epochs. */
  readonly epoch: number | null;
  readonly epochs: number | null;
  /** Steps committed. */
  readonly step: number;
  /** Steps planned; null when not known. */
  readonly steps: number | null;
  /** Of the last committed step. */
  readonly loss: number | null;
  readonly lossSeries: LossSeries;
  readonly samplesPerSecond: number;
  readonly etaMs: number | null;
  readonly samplesDone: number;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  /** Why it failed or stopped; null while it runs. */
  readonly message: string | null;
  readonly promise: Promised;
  /** Backend and instructions that its bits come from; null before the first step. */
  readonly bitClass: string | null;
}

export interface Alert {
  readonly alertId: string;
  readonly level: AlertLevel;
  readonly text: string;
  readonly atMs: number;
}

/** Immutable; rows are sets keyed by id, their order has no meaning. */
export interface PanelState {
  readonly cluster: ClusterSummary;
  readonly contributors: readonly Contributor[];
  readonly job: JobSummary | null;
  readonly payments: PaymentsSummary;
  readonly alerts: readonly Alert[];
}

const workerIdOf = id(LIMITS.idChars);
const shortIdOf = id(16);
const money = baseUnits(LIMITS.amountDigits);

export const CLUSTER_FIELDS: Fields<ClusterSummary> = {
  state: oneOf(CLUSTER_STATES),
  engineId: nullable(id(LIMITS.idChars)),
  canInvite: flag,
  workerCount: count(),
  samplesPerSecond: amountOf,
  inFlightUnits: count(),
  queuedUnits: count(),
  unitsDone: count(),
  unitsFailed: count(),
};

export const CONTRIBUTOR_FIELDS: Fields<Contributor> = {
  workerId: workerIdOf,
  shortId: shortIdOf,
  name: nullable(text(LIMITS.nameChars)),
  device: text(LIMITS.nameChars),
  backend: text(LIMITS.nameChars),
  state: oneOf(CONTRIBUTOR_STATES),
  unitsDone: count(),
  unitsFailed: count(),
  samplesPerSecond: amountOf,
  latencyMs: nullable(amountOf),
  gflops: nullable(amountOf),
  memoryBytes: nullable(amountOf),
  earnedUnits: money,
  joinedAtMs: count(),
  local: flag,
};

export const lossPoint: Reader<LossPoint> = (value, path) => {
  if (!Array.isArray(value) || value.length !== 2) return reject(path, '[step, loss]', value);
  return [count()(value[0], `${path}[0]`), finite(value[1], `${path}[1]`)];
};

export const lossPoints = list(lossPoint, LIMITS.lossPoints);

export const LOSS_FIELDS: Fields<LossSeries> = {
  stride: count(),
  lastCount: count(),
  points: lossPoints,
};

export const JOB_FIELDS: Fields<JobSummary> = {
  runId: id(LIMITS.idChars),
  state: oneOf(JOB_STATES),
  epoch: nullable(count()),
  epochs: nullable(count()),
  step: count(),
  steps: nullable(count()),
  loss: nullable(finite),
  lossSeries: record(LOSS_FIELDS),
  samplesPerSecond: amountOf,
  etaMs: nullable(amountOf),
  samplesDone: count(),
  startedAtMs: count(),
  endedAtMs: nullable(count()),
  message: nullable(text(LIMITS.textChars)),
  promise: oneOf(PROMISES),
  bitClass: nullable(text(WIRE_LIMITS.bitClassChars)),
};

export const ALERT_FIELDS: Fields<Alert> = {
  alertId: id(LIMITS.idChars),
  level: oneOf(ALERT_LEVELS),
  text: text(LIMITS.textChars),
  atMs: count(),
};

export const alerts = list(record(ALERT_FIELDS), LIMITS.alerts);

export const PANEL_STATE_FIELDS: Fields<PanelState> = {
  cluster: record(CLUSTER_FIELDS),
  contributors: list(record(CONTRIBUTOR_FIELDS), LIMITS.contributors),
  job: nullable(record(JOB_FIELDS)),
  payments: record(PAYMENTS_FIELDS),
  alerts,
};

export const readPanelState = record(PANEL_STATE_FIELDS);

export const EMPTY_LOSS_SERIES: LossSeries = { stride: 1, lastCount: 0, points: [] };

/** The state before an engine exists. */
export const EMPTY_PANEL_STATE: PanelState = {
  cluster: {
    state: 'off',
    engineId: null,
    canInvite: false,
    workerCount: 0,
    samplesPerSecond: 0,
    inFlightUnits: 0,
    queuedUnits: 0,
    unitsDone: 0,
    unitsFailed: 0,
  },
  contributors: [],
  job: null,
  payments: EMPTY_PAYMENTS,
  alerts: [],
};
