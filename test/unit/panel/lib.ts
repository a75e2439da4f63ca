/** @file A busy panel state and small edits of it, for tests; not a test. */
import type { Contributor, JobSummary, PanelState, Payee } from '@ravenlab/protocol';
import { EMPTY_LOSS_SERIES, EMPTY_PANEL_STATE, appendLoss } from '@ravenlab/protocol';

export function contributorOf(workerId: string, changes: Partial<Contributor> = {}): Contributor {
  return {
    workerId,
    shortId: workerId.slice(0, 6),
    name: null,
    device: 'AMD EPYC, 4 cores',
    backend: 'onnx-cpu',
    state: 'busy',
    unitsDone: 40,
    unitsFailed: 1,
    samplesPerSecond: 812.5,
    latencyMs: 1.25,
    gflops: 118,
    memoryBytes: 8 * 2 ** 30,
    earnedUnits: '1250000000000000',
    joinedAtMs: 1_000,
    local: true,
    ...changes,
  };
}

export function payeeOf(workerId: string, amount: string): Payee {
  return { workerId, shortId: workerId.slice(0, 6), name: null, amount, units: 40 };
}

export function lossesOf(count: number) {
  let series = EMPTY_LOSS_SERIES;
  for (let step = 0; step < count; step++) series = appendLoss(series, step, 2.3 / (1 + step));
  return series;
}

export function jobOf(changes: Partial<JobSummary> = {}): JobSummary {
  return {
    runId: 'run-1',
    state: 'running',
    epoch: 1,
    epochs: 5,
    step: 120,
    steps: 705,
    loss: 0.412,
    lossSeries: lossesOf(120),
    samplesPerSecond: 1625,
    etaMs: 42_000,
    samplesDone: 7_680,
    startedAtMs: 2_000,
    endedAtMs: null,
    message: null,
    promise: 'same-bits',
    bitClass: 'onnx-cpu onnxruntime 1.30.0 linux x64 avx2',
    ...changes,
  };
}

export const BUSY_STATE: PanelState = {
  ...EMPTY_PANEL_STATE,
  cluster: {
    state: 'training',
    engineId: 'engine-1',
    canInvite: true,
    workerCount: 2,
    samplesPerSecond: 1625,
    inFlightUnits: 4,
    queuedUnits: 12,
    unitsDone: 80,
    unitsFailed: 2,
  },
  contributors: [contributorOf('w-alpha'), contributorOf('w-beta', { name: 'Lab 3' })],
  job: jobOf(),
  payments: {
    currency: 'USDC',
    decimals: 18,
    unitPriceText: '0.02 USDC per TFLOP',
    totalMetered: '2500000000000000',
    payees: [payeeOf('w-alpha', '1250000000000000'), payeeOf('w-beta', '1250000000000000')],
    settlement: 'not-on-chain-yet',
  },
  alerts: [{ alertId: 'a1', level: 'warning', text: 'w-beta is slow', atMs: 5_000 }],
};

/** JSON as a comm carries it. */
export function overTheWire(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
