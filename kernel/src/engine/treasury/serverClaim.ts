/** @file The signer's word that this engine works for a job: asked for once a job, and what terms are worth nothing without. */
import type { JobId, Signature } from '@ravenlab/protocol';
import type { ChainService } from '../chain/chainService.js';

export interface ServerClaimOptions {
  readonly chain: ChainService;
  /** CURVE key of this engine's invites, Z85. */
  readonly serverKey: () => string;
  readonly onSigned: () => void;
  readonly onRefused: (error: unknown) => void;
}

export class ServerClaim {
  private readonly options: ServerClaimOptions;
  private known: { readonly job: JobId; readonly signature: Signature | null } | null = null;

  constructor(options: ServerClaimOptions) {
    this.options = options;
  }

  /** Null until it is there; one that was refused is asked for again the next time. */
  of(job: JobId): Signature | null {
    if (this.known?.job === job) return this.known.signature;
    this.known = { job, signature: null };
    const { chain, serverKey, onSigned, onRefused } = this.options;
    chain.signServer(serverKey()).then(
      (signature) => {
        this.known = { job, signature };
        onSigned();
      },
      (error: unknown) => {
        this.known = null;
        onRefused(error);
      },
    );
    return null;
  }
}
