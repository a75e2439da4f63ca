/** @file `npm run chain -- <command>`: builds what the command needs, then becomes it; without a command it explains. */
import { spawn } from 'node:child_process';
import { cleanEnv } from './lib/exec.mjs';
import { runMain } from './lib/failure.mjs';
import { fromRoot } from './lib/paths.mjs';
import { setUpSources } from './lib/setup.mjs';

await runMain(async () => {
  await setUpSources(['typescript']);
  const args = [fromRoot('kernel/dist/chainCli/main.js'), ...process.argv.slice(2)];
  const child = spawn(process.execPath, args, { stdio: 'inherit', env: cleanEnv() });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
});
