/** @file What is promised of a run's bits, kept on disk and told when it becomes less; which class it is decides the core. */
import { promiseOf } from '../core/cluster/classes.js';
import { rulesOf } from '../core/cluster/rules.js';
import type { ClusterState } from '../core/cluster/state.js';
import type { RulesStore } from './rulesStore.js';

export interface PinKeeperOptions {
  readonly cluster: () => ClusterState;
  readonly rules: Pick<RulesStore, 'save'>;
  readonly tell: (text: string) => void;
}

export const TOLERANCE_TIER =
  'Tolerance tier: this run takes results of different bit classes. Its weights are those of one class within rounding, ' +
  'no longer to the bit. For the same bits, start anew after cluster.configure({ mixClasses: false }).';

export class PinKeeper {
  private readonly options: PinKeeperOptions;
  private kept = '';
  /** The run that the user was told of. */
  private told: string | null = null;

  constructor(options: PinKeeperOptions) {
    this.options = options;
  }

  /** A step of the run is committed. The class that it is pinned to outlives this process; it changes once or twice in a run. */
  committed(runId: string): void {
    const { rules, tell } = this.options;
    const cluster = this.options.cluster();
    const { bitClass, isExact } = promiseOf(cluster, runId);
    if (!isExact && this.told !== runId) {
      this.told = runId;
      tell(TOLERANCE_TIER);
    }
    const pin = `${runId} ${String(bitClass)} ${String(isExact)}`;
    if (pin !== this.kept && rules.save(rulesOf(cluster))) this.kept = pin;
  }
}
