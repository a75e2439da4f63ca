/** @file Processes are looked at while somebody waits for them, each is reported once, and nothing wakes an idle engine. */
import { LifeWatch, openProcPulse } from '../../../kernel/src/engine/lifeWatch.js';

const EVERY_MS = 12;

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

function watching({ isTold = true } = {}) {
  const scene = { isNeeded: true, looks: 0, gone: new Set<number>(), closed: [] as number[] };
  const reported: number[] = [];
  const watch = new LifeWatch({
    open: (pid) =>
      isTold
        ? {
            isGone: () => {
              scene.looks++;
              return scene.gone.has(pid);
            },
            close: () => scene.closed.push(pid),
          }
        : null,
    isNeeded: () => scene.isNeeded,
    everyMs: EVERY_MS,
    onGone: (pid) => reported.push(pid),
  });
  return { watch, scene, reported };
}

test('a process that ends while somebody waits is reported once, with the next look', () => {
  const { watch, scene, reported } = watching();
  watch.add(7);
  watch.add(8);
  jest.advanceTimersByTime(10 * EVERY_MS);
  expect(reported).toEqual([]);
  scene.gone.add(8);
  jest.advanceTimersByTime(EVERY_MS);
  expect(reported).toEqual([8]);
  expect(scene.closed).toEqual([8]);
  jest.advanceTimersByTime(10 * EVERY_MS);
  expect(reported).toEqual([8]);
});

test('nobody looks while nobody waits, and who is woken finds what ended meanwhile', () => {
  const { watch, scene, reported } = watching();
  watch.add(7);
  scene.isNeeded = false;
  jest.advanceTimersByTime(EVERY_MS);
  expect(jest.getTimerCount()).toBe(0);
  scene.gone.add(7);
  watch.wake();
  expect(jest.getTimerCount()).toBe(0);
  scene.isNeeded = true;
  watch.wake();
  watch.wake();
  expect(jest.getTimerCount()).toBe(1);
  jest.advanceTimersByTime(EVERY_MS);
  expect(reported).toEqual([7]);
  // The last one is gone: there is nothing to look at.
  expect(jest.getTimerCount()).toBe(0);
});

test('a process that was forgotten is neither looked at nor reported', () => {
  const { watch, scene, reported } = watching();
  watch.add(7);
  watch.forget(7);
  watch.forget(7);
  scene.gone.add(7);
  jest.advanceTimersByTime(2 * EVERY_MS);
  expect(reported).toEqual([]);
  expect(scene.closed).toEqual([7]);
  expect(scene.looks).toBe(0);
});

test('the end of the watch closes what is open and ends its timer', () => {
  const { watch, scene } = watching();
  watch.add(7);
  watch.add(8);
  watch.close();
  expect(scene.closed).toEqual([7, 8]);
  expect(jest.getTimerCount()).toBe(0);
});

test('where the system tells nothing, no timer runs', () => {
  const { watch } = watching({ isTold: false });
  watch.add(7);
  watch.wake();
  expect(jest.getTimerCount()).toBe(0);
});

test('a process that runs is alive, and one that is not there cannot be watched', () => {
  const pulse = openProcPulse(process.pid);
  // Other systems have no such file.
  expect(pulse === null).toBe(process.platform !== 'linux');
  expect(pulse?.isGone() ?? false).toBe(false);
  pulse?.close();
  // Above the largest number that Linux gives.
  expect(openProcPulse(2 ** 23)).toBeNull();
});
