/** @file What an engine shows that nobody works for and that owes nothing. */
import { EMPTY_PAYMENTS } from '@ravenlab/protocol';

export function emptyPanel(): unknown {
  return {
    cluster: {
      ...{ state: 'ready', engineId: null, canInvite: false, workerCount: 0 },
      ...{ samplesPerSecond: 0, inFlightUnits: 0, queuedUnits: 0, unitsDone: 0, unitsFailed: 0 },
    },
    contributors: [],
    job: null,
    payments: { ...EMPTY_PAYMENTS, currency: 'RVN', decimals: 18 },
    alerts: [],
  };
}
