/** @file `npm run notebooks [-- --update] [name…]`: sets up, then executes notebooks headless. */
import { spawn } from 'node:child_process';
import { runMain } from './lib/failure.mjs';
import { jupyterEnv } from './lib/jupyter.mjs';
import { fromRoot, venvProgram } from './lib/paths.mjs';
import { setUp } from './lib/setup.mjs';

await runMain(async () => {
  await setUp();
  const runner = fromRoot('scripts/python/run_notebooks.py');
  const args = [runner, 'notebooks', ...process.argv.slice(2)];
  const child = spawn(venvProgram('python'), args, { stdio: 'inherit', env: jupyterEnv() });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
});
