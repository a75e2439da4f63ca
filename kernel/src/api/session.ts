/** @file What the package `ravenlab` needs from its host: a way to the engine, a way to the notebook, a hash. */
import type { EngineReply, EngineRequest } from '@ravenlab/protocol';

/** A Jupyter MIME bundle; values are strings, or JSON for `application/*+json`. */
export type MimeBundle = Readonly<Record<string, unknown>>;

export interface DisplayOptions {
  /** Outputs with the same id are updated together. */
  readonly displayId?: string;
  /** Replace the output with this id instead of adding one. */
  readonly update?: boolean;
}

/** Injected by the user thread of the kernel (or by a test). One per user thread. */
export interface Session {
  /**
   * Blocks the calling thread until the engine has answered; Stop ends the wait.
   * @throws RavenError of the engine; code `interrupted` after Stop.
   */
  requestSync(request: EngineRequest): EngineReply;
  /** Sends in call order with `requestSync`; rejects with RavenError. */
  request(request: EngineRequest): Promise<EngineReply>;
  /**
   * Blocks until the answer to an earlier `request` is in, without turning the event loop: how `loss.item()` reads
   * the result of a step that is still in flight. `reply` is the promise that `request` returned.
   * @throws the RavenError that `reply` rejects with; code `interrupted` after Stop.
   */
  waitSync(reply: Promise<EngineReply>): EngineReply;
  display(bundle: MimeBundle, options?: DisplayOptions): void;
  write(stream: 'stdout' | 'stderr', text: string): void;
  /** SHA-256, lower-case hex. */
  sha256(bytes: Uint8Array): string;
  /** Integer ms since the Unix epoch. */
  now(): number;
  /** True while a front end or a person watches; false under a batch runner: progress is then printed sparsely. */
  readonly interactive: boolean;
}

const SESSION_KEY = Symbol.for('ravenlab.session');
interface SessionHolder {
  [SESSION_KEY]?: Session;
}

/** Installs the session that every later call of the API uses. */
export function installSession(session: Session): void {
  (globalThis as SessionHolder)[SESSION_KEY] = session;
}

/** @throws Error when code runs outside a RavenLab kernel. */
export function currentSession(): Session {
  const session = (globalThis as SessionHolder)[SESSION_KEY];
  if (session === undefined) {
    throw new Error(
      "'ravenlab' needs a cluster session: run this cell with the TypeScript (RavenLab) kernel",
    );
  }
  return session;
}
