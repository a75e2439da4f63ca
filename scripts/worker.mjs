/** @file `npm run worker -- join <invite>`: builds what a worker needs, then becomes the worker. */
import { spawn } from 'node:child_process';
import { cleanEnv } from './lib/exec.mjs';
import { runMain } from './lib/failure.mjs';
import { fromRoot } from './lib/paths.mjs';
import { setUpSources } from './lib/setup.mjs';

await runMain(async () => {
  await setUpSources(['typescript']);
  const child = spawn(
    process.execPath,
    [fromRoot('worker/dist/cli.js'), ...process.argv.slice(2)],
    {
      stdio: 'inherit',
      env: cleanEnv(),
    },
  );
  // A terminal sends Ctrl-C to the whole group: the worker has it already, and decides how to leave.
  process.on('SIGINT', () => undefined);
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP']))
    process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
});
