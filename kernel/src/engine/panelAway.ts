/** @file What the panel shows while there is no engine: the last state, with nobody at work. Pure. */
import type { ClusterState, Contributor, PanelState } from '@ravenlab/protocol';
import { EMPTY_PANEL_STATE, EMPTY_PAYMENTS } from '@ravenlab/protocol';

/**
 * Before there is an engine. An invitation starts one, so it can be asked for at any time.
 * @param isPaid a chain will come with it.
 */
export function idlePanel(isPaid: boolean): PanelState {
  return {
    ...EMPTY_PANEL_STATE,
    cluster: { ...EMPTY_PANEL_STATE.cluster, canInvite: true },
    payments: { ...EMPTY_PAYMENTS, settlement: isPaid ? 'starting' : 'off' },
  };
}

/**
 * The last words of an engine that is away, with nothing in them that moves: a rate or a worker at work would be a lie.
 * @param clusterState `starting` while another one is on its way, `failed` when all was lost.
 */
export function withoutEngine(
  state: PanelState,
  clusterState: Extract<ClusterState, 'starting' | 'failed'>,
): PanelState {
  const rowState = clusterState === 'failed' ? 'gone' : 'suspect';
  const still = (row: Contributor): Contributor =>
    row.state === 'gone' ? row : { ...row, state: rowState, samplesPerSecond: 0, latencyMs: null };
  return {
    ...state,
    cluster: {
      ...state.cluster,
      state: clusterState,
      workerCount: 0,
      inFlightUnits: 0,
      samplesPerSecond: 0,
    },
    contributors: state.contributors.map(still),
    payments: { ...state.payments, burnPerHour: '0', timeToEmptyMs: null },
    job: state.job === null ? null : { ...state.job, samplesPerSecond: 0, etaMs: null },
  };
}
