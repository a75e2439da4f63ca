/** @file `npm run build`: Node packages, then everything built from source that changed. */
import { runMain } from './lib/failure.mjs';
import { setUpSources } from './lib/setup.mjs';

await runMain(() => setUpSources());
