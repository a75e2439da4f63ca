/** @file Sentences made from the state: status bar, spoken summary, state labels. Pure; takes the translator as a function. */
import type {
  ClusterState,
  ContributorState,
  JobState,
  JobSummary,
  PanelState,
  Promised,
} from '@ravenlab/protocol';
import { formatCount, formatDuration, formatLoss, formatRate } from '@ravenlab/protocol';

/** The part of JupyterLab's TranslationBundle that is used here. */
export interface Translate {
  __(text: string, ...values: (string | number)[]): string;
  _n(singular: string, plural: string, count: number): string;
}

/** How a state looks: the word says it, the tone only supports it. */
export type Tone = 'good' | 'active' | 'quiet' | 'warn' | 'bad';

export interface StateLabel {
  readonly tone: Tone;
  text(trans: Translate): string;
}

export const CLUSTER_LABELS: Readonly<Record<ClusterState, StateLabel>> = {
  off: { tone: 'quiet', text: (trans) => trans.__('Off') },
  starting: { tone: 'active', text: (trans) => trans.__('Starting') },
  ready: { tone: 'good', text: (trans) => trans.__('Ready') },
  training: { tone: 'active', text: (trans) => trans.__('Training') },
  stopping: { tone: 'warn', text: (trans) => trans.__('Stopping') },
  failed: { tone: 'bad', text: (trans) => trans.__('Failed') },
};

export const CONTRIBUTOR_LABELS: Readonly<Record<ContributorState, StateLabel>> = {
  joining: { tone: 'good', text: (trans) => trans.__('Ready, new') },
  idle: { tone: 'good', text: (trans) => trans.__('Ready') },
  busy: { tone: 'active', text: (trans) => trans.__('Working') },
  suspect: { tone: 'warn', text: (trans) => trans.__('Not answering') },
  quarantined: { tone: 'warn', text: (trans) => trans.__('Waiting after failures') },
  paused: { tone: 'quiet', text: (trans) => trans.__('Paused') },
  draining: { tone: 'warn', text: (trans) => trans.__('Finishing') },
  gone: { tone: 'quiet', text: (trans) => trans.__('Left') },
};

export const JOB_LABELS: Readonly<Record<JobState, StateLabel>> = {
  running: { tone: 'active', text: (trans) => trans.__('Running') },
  paused: { tone: 'warn', text: (trans) => trans.__('Paused') },
  stopping: { tone: 'warn', text: (trans) => trans.__('Stopping') },
  stopped: { tone: 'quiet', text: (trans) => trans.__('Stopped') },
  done: { tone: 'good', text: (trans) => trans.__('Done') },
  failed: { tone: 'bad', text: (trans) => trans.__('Failed') },
};

/** What a run promises of its bits, in one line. */
export const PROMISE_TEXTS: Readonly<Record<Promised, (trans: Translate) => string>> = {
  'same-bits': (trans) => trans.__('Same bits, whoever computes'),
  'within-tolerance': (trans) => trans.__('Tolerance tier: bit classes are mixed, bits may differ'),
};

export function isRunning(job: JobSummary): boolean {
  return job.state === 'running' || job.state === 'paused';
}

function workersText(count: number, trans: Translate): string {
  return trans._n('%1 worker', '%1 workers', count);
}

/** `3 workers · 1.62k samples/s`; the rate only while something runs. */
export function statusText(state: PanelState, trans: Translate): string {
  const workers = workersText(state.cluster.workerCount, trans);
  const { samplesPerSecond } = state.cluster;
  if (samplesPerSecond <= 0) return workers;
  return `${workers} · ${trans.__('%1 samples/s', formatRate(samplesPerSecond))}`;
}

/** One sentence for a screen reader, said seldom. */
export function spokenSummary(state: PanelState, trans: Translate): string {
  const workers = workersText(state.cluster.workerCount, trans);
  const { job } = state;
  if (job === null) return trans.__('%1, no job', workers);
  const word = JOB_LABELS[job.state].text(trans);
  const epoch =
    job.epoch === null || job.epochs === null
      ? ''
      : trans.__('epoch %1 of %2, ', job.epoch + 1, job.epochs);
  const rest = trans.__('%1step %2, loss %3', epoch, formatCount(job.step), formatLoss(job.loss));
  const eta =
    job.etaMs === null || !isRunning(job) ? '' : trans.__(', %1 left', formatDuration(job.etaMs));
  return `${workers}. ${word}: ${rest}${eta}.`;
}
