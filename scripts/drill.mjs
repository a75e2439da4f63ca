/** @file `npm run drill [-- name…] [--short] [--list]`: builds, then runs test/drill against real processes. */
import { spawn } from 'node:child_process';
import { cleanEnv } from './lib/exec.mjs';
import { runMain } from './lib/failure.mjs';
import { fromRoot } from './lib/paths.mjs';
import { setUpSources } from './lib/setup.mjs';
import { typeScriptArgs } from './lib/typescript.mjs';

await runMain(async () => {
  await setUpSources(['typescript', 'wasm']);
  const args = [...typeScriptArgs(fromRoot('test/drill/cli.ts')), ...process.argv.slice(2)];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: 'inherit', env: cleanEnv() });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
});
