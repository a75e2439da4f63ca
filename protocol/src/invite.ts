/**
 * @file The invite: what a machine needs to join a cluster, as one string that survives chats, shells and URLs. It is a
 * secret, like a password: whoever has it may join until the engine withdraws its token.
 */
import { RavenError } from './errors.js';
import { LIMITS, WORKER_LIMITS } from './limits.js';
import { isCurveKey } from './z85.js';

export interface Invite {
  /** Host name or address of the engine, without brackets. */
  readonly host: string;
  readonly port: number;
  /** CURVE public key of the engine, Z85, 40 characters. */
  readonly serverKey: string;
  /** Secret that HELLO shows. */
  readonly token: string;
}

/** Tells an invite from any other string, and one format from the next. */
const PREFIX = 'rl1_';
const SEPARATOR = '\n';
const HOST = /^[0-9a-zA-Z.\-_:]{1,255}$/;
const TOKEN = /^[\x21-\x7e]+$/;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** @throws RavenError 'cluster' when a field could not be read back. */
export function encodeInvite(invite: Invite): string {
  const problem = problemOf(invite);
  if (problem !== null) throw refusal(problem);
  const { host, port, serverKey, token } = invite;
  return PREFIX + toBase64Url([host, String(port), serverKey, token].join(SEPARATOR));
}

/** @throws RavenError 'cluster' saying what is wrong with the text. */
export function decodeInvite(text: string): Invite {
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX)) {
    throw refusal(`it does not start with "${PREFIX}"`);
  }
  if (trimmed.length > WORKER_LIMITS.inviteChars) {
    throw refusal(
      `it has ${String(trimmed.length)} characters, at most ${String(WORKER_LIMITS.inviteChars)} are possible`,
    );
  }
  const decoded = fromBase64Url(trimmed.slice(PREFIX.length));
  const fields = decoded?.split(SEPARATOR) ?? [];
  const [host, port, serverKey, token] = fields;
  if (
    fields.length !== 4 ||
    host === undefined ||
    port === undefined ||
    serverKey === undefined ||
    token === undefined
  ) {
    throw refusal('it is cut off or has been changed');
  }
  const invite = { host, port: /^\d{1,5}$/.test(port) ? Number(port) : 0, serverKey, token };
  const problem = problemOf(invite);
  if (problem !== null) throw refusal(problem);
  return invite;
}

/** ZeroMQ endpoint of an invite; IPv6 addresses in brackets. */
export function inviteEndpoint({ host, port }: Invite): string {
  return `tcp://${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
}

function problemOf({ host, port, serverKey, token }: Invite): string | null {
  if (!HOST.test(host)) return 'its host is not a host name or address';
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return 'its port is not 1 … 65535';
  if (!isCurveKey(serverKey)) return 'its engine key is not 40 characters of Z85';
  if (!TOKEN.test(token) || token.length > LIMITS.tokenChars) return 'its token is not readable';
  return null;
}

function refusal(problem: string): RavenError {
  return new RavenError(
    'cluster',
    `not a valid invite: ${problem}; copy the whole join command from the panel again`,
  );
}

/** Of ASCII text; other characters were refused before. */
function toBase64Url(text: string): string {
  let out = '';
  for (let i = 0; i < text.length; i += 3) {
    const count = Math.min(3, text.length - i);
    let bits = 0;
    for (let j = 0; j < 3; j++) bits = (bits << 8) | (j < count ? text.charCodeAt(i + j) : 0);
    for (let j = 0; j <= count; j++) out += ALPHABET.charAt((bits >>> (18 - 6 * j)) & 63);
  }
  return out;
}

function fromBase64Url(text: string): string | null {
  let out = '';
  let bits = 0;
  let count = 0;
  for (const char of text) {
    const value = ALPHABET.indexOf(char);
    if (value < 0) return null;
    bits = ((bits << 6) | value) & 0xff_ffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += String.fromCharCode((bits >>> count) & 0xff);
    }
  }
  return out;
}
