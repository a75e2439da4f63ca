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
  /** Of `banned`: for a cheat. What they did that no image holds is paid to nobody. */
  readonly caught: readonly string[];
  /** Banned, with the worker that each was proved by. */
  readonly wallets: readonly (readonly [wallet: string, worker: string])[];
  /** Clean audits by worker. */
  readonly verified: readonly (readonly [worker: string, count: number])[];
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
    caught: [...state.caught],
    wallets: [...state.bannedWallets],
    verified: [...state.verified],
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
  for (const worker of rules.caught) state.caught.add(worker as WorkerId);
  for (const [wallet, worker] of rules.wallets) {
    state.bannedWallets.set(wallet, worker as WorkerId);
  }
  for (const [worker, count] of rules.verified) state.verified.set(worker as WorkerId, count);
  state.mixesClasses = rules.mixesClasses;
  for (const [run, pin] of rules.pins) setPin(state, run, { ...pin });
}
