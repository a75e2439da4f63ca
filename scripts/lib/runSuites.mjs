/** @file Runs rows of the suite table and sums them up; what crashes counts as failed. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { Failure } from './failure.mjs';
import { fromRoot } from './paths.mjs';
import { formatSeconds } from './progress.mjs';
import { SUITES } from './suites.mjs';

/** Static suites run side by side, one a core; three of them take as much memory as a small machine has. */
const STATIC_AT_ONCE = Math.min(3, availableParallelism());
const SUMMARY_FILE = fromRoot('.cache', 'test', 'summary.txt');

/** @param {string[]} words names from the command line; none means all of `kinds` */
export function chooseSuites(words, kinds) {
  const known = SUITES.map((suite) => suite.name);
  const unknown = words.filter((word) => !known.includes(word));
  if (unknown.length > 0) {
    throw new Failure(`no suite is called ${unknown.join(', ')}`, {
      todo: `choose from: ${known.join(', ')}`,
    });
  }
  return SUITES.filter((suite) =>
    words.length > 0 ? words.includes(suite.name) : kinds.includes(suite.kind),
  );
}

async function runSuite(suite, mayInstall) {
  const start = performance.now();
  let outcome;
  try {
    outcome = await suite.run({ name: suite.name, limitMs: suite.limitMs, mayInstall });
  } catch (error) {
    const detail = error instanceof Failure ? error.report() : (error?.stack ?? String(error));
    outcome = { passed: 0, failed: 1, detail };
  }
  const result = { name: suite.name, skipped: [], note: '', ...outcome };
  print(result, performance.now() - start);
  return result;
}

function print({ name, passed, failed, skipped, note, detail }, tookMs) {
  const counts = `${passed} passed, ${failed} failed`;
  const skips = skipped.length > 0 ? `, ${skipped.length} skipped` : '';
  const mark = failed === 0 ? '✓' : '✗';
  process.stdout.write(
    `${mark} ${name.padEnd(12)} ${counts}${skips}  ${formatSeconds(tookMs)}${note ? `  ${note}` : ''}\n`,
  );
  for (const skip of skipped) process.stdout.write(`    skipped: ${skip}\n`);
  if (failed > 0 && detail) process.stdout.write(`${detail.replace(/^/gm, '    ')}\n`);
}

/** Runs static suites a few at a time, then the others one by one, in table order. */
async function runAll(suites, mayInstall) {
  const results = [];
  const waiting = suites.filter((suite) => suite.kind === 'static');
  const lane = async () => {
    for (let suite = waiting.shift(); suite !== undefined; suite = waiting.shift()) {
      results.push(await runSuite(suite, mayInstall));
    }
  };
  await Promise.all(Array.from({ length: STATIC_AT_ONCE }, lane));
  for (const suite of suites.filter((each) => each.kind !== 'static')) {
    results.push(await runSuite(suite, mayInstall));
  }
  return results;
}

/**
 * Prints the last line of every test run, and leaves it in a file for .ci/run.
 * @param {number} passed
 * @param {number} failed
 * @param {string | null} [summaryFile] null writes none
 * @returns {number} exit code: 0 when something passed and nothing failed
 */
export function summarise(passed, failed, summaryFile = SUMMARY_FILE) {
  const line = `${passed} passed, ${failed} failed\n`;
  if (summaryFile !== null) {
    mkdirSync(dirname(summaryFile), { recursive: true });
    writeFileSync(summaryFile, line);
  }
  process.stdout.write(line);
  return failed === 0 && passed > 0 ? 0 : 1;
}

/**
 * @param {readonly import('./suites.mjs').Suite[]} suites
 * @param {{ mayInstall: boolean, summaryFile?: string | null }} options
 * @returns {Promise<number>} exit code, as summarise
 */
export async function runSuites(suites, { mayInstall, summaryFile }) {
  const results = await runAll(suites, mayInstall);
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  const broken = results.filter((result) => result.failed > 0).map((result) => result.name);
  if (broken.length > 0) {
    process.stdout.write(`\nFailed: ${broken.join(', ')}; whole outputs are in .cache/logs\n`);
  }
  return summarise(sum('passed'), sum('failed'), summaryFile);
}
