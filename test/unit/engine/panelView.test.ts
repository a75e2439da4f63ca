/** @file The job as the panel shows it, when its last step comes after its end. */
import type { ExecutionPlan, RunId } from '@ravenlab/protocol';
import { createCluster } from '../../../kernel/src/core/cluster/state.js';
import { PanelView } from '../../../kernel/src/engine/panelView.js';
import { PaymentsView } from '../../../kernel/src/engine/paymentsView.js';
import { NO_TREASURY } from '../../../kernel/src/engine/treasuryView.js';

const RUN = 'run' as RunId;

function stepOf(step: number): ExecutionPlan {
  return {
    ...{ programs: [], inputs: [], outputs: [], shards: [], updates: [], clips: [] },
    step: {
      ...{ runId: RUN, step, steps: 3, epoch: 0, epochs: 1 },
      ...{ samples: 8, lossOutput: -1, bookmark: '' },
    },
  };
}

function start(): PanelView {
  const cluster = createCluster();
  const price = { currency: 'RVN', decimals: 18, rate: { perGflop: 1n, perMib: 0n } };
  const payments = new PaymentsView({ ledger: cluster.ledger, price, treasury: NO_TREASURY });
  return new PanelView({ engineId: 'engine', cluster, payments, wallMs: () => 1_000 });
}

test('a step that was whole when its run was stopped counts, and the run stays stopped', () => {
  const panel = start();
  panel.stepped(stepOf(0), 1);
  panel.ended(RUN, 'stopped', 'by hand');
  panel.stepped(stepOf(1), 0.5, true);
  const stopped = { state: 'stopped', message: 'by hand', endedAtMs: 1_000 };
  expect(panel.snapshot().job).toMatchObject({ ...stopped, step: 2, samplesDone: 16 });
  panel.stepped(stepOf(2), 0.25, true);
  expect(panel.snapshot().job).toMatchObject({ ...stopped, step: 3 });
});

test('a later cell takes the run up again', () => {
  const panel = start();
  panel.stepped(stepOf(0), 1);
  panel.ended(RUN, 'stopped', 'by hand');
  panel.stepped(stepOf(1), 0.5);
  expect(panel.snapshot().job).toMatchObject({ state: 'running', message: null, endedAtMs: null });
});
