/** @file What the panel shows while the engine is away. */
import type { Contributor, PanelState } from '@ravenlab/protocol';
import { EMPTY_PANEL_STATE } from '@ravenlab/protocol';
import { idlePanel, withoutEngine } from '../../../kernel/src/engine/panelAway.js';

const row = (state: Contributor['state']): Contributor => ({
  workerId: state,
  shortId: state,
  name: null,
  device: 'cpu',
  backend: 'onnx-cpu',
  state,
  unitsDone: 7,
  unitsFailed: 1,
  samplesPerSecond: 100,
  latencyMs: 3,
  gflops: 1,
  memoryBytes: 1,
  earnedUnits: '12',
  joinedAtMs: 5,
  local: true,
});

const LAST: PanelState = {
  ...EMPTY_PANEL_STATE,
  cluster: {
    ...EMPTY_PANEL_STATE.cluster,
    state: 'training',
    workerCount: 2,
    samplesPerSecond: 200,
    inFlightUnits: 4,
    unitsDone: 14,
  },
  contributors: [row('busy'), row('paused'), row('gone')],
};

test.each([
  ['starting', ['suspect', 'suspect', 'gone']],
  ['failed', ['gone', 'gone', 'gone']],
] as const)('while it is %s nobody works, and what was done and earned stays', (state, states) => {
  const shown = withoutEngine(LAST, state);
  expect(shown.cluster).toMatchObject({
    state,
    workerCount: 0,
    samplesPerSecond: 0,
    unitsDone: 14,
  });
  expect(shown.contributors.map((each) => each.state)).toEqual(states);
  for (const each of shown.contributors.slice(0, 2)) {
    expect(each).toMatchObject({ samplesPerSecond: 0, latencyMs: null, unitsDone: 7 });
    expect(each.earnedUnits).toBe('12');
  }
  expect(shown.contributors[2]).toBe(LAST.contributors[2]);
});

test('before the first run a chain is said to come, if one will', () => {
  expect(idlePanel(true)).toMatchObject({
    cluster: { state: 'off', canInvite: true },
    payments: { settlement: 'starting', chain: null },
  });
  expect(idlePanel(false).payments.settlement).toBe('off');
});
