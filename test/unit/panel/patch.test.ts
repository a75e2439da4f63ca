/**
 * @file Deltas of the panel protocol. Goal: whatever the kernel's state becomes, a front end that applies the
 * deltas, as JSON, holds the same state; and a delta that does not fit is refused, never half applied.
 */
import fc from 'fast-check';
import type { Contributor, PanelState, PaymentsSummary } from '@ravenlab/protocol';
import {
  CONTRIBUTOR_STATES,
  JOB_STATES,
  SETTLEMENTS,
  TX_STATES,
  applyDelta,
  applyPanelPatch,
  applySnapshot,
  diffPanelState,
  parseKernelMessage,
} from '@ravenlab/protocol';
import {
  BUSY_STATE,
  CHAIN,
  contributorOf,
  jobOf,
  lossesOf,
  overTheWire,
  payeeOf,
  txOf,
} from './lib.js';

function sorted(state: PanelState): PanelState {
  const byId = <T extends { workerId: string }>(rows: readonly T[]) =>
    [...rows].sort((a, b) => (a.workerId < b.workerId ? -1 : 1));
  return {
    ...state,
    contributors: byId(state.contributors),
    payments: { ...state.payments, payees: byId(state.payments.payees) },
  };
}

const workerId = fc.constantFrom('w1', 'w2', 'w3', 'w4');
const contributor: fc.Arbitrary<Contributor> = fc
  .record({
    workerId,
    state: fc.constantFrom(...CONTRIBUTOR_STATES),
    unitsDone: fc.nat(5),
    latencyMs: fc.option(fc.nat(3), { nil: null }),
    name: fc.option(fc.constantFrom('a', 'b'), { nil: null }),
  })
  .map(({ workerId: rowId, ...changes }) => contributorOf(rowId, changes));

const job = fc.option(
  fc
    .record({
      runId: fc.constantFrom('r1', 'r2'),
      state: fc.constantFrom(...JOB_STATES),
      step: fc.nat(9),
      lossSeries: fc.nat(1200).map(lossesOf),
    })
    .map(jobOf),
  { nil: null },
);

const base = fc.nat(3).map(String);
const account: fc.Arbitrary<Partial<PaymentsSummary>> = fc.record({
  settlement: fc.constantFrom(...SETTLEMENTS),
  problem: fc.option(fc.constant('the chain does not answer'), { nil: null }),
  chain: fc.option(
    fc.constantFrom(CHAIN, { ...CHAIN, chainId: 8453 }, { ...CHAIN, isPayerHere: false }),
    {
      nil: null,
    },
  ),
  balance: fc.record({ deposit: base, free: base, reserved: base, paid: base }),
  totals: fc.record({ held: base, vouchered: base, settled: base }),
  burnPerHour: base,
  timeToEmptyMs: fc.option(fc.nat(3), { nil: null }),
  limits: fc.record({ perLane: fc.constant(null), perHour: base, perRun: fc.constant(null) }),
  transactions: fc.uniqueArray(
    fc
      .record({ id: fc.nat(3), state: fc.constantFrom(...TX_STATES) })
      .map(({ id, state }) => txOf(id, { state, block: state === 'sent' ? null : 7 })),
    { selector: ({ id }) => id },
  ),
});

const panelState: fc.Arbitrary<PanelState> = fc
  .record({
    contributors: fc.uniqueArray(contributor, { selector: (row) => row.workerId }),
    job,
    amounts: fc.uniqueArray(fc.tuple(workerId, fc.nat(3)), { selector: ([rowId]) => rowId }),
    workerCount: fc.nat(3),
    hasAlert: fc.boolean(),
    account,
  })
  .map(({ contributors, job: jobNow, amounts, workerCount, hasAlert, account: accountNow }) => ({
    cluster: { ...BUSY_STATE.cluster, workerCount },
    contributors,
    job: jobNow,
    payments: {
      ...BUSY_STATE.payments,
      ...accountNow,
      payees: amounts.map(([rowId, amount]) => payeeOf(rowId, String(amount))),
    },
    alerts: hasAlert ? BUSY_STATE.alerts : [],
  }));

function sendDelta(before: PanelState, after: PanelState): PanelState {
  const patch = diffPanelState(before, after);
  if (patch === undefined) return before;
  const parsed = parseKernelMessage(
    overTheWire({ type: 'delta', stream: 1, seq: 1, atMs: 0, patch }),
  );
  if (!parsed.ok || parsed.value.type !== 'delta') throw new Error('the delta does not parse');
  const next = applyPanelPatch(before, parsed.value.patch);
  if (next === undefined) throw new Error('the delta does not fit');
  return next;
}

