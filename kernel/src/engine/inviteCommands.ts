/** @file Commands about who may come in: make, list and withdraw invites. Arguments are checked here. */
import { PANEL_LIMITS, RavenError } from '@ravenlab/protocol';
import type { InviteText, RemoteAccess } from './remoteAccess.js';
import type { WorkerHub } from './workerHub.js';

type Args = Readonly<Record<string, unknown>>;
type Command = (args: Args) => unknown;

export interface InviteTargets {
  readonly remote: RemoteAccess;
  readonly hub: WorkerHub;
}

/** What a person types to join; `npm run worker` is a script of the workspace. */
function joinCommand(invite: string): string {
  return `npm run worker -- join ${invite}`;
}

export function inviteCommands({ remote, hub }: InviteTargets): Readonly<Record<string, Command>> {
  const shown = ({ name, text, createdMs, expiresMs }: InviteText) => ({
    name,
    command: joinCommand(text),
    createdAtMs: createdMs,
    expiresAtMs: expiresMs,
    workers: [...hub.sessions()].filter(({ invite }) => invite === name).length,
  });
  return {
    invite: async (args) => shown(await remote.invite(nameOf(args), endOf(args))),
    invites: async () => ({ invites: (await remote.invites()).map(shown) }),
    revoke: async (args) => {
      const name = nameOf(args) ?? '';
      const wasThere = await remote.revoke(name);
      if (!wasThere) {
        const names = (await remote.invites()).map((invite) => `'${invite.name}'`).join(', ');
        throw new RavenError(
          'cluster',
          `revoke: there is no invite '${name}'; there are ${names === '' ? 'none' : names}`,
        );
      }
      return { name, workers: hub.revoke(name) };
    },
  };
}

function nameOf({ name }: Args): string | undefined {
  if (name === undefined) return undefined;
  if (typeof name === 'string' && name.length <= PANEL_LIMITS.nameChars) return name;
  throw new RavenError(
    'cluster',
    `argument name is ${typeof name}, expected text of at most ${String(PANEL_LIMITS.nameChars)} characters`,
  );
}

/** Largest time that a Date can be. */
const LATEST_MS = 8.64e15;

function endOf({ expiresAtMs }: Args): number | null | undefined {
  if (expiresAtMs === undefined || expiresAtMs === null) return expiresAtMs;
  if (Number.isInteger(expiresAtMs) && Math.abs(Number(expiresAtMs)) <= LATEST_MS)
    return Number(expiresAtMs);
  throw new RavenError(
    'cluster',
    `argument expiresAtMs is ${JSON.stringify(expiresAtMs)}, expected ms since 1970, or null for never`,
  );
}
