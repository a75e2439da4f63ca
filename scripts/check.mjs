/** @file `npm run check [-- suite…]`: what needs neither Python nor processes; run it before a commit. */
import { runMain } from './lib/failure.mjs';
import { chooseSuites, runSuites } from './lib/runSuites.mjs';
import { setUpSources } from './lib/setup.mjs';

await runMain(async () => {
  const suites = chooseSuites(process.argv.slice(2), ['static', 'logic']);
  await setUpSources(['wasm']);
  return runSuites(suites, { mayInstall: false });
});
