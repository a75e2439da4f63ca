/** @file Invites by name: who may come in, until when, and how to take that back. Knows no sockets; the secrets are its own. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { ENGINE_LIMITS, PANEL_LIMITS, RavenError } from '@ravenlab/protocol';

export interface SavedInvite {
  readonly name: string;
  /** Secret that HELLO shows. */
  readonly token: string;
  /** Wall clock. */
  readonly createdMs: number;
  /** From then on it lets nobody in anew; null for never. */
  readonly expiresMs: number | null;
}

/** The name of the invite that is asked for without one. */
export const DEFAULT_INVITE = 'default';

const TOKEN_BYTES = 18;
const NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._@-]*$/u;

export class InviteBook {
  private readonly wallMs: () => number;
  private readonly byName = new Map<string, SavedInvite>();

  constructor(saved: readonly SavedInvite[], wallMs: () => number) {
    this.wallMs = wallMs;
    for (const invite of saved) this.byName.set(invite.name, invite);
  }

  /** All of them, oldest first, those that have expired included. */
  all(): SavedInvite[] {
    return [...this.byName.values()];
  }

  /**
   * The invite of this name, made if there is none that is valid. `expiresMs` moves its end; left out, that stays as it is.
   * @throws RavenError for a name or a time that cannot be, or when there are too many.
   */
  issue(name: string, expiresMs?: number | null): SavedInvite {
    const now = this.wallMs();
    if (!NAME.test(name) || name.length > PANEL_LIMITS.nameChars) {
      throw refusal(
        `the name '${name.slice(0, PANEL_LIMITS.nameChars)}' is not 1 to ${String(PANEL_LIMITS.nameChars)} letters, digits, spaces and . _ @ -`,
      );
    }
    if (expiresMs !== undefined && expiresMs !== null && expiresMs <= now)
      throw refusal(`its end, ${new Date(expiresMs).toISOString()}, has passed`);
    const known = this.byName.get(name);
    const isValid = known !== undefined && !hasExpired(known, now);
    if (isValid && (expiresMs === undefined || expiresMs === known.expiresMs)) return known;
    if (known === undefined) this.makeRoom(now);
    const invite: SavedInvite = {
      name,
      token: isValid ? known.token : randomBytes(TOKEN_BYTES).toString('base64url'),
      createdMs: isValid ? known.createdMs : now,
      expiresMs: expiresMs ?? null,
    };
    this.byName.set(name, invite);
    return invite;
  }

  /** Whether there was one. */
  revoke(name: string): boolean {
    return this.byName.delete(name);
  }

  /** The invite that this token is of; null when it lets nobody in. Takes as long for every token. */
  nameOf(token: string): string | null {
    const given = digestOf(token);
    const now = this.wallMs();
    let found: string | null = null;
    for (const invite of this.byName.values()) {
      const isSame = timingSafeEqual(given, digestOf(invite.token));
      if (isSame && !hasExpired(invite, now)) found = invite.name;
    }
    return found;
  }

  private makeRoom(now: number): void {
    for (const invite of this.all()) if (hasExpired(invite, now)) this.byName.delete(invite.name);
    if (this.byName.size < ENGINE_LIMITS.invites) return;
    throw refusal(
      `there are ${String(ENGINE_LIMITS.invites)} already; withdraw one with cluster.revoke(name)`,
    );
  }
}

function hasExpired({ expiresMs }: SavedInvite, now: number): boolean {
  return expiresMs !== null && expiresMs <= now;
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function refusal(problem: string): RavenError {
  return new RavenError('cluster', `no invite: ${problem}`);
}
