/** @file Invites: there and back, and what is said about strings that are none. */
import type { Invite } from '@ravenlab/protocol';
import { RavenError, decodeInvite, encodeInvite, inviteEndpoint } from '@ravenlab/protocol';

const INVITE: Invite = {
  host: '192.168.1.20',
  port: 41_234,
  serverKey: 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7',
  token: 'q8Zs-1_x',
};

describe('an invite', () => {
  test.each([
    INVITE,
    { ...INVITE, host: '::1', port: 1 },
    { ...INVITE, host: 'gpu-7.lab.example.org', token: 'a' },
    { ...INVITE, token: 'ab' },
    { ...INVITE, token: 'abc' },
  ])('comes back as it was: $host, $token', (invite) => {
    const text = encodeInvite(invite);
    expect(text).toMatch(/^[0-9A-Za-z_-]+$/);
    expect(decodeInvite(text)).toEqual(invite);
    expect(decodeInvite(`  ${text}\n`)).toEqual(invite);
  });

  test('is base64url, so that other tools can read it', () => {
    const body = encodeInvite(INVITE).slice('rl1_'.length);
    expect(Buffer.from(body, 'base64url').toString()).toBe(
      [INVITE.host, INVITE.port, INVITE.serverKey, INVITE.token].join('\n'),
    );
  });

  test('names its endpoint, with brackets around IPv6', () => {
    expect(inviteEndpoint(INVITE)).toBe('tcp://192.168.1.20:41234');
    expect(inviteEndpoint({ ...INVITE, host: 'fe80::1' })).toBe('tcp://[fe80::1]:41234');
  });

  const good = encodeInvite(INVITE);
  const body = (...fields: string[]): string =>
    `rl1_${Buffer.from(fields.join('\n')).toString('base64url')}`;
  test.each([
    ['nothing', '', /does not start with "rl1_"/],
    ['some other string', 'hello', /does not start with "rl1_"/],
    ['a cut one', good.slice(0, 30), /cut off/],
    [
      'a character that is not base64url',
      `${good.slice(0, 20)}!${good.slice(21)}`,
      /cut off|changed/,
    ],
    ['a megabyte', `rl1_${'A'.repeat(1 << 20)}`, /characters/],
    ['port 0', body('h', '0', INVITE.serverKey, 't'), /port/],
    ['a port in words', body('h', 'http', INVITE.serverKey, 't'), /port/],
    ['a host with a slash', body('h/x', '1', INVITE.serverKey, 't'), /host/],
    ['a short key', body('h', '1', 'short', 't'), /key/],
    ['no token', body('h', '1', INVITE.serverKey, ''), /token/],
    ['a line too many', body('h', '1', INVITE.serverKey, 't', 'x'), /changed/],
  ])('refuses %s', (_, text, reason) => {
    expect(() => decodeInvite(text)).toThrow(RavenError);
    expect(() => decodeInvite(text)).toThrow(reason);
  });

  test('is not made of what could not be read back', () => {
    expect(() => encodeInvite({ ...INVITE, port: 70_000 })).toThrow(/port/);
    expect(() => encodeInvite({ ...INVITE, token: 'a b' })).toThrow(/token/);
  });
});
