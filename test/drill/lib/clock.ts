/** @file Time that all processes of a drill on one machine agree on. */

/** Milliseconds since the Unix epoch with a fraction, never going back within a process. */
export const nowMs = (): number => performance.timeOrigin + performance.now();

export const sleep = (ms: number): Promise<void> =>
  new Promise((wake) => {
    setTimeout(wake, ms);
  });

/**
 * Asks `probe` every `everyMs` until it gives something.
 * @throws Error naming `what` after `timeoutMs`.
 */
export async function until<T>(
  what: string,
  probe: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  { timeoutMs = 30_000, everyMs = 10 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<T> {
  const end = nowMs() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== null && value !== undefined && value !== false) return value;
    if (nowMs() > end) throw new Error(`${what}: not within ${String(timeoutMs)} ms`);
    await sleep(everyMs);
  }
}
