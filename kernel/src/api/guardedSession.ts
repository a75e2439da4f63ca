/** @file The session with one more duty: it notices that the engine, and all that it held, is gone. */
import type { EngineReply, EngineRequest } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import type { DisplayOptions, MimeBundle, Session } from './session.js';

/** Which engine an error tells the loss of, counted from 1; 0 for all other errors. */
function lostEngine(error: unknown): number {
  const count = error instanceof RavenError ? error.meta['engineLost'] : undefined;
  return typeof count === 'number' ? count : 0;
}

/** Delegates everything; `onLost` runs before the caller sees the error. */
export class GuardedSession implements Session {
  private readonly inner: Session;
  private readonly onLost: () => void;
  private lost = 0;

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
      this.notice(error);
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

  /** Every request of a lost engine fails; the loss counts once. */
  private notice(error: unknown): void {
    const engine = lostEngine(error);
    if (engine <= this.lost) return;
    this.lost = engine;
    this.onLost();
  }

  private watched(ask: () => EngineReply): EngineReply {
    try {
      return ask();
    } catch (error) {
      this.notice(error);
      throw error;
    }
  }
}
