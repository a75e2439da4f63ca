/** @file One set-up at a time per checkout: two terminals may both say `npm start`. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from './failure.mjs';
import { CACHE } from './paths.mjs';

const POLL_MS = 500;
const WAIT_LIMIT_MS = 15 * 60_000;

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Takes the lock file, or returns the process id that holds it. */
function tryTake(file) {
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' });
    return null;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
  let holder = Number.NaN;
  try {
    holder = Number.parseInt(readFileSync(file, 'utf8'), 10);
  } catch {
    return tryTake(file); // released between the two calls
  }
  if (Number.isInteger(holder) && isAlive(holder)) return holder;
  rmSync(file, { force: true }); // its owner died
  return tryTake(file);
}

/**
 * Runs `work` while holding `.cache/<name>.lock`; a lock of a dead process is taken over.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(name, work) {
  mkdirSync(CACHE, { recursive: true });
  const file = join(CACHE, `${name}.lock`);
  const start = performance.now();
  let isTold = false;
  for (let holder = tryTake(file); holder !== null; holder = tryTake(file)) {
    if (performance.now() - start > WAIT_LIMIT_MS) {
      throw new Failure(
        `process ${holder} has held ${file} for ${WAIT_LIMIT_MS / 60_000} minutes`,
        {
          todo: 'end that process, or delete the file, then run the command again',
        },
      );
    }
    if (!isTold) process.stdout.write(`  … waiting for the ${name} of process ${holder}\n`);
    isTold = true;
    await sleep(POLL_MS);
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}
