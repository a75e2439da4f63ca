/** @file Which kernel an engine works for, and how long it waits for one; without sockets. */
import { KernelSessions } from '../../../kernel/src/engine/kernelSessions.js';
import type { KernelSessionsOptions } from '../../../kernel/src/engine/kernelSessions.js';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

function start(change: Partial<KernelSessionsOptions> = {}) {
  const seen: string[] = [];
  const sessions = new KernelSessions({
    restored: null,
    lastSession: 0,
    boot: 1,
    isJournaled: true,
    lingerMs: 1_000,
    isBusy: () => false,
    onAttached: (session) => seen.push(`attached ${String(session)}`),
    onDetached: () => seen.push('detached'),
    onAbandoned: () => seen.push('abandoned'),
    ...change,
  });
  return { sessions, seen };
}

test('a kernel gets a number of its own, and keeps it when it comes back', () => {
  const { sessions } = start();
  expect(sessions.hello('a', 0)).toMatchObject({ kind: 'welcome', session: 1, watermark: 0 });
  sessions.settle({ session: 1, request: 8 });
  sessions.gone();
  expect(sessions.hello('a', 1)).toMatchObject({ session: 1, watermark: 8 });
  sessions.gone();
  expect(sessions.hello('b', 0)).toMatchObject({ session: 2, watermark: 0 });
});

test('while one is connected another one is told so', () => {
  const { sessions } = start();
  sessions.hello('a', 0);
  expect(sessions.hello('b', 0)).toEqual({ kind: 'busy' });
  expect(sessions.session).toBe(1);
});

test('after a crash the kernel of the image goes on above its point', () => {
  const restored = { client: 'a', point: { session: 4, request: 30 } };
  const { sessions } = start({ restored, lastSession: 4, boot: 2 });
  expect(sessions.hello('a', 4)).toMatchObject({ session: 4, watermark: 30, boot: 2 });
});

test('a kernel that the image does not know yet keeps its number, for what it was paid under it', () => {
  const restored = { client: 'a', point: { session: 4, request: 30 } };
  const { sessions } = start({ restored, lastSession: 5 });
  expect(sessions.hello('b', 5)).toMatchObject({ session: 5, watermark: 0 });
});

test("a number that is another kernel's is not given twice", () => {
  const restored = { client: 'a', point: { session: 4, request: 30 } };
  const { sessions } = start({ restored, lastSession: 4 });
  expect(sessions.hello('b', 4)).toMatchObject({ session: 5, watermark: 0 });
});

test('it waits for a kernel that vanished, and gives up when none comes', () => {
  const { sessions, seen } = start();
  sessions.hello('a', 0);
  sessions.gone();
  jest.advanceTimersByTime(999);
  expect(seen).toEqual(['attached 1', 'detached']);
  jest.advanceTimersByTime(1);
  expect(seen).toEqual(['attached 1', 'detached', 'abandoned']);
});

test('work in flight is finished first, within bounds', () => {
  let isBusy = true;
  const { sessions, seen } = start({ isBusy: () => isBusy });
  sessions.hello('a', 0);
  sessions.gone();
  jest.advanceTimersByTime(1_500);
  expect(seen).not.toContain('abandoned');
  isBusy = false;
  jest.advanceTimersByTime(250);
  expect(seen).toContain('abandoned');
});