test('a delta sent as JSON turns any state into any other', () => {
  fc.assert(
    fc.property(panelState, panelState, (before, after) => {
      expect(sorted(sendDelta(before, after))).toEqual(sorted(after));
    }),
    { numRuns: 300 },
  );
});

test('equal states have no delta, even when every object is a copy', () => {
  expect(diffPanelState(BUSY_STATE, overTheWire(BUSY_STATE) as PanelState)).toBeUndefined();
});

test('one changed field of one row travels alone', () => {
  const [first, second] = BUSY_STATE.contributors;
  const after = { ...BUSY_STATE, contributors: [{ ...first!, unitsDone: 41 }, second!] };
  expect(diffPanelState(BUSY_STATE, after)).toEqual({
    contributors: { set: [{ workerId: 'w-alpha', unitsDone: 41 }] },
  });
});

test('a transaction that is confirmed travels without the account around it', () => {
  const payments = { ...BUSY_STATE.payments, chain: CHAIN, transactions: [txOf(1)] };
  const before = { ...BUSY_STATE, payments };
  const confirmed = txOf(1, { state: 'confirmed', block: 12 });
  const after = {
    ...BUSY_STATE,
    payments: { ...payments, chain: { ...CHAIN }, transactions: [confirmed] },
  };
  expect(diffPanelState(before, after)).toEqual({
    payments: { change: { transactions: [confirmed] } },
  });
});

test('a growing loss curve sends its new points only', () => {
  const before = { ...BUSY_STATE, job: jobOf({ lossSeries: lossesOf(120) }) };
  const after = { ...BUSY_STATE, job: jobOf({ lossSeries: lossesOf(122) }) };
  expect(diffPanelState(before, after)).toEqual({
    job: {
      change: {},
      loss: {
        stride: 1,
        lastCount: 1,
        keep: 120,
        append: [
          [120, 2.3 / 121],
          [121, 2.3 / 122],
        ],
      },
    },
  });
});

test('a delta for a row that the front end never saw is a gap, not half a row', () => {
  const patch = { contributors: { set: [{ workerId: 'unknown', unitsDone: 7 }] } };
  expect(applyPanelPatch(BUSY_STATE, patch)).toBeUndefined();
});

test('a delta may not grow the rows beyond their bound', () => {
  const set = Array.from({ length: 499 }, (_, index) => contributorOf(`extra-${String(index)}`));
  expect(applyPanelPatch(BUSY_STATE, { contributors: { set } })).toBeUndefined();
});

test('a curve delta that keeps more points than there are is a gap', () => {
  const loss = { stride: 1, lastCount: 1, keep: 121, append: [] };
  expect(applyPanelPatch(BUSY_STATE, { job: { change: {}, loss } })).toBeUndefined();
});

describe('a replica', () => {
  const snapshot = { type: 'snapshot', stream: 7, seq: 3, atMs: 10, state: BUSY_STATE } as const;
  const start = applySnapshot(null, snapshot);
  if (start.kind !== 'applied') throw new Error('the first snapshot must apply');
  const { replica } = start;
  const delta = {
    type: 'delta',
    stream: 7,
    seq: 4,
    atMs: 20,
    patch: { cluster: { workerCount: 3 } },
  } as const;

  test('takes the next delta', () => {
    const step = applyDelta(replica, delta);
    expect(step).toMatchObject({ kind: 'applied', replica: { seq: 4, atMs: 20 } });
    expect(step.kind === 'applied' && step.replica.state.cluster.workerCount).toBe(3);
  });

  test('drops a repeated delta and an older snapshot', () => {
    expect(applyDelta(replica, { ...delta, seq: 3 }).kind).toBe('stale');
    expect(applySnapshot(replica, { ...snapshot, seq: 2 }).kind).toBe('stale');
  });

  test('reports a gap after a lost delta, another stream, or no snapshot yet', () => {
    expect(applyDelta(replica, { ...delta, seq: 5 }).kind).toBe('gap');
    expect(applyDelta(replica, { ...delta, stream: 8 }).kind).toBe('gap');
    expect(applyDelta(null, delta).kind).toBe('gap');
  });

  test('takes a snapshot of a new stream whatever its number', () => {
    expect(applySnapshot(replica, { ...snapshot, stream: 8, seq: 0 }).kind).toBe('applied');
  });
});
