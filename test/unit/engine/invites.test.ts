/** @file Invites by name: made once, ended by time or by hand, and never more than a bounded number. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { SavedInvite } from '../../../kernel/src/engine/invites.js';
import { InviteBook } from '../../../kernel/src/engine/invites.js';

const HOUR = 3_600_000;

function bookAt(startMs = 1_000_000) {
  const clock = { nowMs: startMs };
  return { clock, book: new InviteBook([], () => clock.nowMs) };
}

test('a name has one secret, and a secret has one name', () => {
  const { book } = bookAt();
  const lab = book.issue('lab');
  const home = book.issue('home');
  expect(book.issue('lab')).toEqual(lab);
  expect(lab.token).not.toBe(home.token);
  expect(lab.token.length).toBeGreaterThanOrEqual(24);
  expect(book.nameOf(lab.token)).toBe('lab');
  expect(book.nameOf(home.token)).toBe('home');
  expect(book.nameOf(`${lab.token}x`)).toBeNull();
  expect(book.nameOf('')).toBeNull();
  expect(book.all().map(({ name }) => name)).toEqual(['lab', 'home']);
});

test('what was withdrawn lets nobody in, and its name gets another secret', () => {
  const { book } = bookAt();
  const { token } = book.issue('lab');
  expect(book.revoke('lab')).toBe(true);
  expect(book.revoke('lab')).toBe(false);
  expect(book.nameOf(token)).toBeNull();
  expect(book.issue('lab').token).not.toBe(token);
});

test('an end can be moved while it has not come; afterwards it is another invite', () => {
  const { book, clock } = bookAt();
  const first = book.issue('lab', clock.nowMs + HOUR);
  expect(book.issue('lab').expiresMs).toBe(first.expiresMs);
  const longer = book.issue('lab', clock.nowMs + 2 * HOUR);
  expect(longer).toMatchObject({ token: first.token, createdMs: first.createdMs });
  clock.nowMs += 2 * HOUR - 1;
  expect(book.nameOf(first.token)).toBe('lab');
  clock.nowMs += 1;
  expect(book.nameOf(first.token)).toBeNull();
  const next = book.issue('lab', null);
  expect(next.token).not.toBe(first.token);
  expect(next.expiresMs).toBeNull();
});

test('an invite survives being saved', () => {
  const { book } = bookAt();
  const { token } = book.issue('lab', null);
  const saved = JSON.parse(JSON.stringify(book.all())) as SavedInvite[];
  const again = new InviteBook(saved, () => 2_000_000);
  expect(again.nameOf(token)).toBe('lab');
});

test('there is room for a bounded number; those that have ended make room', () => {
  const { book, clock } = bookAt();
  for (let i = 1; i < ENGINE_LIMITS.invites; i++) book.issue(`n${String(i)}`);
  book.issue('short', clock.nowMs + HOUR);
  expect(() => book.issue('one more')).toThrow(/64 already; withdraw one with cluster\.revoke/);
  clock.nowMs += HOUR;
  expect(book.issue('one more').name).toBe('one more');
});

test.each([
  ['', undefined, /the name '' is not/],
  [' lab', undefined, /is not 1 to 64 letters/],
  ['a\nb', undefined, /is not 1 to 64 letters/],
  ['x'.repeat(65), undefined, /is not 1 to 64 letters/],
  ['lab', 5, /its end, 1970-01-01T00:00:00.005Z, has passed/],
])('%j until %p is refused', (name, expiresMs, reason) => {
  expect(() => bookAt().book.issue(name, expiresMs)).toThrow(reason);
});
