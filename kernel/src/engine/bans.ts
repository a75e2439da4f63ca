/**
 * @file Who may not come back: a worker by its id, which is the key of its connection, and the wallet that it proved to be its
 * own, under whatever id. Kept in the cluster's rules. A wallet that was only named is nobody's fault, and never banned.
 */
import type { Address, WorkerId } from '@ravenlab/protocol';
import type { ClusterEvent } from '../core/cluster/events.js';
import { rulesOf } from '../core/cluster/rules.js';
import type { ClusterState } from '../core/cluster/state.js';
import type { RulesStore } from './rulesStore.js';
import type { WorkerHub } from './workerHub.js';

export interface BansOptions {
  readonly cluster: ClusterState;
  readonly rules: RulesStore;
  readonly hub: () => WorkerHub;
  /** The wallet that an invited worker has proved; null for any other. */
  readonly walletOf: (worker: WorkerId) => Address | null;
  readonly feed: (event: ClusterEvent) => void;
  /** It begins anew. */
  readonly onUnbanned: (worker: WorkerId) => void;
}

export class Bans {
  private readonly options: BansOptions;

  constructor(options: BansOptions) {
    this.options = options;
  }

  ban(worker: WorkerId, isCaught: boolean): void {
    const { feed, hub, walletOf } = this.options;
    const wallet = walletOf(worker);
    feed({ kind: 'ban', worker, isCaught, wallet });
    // The scheduler may be in the middle of what led to this, and takes it afterwards.
    queueMicrotask(() => {
      this.keep();
      if (wallet !== null) hub().banish(wallet);
    });
  }

  unban(worker: WorkerId): void {
    this.options.feed({ kind: 'unban', worker });
    this.options.onUnbanned(worker);
    this.keep();
  }

  /** The worker that a wallet was banned with; null when it is not. */
  workerOf(wallet: string): WorkerId | null {
    return this.options.cluster.bannedWallets.get(wallet.toLowerCase()) ?? null;
  }

  private keep(): void {
    this.options.rules.save(rulesOf(this.options.cluster));
  }
}
