/** @file How the kernel's main thread talks to the engine; engine/client.ts implements it. */

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
