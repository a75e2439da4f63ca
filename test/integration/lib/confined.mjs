/** @file Child of a test, started with the flags of a compute process: tries what strangers' code would like to do, and prints what came of it. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

const [secretFile, newFile] = process.argv.slice(2);
const attempts = {
  readsSecrets: () => readFileSync(secretFile),
  writesFiles: () => writeFileSync(newFile, 'x'),
  startsProcesses: () => spawnSync('true'),
  makesCode: () => new Function('return 1')(),
};
const outcomes = Object.entries(attempts).map(([name, attempt]) => {
  try {
    attempt();
    return [name, 'done'];
  } catch (error) {
    return [name, error.code ?? error.name];
  }
});
const ours = Object.keys(process.env).filter((name) => /RAVENLAB|SECRET|HOME|NODE/.test(name));
console.log(JSON.stringify({ ...Object.fromEntries(outcomes), environment: ours }));
