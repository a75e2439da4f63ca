/** @file How the kernel's main thread talks to the engine; engine/client.ts implements it. */

import { RavenError } from '@ravenlab/protocol';
import type { EngineReply, EngineRequest } from '@ravenlab/protocol';

/** One engine per kernel, started on the first request. */
export interface EngineGateway {
  /** Requests of one caller are answered by value in any order but sent in call order; rejects with RavenError. */
  request(request: EngineRequest, epoch: number): Promise<EngineReply>;
  /** Stop: requests of this cell epoch are abandoned and reject with code `interrupted`. */
  cancelEpoch(epoch: number): void;
  /** Ends the engine process; resolves when it is gone. `restart`: the same notebook comes back. */
  close(options: { readonly restart: boolean }): Promise<void>;
}

/** A kernel without a cluster (RAVENLAB_ENGINE=off): cells run, requests to the engine are refused. */
export const NO_ENGINE: EngineGateway = {
  request: () =>
    Promise.reject(
      new RavenError('cluster', 'this kernel runs without a cluster: unset RAVENLAB_ENGINE=off'),
    ),
  cancelEpoch: () => undefined,
  close: () => Promise.resolve(),
};
