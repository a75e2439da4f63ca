/** @file Progress lines of set-up: one per step, with its time; a live clock when a person watches. */

const TICK_MS = 1_000;
/** A step that ends sooner prints one line, not two. */
const ANNOUNCE_AFTER_MS = 500;
const isLive = process.stdout.isTTY === true && process.env.CI === undefined;

/** @param {number} ms */
export const formatSeconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

/** @type {Map<string, number>} */
const active = new Map();
let clock;

function drawClock() {
  const now = performance.now();
  const parts = [...active].map(
    ([title, start]) => `${title} ${((now - start) / 1000).toFixed(0)} s`,
  );
  process.stdout.write(`\r\x1b[2K  … ${parts.join(' · ')}`);
}

function printLine(line) {
  if (isLive && clock !== undefined) process.stdout.write('\r\x1b[2K');
  process.stdout.write(`${line}\n`);
}

/**
 * Runs one step and prints a line for it; steps may overlap.
 * @template T
 * @param {string} title what is being made ready, e.g. `Node packages`
 * @param {() => Promise<T>} work resolves to a short note for the line, or nothing
 * @returns {Promise<T>}
 */
export async function step(title, work) {
  const start = performance.now();
  active.set(title, start);
  const announce = isLive
    ? undefined
    : setTimeout(() => printLine(`  … ${title}`), ANNOUNCE_AFTER_MS);
  if (isLive) clock ??= setInterval(drawClock, TICK_MS).unref();
  let mark = '✗';
  let note;
  try {
    const result = await work();
    mark = '✓';
    note = typeof result === 'string' ? ` (${result})` : '';
    return result;
  } finally {
    clearTimeout(announce);
    active.delete(title);
    printLine(`  ${mark} ${title}${note ?? ''}  ${formatSeconds(performance.now() - start)}`);
    if (active.size === 0) {
      clearInterval(clock);
      clock = undefined;
    }
  }
}
