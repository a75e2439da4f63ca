/** @file The session with one more duty: it notices that the engine, and all that it held, is gone. */
import type { EngineReply, EngineRequest } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import type { DisplayOptions, MimeBundle, Session } from './session.js';

function tellsOfLoss(error: unknown): boolean {
  return error instanceof RavenError && error.meta['engineLost'] === true;
}

/** Delegates everything; `onLost` runs before the caller sees the error. */
export class GuardedSession implements Session {
  private readonly inner: Session;
  private readonly onLost: () => void;

  constructor(inner: Session, onLost: () => void) {
    this.inner = inner;
    this.onLost = onLost;
  }

  get interactive(): boolean {
    return this.inner.interactive;
  }

  requestSync(request: EngineRequest): EngineReply {
    return this.watched(() => this.inner.requestSync(request));
  }

  request(request: EngineRequest): Promise<EngineReply> {
    const reply = this.inner.request(request);
    reply.catch((error: unknown) => {
      if (tellsOfLoss(error)) this.onLost();
    });
    // The very promise: waitSync knows it by identity.
    return reply;
  }

  waitSync(reply: Promise<EngineReply>): EngineReply {
    return this.watched(() => this.inner.waitSync(reply));
  }

  display(bundle: MimeBundle, options?: DisplayOptions): void {
    this.inner.display(bundle, options);
  }
  write(stream: 'stdout' | 'stderr', text: string): void {
    this.inner.write(stream, text);
  }
  sha256(bytes: Uint8Array): string {
    return this.inner.sha256(bytes);
  }
  now(): number {
    return this.inner.now();
  }

  private watched(ask: () => EngineReply): EngineReply {
    try {
      return ask();
    } catch (error) {
      if (tellsOfLoss(error)) this.onLost();
      throw error;
    }
  }
}
