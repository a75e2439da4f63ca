/** @file The package `ravenlab` on a bench's own engine: requests go through, and what they say is kept for the baseline. */
import { createHash } from 'node:crypto';
import type { EngineRequest, ExecutionPlan, Program } from '@ravenlab/protocol';
import { decodeProgram } from '@ravenlab/protocol';
import type { Session } from '../../kernel/src/api/session.js';
import { installSession } from '../../kernel/src/api/session.js';
import type { EngineClient } from '../../kernel/src/engine/client.js';

export interface Seen {
  readonly programs: Map<string, Program>;
  /** The last execution that updated states. */
  lastStep: ExecutionPlan | null;
  /** Makes this session the current one again, for a bench with several engines. */
  use(): void;
}

/**
 * Installs a session whose blocking calls are refused: a bench awaits, it has no second thread to block. The one call that
 * every session begins with, `attach`, is made here.
 */
export async function installBenchSession(client: EngineClient): Promise<Seen> {
  const attached = await client.request({ kind: 'attach' });
  const refuse = (): never => {
    throw new Error('a bench awaits; it must not block its only thread');
  };
  const session: Session = {
    requestSync: (request) => (request.kind === 'attach' ? attached : refuse()),
    waitSync: refuse,
    request: (request) => {
      note(seen, request);
      return client.request(request);
    },
    display: () => undefined,
    write: () => undefined,
    sha256: (bytes) => createHash('sha256').update(bytes).digest('hex'),
    now: () => Date.now(),
    interactive: false,
  };
  const seen: Seen = {
    programs: new Map(),
    lastStep: null,
    use: () => {
      installSession(session);
    },
  };
  seen.use();
  return seen;
}

function note(seen: Seen, request: EngineRequest): void {
  if (request.kind === 'execute' && request.plan.updates.length > 0) seen.lastStep = request.plan;
  if (request.kind !== 'defineProgram') return;
  const decoded = decodeProgram(request.bytes);
  if (!decoded.ok) throw decoded.error;
  seen.programs.set(request.hash, decoded.value);
}
