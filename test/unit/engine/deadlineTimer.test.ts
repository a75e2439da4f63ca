/** @file One timer for a deadline that moves, on a clock of the test's own. */
import { DeadlineTimer } from '../../../kernel/src/engine/deadlineTimer.js';

beforeEach(() => {
  jest.useFakeTimers({ now: 1_000 });
});
afterEach(() => {
  jest.useRealTimers();
});

/** When it fired, ms. */
function timerOf(): { readonly timer: DeadlineTimer; readonly firedAtMs: number[] } {
  const firedAtMs: number[] = [];
  const timer = new DeadlineTimer(
    () => Date.now(),
    () => firedAtMs.push(Date.now()),
  );
  return { timer, firedAtMs };
}

describe('a deadline timer', () => {
  test('fires once, at its deadline', () => {
    const { timer, firedAtMs } = timerOf();
    timer.arm(1_500);
    jest.advanceTimersByTime(5_000);
    expect(firedAtMs).toEqual([1_500]);
  });

  test('fires at the earliest deadline that it was given; a later one is to be given again', () => {
    const { timer, firedAtMs } = timerOf();
    timer.arm(3_000);
    timer.arm(2_000);
    timer.arm(2_500);
    timer.arm(null);
    jest.advanceTimersByTime(5_000);
    expect(firedAtMs).toEqual([2_000]);
    expect(jest.getTimerCount()).toBe(0);
    timer.arm(7_000);
    jest.advanceTimersByTime(5_000);
    expect(firedAtMs).toEqual([2_000, 7_000]);
  });

  test('fires in the next millisecond when the deadline has passed', () => {
    const { timer, firedAtMs } = timerOf();
    timer.arm(10);
    expect(firedAtMs).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(firedAtMs).toEqual([1_001]);
  });

  test('does not fire once it is stopped', () => {
    const { timer, firedAtMs } = timerOf();
    timer.arm(1_500);
    timer.stop();
    timer.stop();
    jest.advanceTimersByTime(5_000);
    expect(firedAtMs).toEqual([]);
  });
});
