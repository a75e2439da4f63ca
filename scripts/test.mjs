/** @file `npm test [-- suite…]`: sets up, then runs every suite; the last line is the total. */
import { Failure, runMain } from './lib/failure.mjs';
import { chooseSuites, runSuites, summarise } from './lib/runSuites.mjs';
import { setUp } from './lib/setup.mjs';

await runMain(async () => {
  const words = process.argv.slice(2);
  const suites = chooseSuites(words, ['static', 'logic', 'processes']);
  try {
    await setUp({ mayInstall: true });
  } catch (error) {
    const text = error instanceof Failure ? error.report() : error.stack;
    process.stdout.write(`\n✗ set-up failed\n${text}\n`);
    return summarise(0, 1);
  }
  return runSuites(suites, { mayInstall: true });
});
