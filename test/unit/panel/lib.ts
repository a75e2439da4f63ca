/** @file A busy panel state and small edits of it, for tests; not a test. */
import type {
  Address,
  Contributor,
  Hash32,
  JobId,
  JobSummary,
  LossSeries,
  PanelState,
  Payee,
  PaymentChain,
  PaymentTx,
} from '@ravenlab/protocol';
import {
  EMPTY_LOSS_SERIES,
  EMPTY_PANEL_STATE,
  EMPTY_PAYMENTS,
  appendLoss,
} from '@ravenlab/protocol';

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

export function payeeOf(workerId: string, metered: string, changes: Partial<Payee> = {}): Payee {
  return {
    workerId,
    shortId: workerId.slice(0, 6),
    name: null,
    address: null,
    units: 40,
    metered,
    held: '0',
    vouchered: '0',
    settled: '0',
    cap: '0',
    ...changes,
  };
}

const hex = (digit: string, length: number) => `0x${digit.repeat(length)}`;

export const CHAIN: PaymentChain = {
  label: 'simulated chain',
  chainId: 31337,
  isSimulated: true,
  escrow: hex('e', 40) as Address,
  token: hex('7', 40) as Address,
  job: hex('b', 64) as JobId,
  payer: hex('a', 40) as Address,
  signer: hex('5', 40) as Address,
  isPayerHere: true,
  explorerUrl: null,
};

export function txOf(id: number, changes: Partial<PaymentTx> = {}): PaymentTx {
  return {
    id,
    kind: 'settle',
    state: 'sent',
    hash: hex(String(id), 64) as Hash32,
    block: null,
    amount: '1000',
    atMs: 4_000,
    note: null,
    ...changes,
  };
}

export function lossesOf(count: number): LossSeries {
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
    ...EMPTY_PAYMENTS,
    currency: 'USDC',
    decimals: 18,
    unitPriceText: '0.02 USDC per TFLOP',
    settlingText: 'settled from 35 USDC on',
    totalMetered: '2500000000000000',
    payees: [payeeOf('w-alpha', '1250000000000000'), payeeOf('w-beta', '1250000000000000')],
  },
  alerts: [{ alertId: 'a1', level: 'warning', text: 'w-beta is slow', atMs: 5_000 }],
};

/** JSON as a comm carries it. */
export function overTheWire(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
