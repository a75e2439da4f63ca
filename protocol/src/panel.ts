/** @file The panel protocol as one import: state, messages, patches, formatters. Parts live in panel/. RFC 2. */
export * from './panel/format.js';
export * from './panel/loss.js';
export * from './panel/messages.js';
export * from './panel/replica.js';
export type { JobPatch, LossPatch, PanelPatch, RowsPatch } from './panel/patch.js';
export { applyPanelPatch, diffPanelState } from './panel/patch.js';
export type * from './panel/payments.js';
export {
  EMPTY_PAYMENTS,
  NO_BALANCE,
  NO_LIMITS,
  NO_TOTALS,
  SETTLEMENTS,
  TX_KINDS,
  TX_STATES,
} from './panel/payments.js';
export type * from './panel/state.js';
export {
  ALERT_LEVELS,
  CLUSTER_STATES,
  CONTRIBUTOR_STATES,
  EMPTY_LOSS_SERIES,
  EMPTY_PANEL_STATE,
  JOB_STATES,
  PROMISES,
  readPanelState,
} from './panel/state.js';
