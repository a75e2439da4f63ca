/** @file What must outlive the engine's process of the user's rules and of the promises made: plain data to keep and to restore. */
import type { WorkerId } from '@ravenlab/protocol';
import type { ClassPin } from './classes.js';
import { setPin } from './classes.js';
import { standingOf } from './standing.js';
import { moveStanding } from './standingTable.js';
import type { ClusterState } from './state.js';

export interface Rules {
  readonly banned: readonly string[];
  readonly paused: readonly string[];
  readonly mixesClasses: boolean;
  /** Firm ones only, by run; the last one is the current run's. */
  readonly pins: readonly (readonly [run: string, pin: Readonly<ClassPin>])[];
}

export function rulesOf(state: ClusterState): Rules {
  const standings = [...state.standings.values()];
  const pins = [...state.pins].filter(([, { isFirm }]) => isFirm);
  return {
    banned: standings.filter(({ status }) => status === 'banned').map(({ worker }) => worker),
    paused: standings.filter(({ isPaused }) => isPaused).map(({ worker }) => worker),
    mixesClasses: state.mixesClasses,
    pins,
  };
}

/** For a cluster that nobody has joined yet. */
export function restoreRules(state: ClusterState, rules: Rules): void {
  for (const worker of rules.banned) {
    moveStanding(state.trace, standingOf(state, worker as WorkerId), 'ban');
  }
  for (const worker of rules.paused) standingOf(state, worker as WorkerId).isPaused = true;
  state.mixesClasses = rules.mixesClasses;
  for (const [run, pin] of rules.pins) {
    setPin(state, run, { ...pin });
    state.lastRun = run;
  }
}
